//! The results of one mode, with a value for each migration.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use anyhow::Result;
use labkit::channel::Rings;
use labkit::domain::handover::Handover;
use labkit::domain::lifecycle::Suspend;
use labkit::meter::StreamReport;
use labkit::traffic::bench::{Answer, kind_of};
use labkit::{Figures, Lab, Mode};
use serde_json::{Value, json};

/// The numbers of connections for which a suspend is timed.
pub(super) const CONNECTIONS: [u64; 3] = [1, 10, 200];

/// Of how many migrations the hand-overs are kept; each is several lines.
const MOST_TRACES: usize = 10;

/// One migration under the stream.
#[derive(Debug)]
pub(super) struct Once {
    /// The guest that was migrated.
    pub(super) moved: Ipv4Addr,
    /// Mbit/s compared by the other guest before the migration, and during pre-copy.
    pub(super) throughput_before: f64,
    pub(super) throughput_precopy: f64,
    /// The time without a byte at the other guest that the absence causes.
    pub(super) switch_ms: f64,
    /// The longest time without a byte, and when its end was seen, counted from the end of
    /// pre-copy.
    pub(super) longest_gap_ms: f64,
    pub(super) longest_gap_at_ms: f64,
    /// The rings in use before the migration and during pre-copy.
    pub(super) rings_before: Option<Rings>,
    pub(super) rings: Option<Rings>,
    pub(super) suspend: Suspend,
    /// Domains left over.
    pub(super) zombies: usize,
    pub(super) precopy_ms: f64,
    pub(super) stream: StreamReport,
    pub(super) handovers: Vec<Handover>,
}

impl Once {
    /// Returns how many pages of `rings` were sent in each round; `None` if the guest did not
    /// report them.
    fn sent_of(&self, rings: Option<&Rings>) -> Option<Vec<u64>> {
        Some(self.stream.sent_of(&rings?.own))
    }
}

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages: Vec<u64> = self.stream.rounds.iter().map(|round| round.pages).collect();
        write!(
            f,
            "{}: {:.0} Mbit/s, {:.0} in {:.0} ms of pre-copy; switch {:.1} ms, {:?} ms of it away, \
             longest gap {:.1} ms until {:.0} ms after pre-copy; own {:?} us, settled {:?} us, \
             quiesced {:?} us; pages {pages:?}; rings in use {:?}, sent {:?}; {} zombies",
            self.moved,
            self.throughput_before,
            self.throughput_precopy,
            self.precopy_ms,
            self.switch_ms,
            self.suspend.away_ms,
            self.longest_gap_ms,
            self.longest_gap_at_ms,
            self.suspend.own_us,
            self.suspend.settled_us,
            self.suspend.quiesced_us,
            self.rings
                .as_ref()
                .map(|rings| [rings.foreign, rings.own_pages()]),
            self.sent_of(self.rings.as_ref()),
            self.zombies,
        )
    }
}

/// The sums and values of one mode.
#[derive(Debug, Default)]
pub(super) struct Rows {
    values: BTreeMap<String, Vec<f64>>,
    migrations: u64,
    zombies: usize,
    lost: u64,
    corrupt: u64,
    resets: u64,
    compared: u64,
    /// How often ring pages were sent; `None` until a guest has reported which they are.
    ring_pages_sent: Option<u64>,
    rounds: Vec<Value>,
    traces: Vec<Value>,
    failed: Vec<String>,
}

impl Rows {
    fn push(&mut self, name: &str, value: f64) {
        self.values.entry(name.to_owned()).or_default().push(value);
    }

    fn time(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.push(name, value as f64);
        }
    }

    /// Adds a migration of the idle guest.
    pub(super) fn idle(&mut self, suspend: &Suspend, downtime_ms: f64) {
        self.migrations += 1;
        self.time("idle_own_us", suspend.own_us);
        self.time("idle_quiesce_us", suspend.quiesced_us);
        self.time("idle_away_ms", suspend.away_ms);
        self.push("idle_downtime_ms", downtime_ms);
    }

    /// Adds the pages that the guests share with this many connections.
    pub(super) fn shared_pages(&mut self, connections: u64, pages: u64) {
        let name = format!("connections_shared_pages_{connections}");
        self.push(&name, pages as f64);
    }

    /// Adds a migration with this many connections.
    pub(super) fn quiesced(&mut self, connections: u64, suspend: &Suspend, zombies: usize) {
        self.migrations += 1;
        self.zombies += zombies;
        let name = format!("suspend_quiesce_us_{connections}");
        self.time(&name, suspend.quiesced_us);
        let name = format!("connections_own_us_{connections}");
        self.time(&name, suspend.own_us);
    }

    /// Adds a migration under the stream.
    pub(super) fn once(&mut self, once: Once) {
        self.migrations += 1;
        self.zombies += once.zombies;
        self.push("throughput_before", once.throughput_before);
        self.push("throughput_precopy", once.throughput_precopy);
        let ratio = once.throughput_precopy / once.throughput_before.max(f64::MIN_POSITIVE);
        self.push("throughput_precopy_ratio", ratio);
        self.push("precopy_ms", once.precopy_ms);
        self.push("switch_ms", once.switch_ms);
        self.push("longest_gap_ms", once.longest_gap_ms);
        let away = once.suspend.away_ms;
        self.time("switch_toolstack_ms", away);
        if let Some(away) = away {
            self.push("switch_rest_ms", once.switch_ms - away as f64);
        }
        self.time("own_outage_us", once.suspend.own_us);
        self.time("stream_quiesce_us", once.suspend.quiesced_us);
        self.time("vif_connected_us", once.suspend.vif_connected_us);
        self.push("pages_sent", once.stream.pages_sent as f64);
        let rounds = &once.stream.rounds;
        let first = rounds.first().map_or(0, |round| round.pages);
        // The first round sends every page once; the rest was written to meanwhile.
        let again = once.stream.pages_sent - first;
        self.push("pages_sent_again", again as f64);
        self.time(
            "stop_and_copy_pages",
            once.stream.stop_and_copy().map(|round| round.pages),
        );
        for (name, rings) in [("rings_before", &once.rings_before), ("rings", &once.rings)] {
            if let Some(rings) = rings {
                self.push(&format!("{name}_own_pages"), rings.own_pages() as f64);
                self.push(&format!("{name}_foreign_pages"), rings.foreign as f64);
            }
        }
        let sent = once.sent_of(once.rings.as_ref());
        if let Some(sent) = &sent {
            let sum: u64 = sent.iter().sum();
            *self.ring_pages_sent.get_or_insert(0) += sum;
        }
        self.rounds.push(json!({
            "moved": once.moved,
            "pages": rounds.iter().map(|round| round.pages).collect::<Vec<_>>(),
            "ring_pages": sent,
            "former_ring_pages": once.sent_of(once.rings_before.as_ref()),
            "sent_times": once.stream.sent_times,
        }));
        if self.traces.len() < MOST_TRACES && !once.handovers.is_empty() {
            let trace = json!({"moved": once.moved, "phases": once.handovers});
            self.traces.push(trace);
        }
    }

    /// Adds the end of a stream.
    pub(super) fn stream(&mut self, ended: Option<Result<Answer>>) {
        let bytes = ended.map(|answer| answer?.number("bytes"));
        match bytes {
            None => {}
            Some(Ok(bytes)) => self.compared += bytes,
            Some(Err(error)) => {
                // The guest reports the first fault and ends the connection.
                match kind_of(&error) {
                    Some("corrupt") => self.corrupt += 1,
                    Some("ended" | "surplus") => self.lost += 1,
                    _ => self.resets += 1,
                }
                self.failed.push(format!("{error:#}"));
            }
        }
    }

    /// Returns the errors of streams that failed.
    pub(super) fn streams_failed(&self) -> String {
        self.failed.join("; ")
    }

    /// Adds everything to the figures under keys that begin with `prefix`.
    pub(super) fn keep(&self, lab: &Lab, prefix: &str, figures: &mut Figures) {
        for (name, values) in &self.values {
            figures.spread(lab, &format!("{prefix}{name}"), values);
        }
        for (name, value) in [
            ("ring_pages_sent", json!(self.ring_pages_sent)),
            ("pages_per_round", json!(self.rounds)),
            ("trace", json!(self.traces)),
        ] {
            figures.value(lab, &format!("{prefix}{name}"), value);
        }
    }
}

/// Returns the sums over all modes.
pub(super) fn sums(all: &[(Mode, Rows)]) -> Vec<(&'static str, Value)> {
    let sum = |of: fn(&Rows) -> u64| json!(all.iter().map(|(_, rows)| of(rows)).sum::<u64>());
    vec![
        ("migrations", sum(|rows| rows.migrations)),
        ("compared_bytes", sum(|rows| rows.compared)),
        ("lost_bytes", sum(|rows| rows.lost)),
        ("corrupt_bytes", sum(|rows| rows.corrupt)),
        ("resets", sum(|rows| rows.resets)),
        ("zombie_domains", sum(|rows| rows.zombies as u64)),
    ]
}
