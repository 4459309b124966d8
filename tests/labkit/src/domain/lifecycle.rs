//! What a guest reports about its suspends: a line of figures after each, and one on demand.

use anyhow::{Context, Result, bail};

use crate::lines;

/// How a suspend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The hypercall returned 1: the domain goes on as it was.
    Cancelled,
    /// It returned 0, in a domain with this domid.
    NewDomain(u32),
}

/// How the toolstack asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// By the suspend event channel.
    Event,
    /// By `control/shutdown`.
    Xenstore,
}

/// A guest's account of one suspend. Times are microseconds of the guest's clock since the request;
/// that clock stops between hypercall and return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspend {
    /// Its number, from 1.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// How the toolstack asked for it.
    pub channel: Channel,
    /// Work under way has ended.
    pub settled_us: Option<u64>,
    /// Everything is at rest.
    pub quiesced_us: Option<u64>,
    /// SCHEDOP_shutdown is called.
    pub hypercall_us: Option<u64>,
    /// It has returned.
    pub return_us: Option<u64>,
    /// xenstore answers again.
    pub xenstore_up_us: Option<u64>,
    /// netback is Connected.
    pub vif_connected_us: Option<u64>,
    /// The first frame has come in.
    pub first_frame_us: Option<u64>,
    /// The first TCP acknowledgement has come in.
    pub first_ack_us: Option<u64>,
    /// The guest's own CPU time between request and first frame, in microseconds.
    pub own_us: Option<u64>,
    /// Its hypercalls in that time.
    pub own_hypercalls: Option<u64>,
    /// Wall-clock milliseconds between hypercall and return.
    pub away_ms: Option<u64>,
}

impl Suspend {
    /// Parses a console line; returns `None` if it is not about a suspend.
    pub fn find(line: &str) -> Result<Option<Self>> {
        let Some((_, text)) = line.split_once(lines::SUSPEND.text) else {
            return Ok(None);
        };
        let suspend = Self::parse(text.trim_end()).with_context(|| format!("in {line:?}"));
        suspend.map(Some)
    }

    /// Parses every suspend in a console, in order.
    pub fn all(console: &str) -> Result<Vec<Self>> {
        let lines = console
            .lines()
            .filter_map(|line| Self::find(line).transpose());
        lines.collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let (number, text) = text.split_once(": ").context("no number")?;
        let (outcome, text) = text.split_once(", asked by ").context("no channel")?;
        let (channel, text) = text.split_once("; ").context("no figures")?;
        let mut groups = text.split("; ");
        let mut group = |what: &str| groups.next().with_context(|| format!("no {what}"));
        let times = group("times")?;
        let times = times.strip_prefix("us since request: ").context("unit")?;
        let mut times = times.split(", ");
        let mut time = |name: &str| -> Result<Option<u64>> {
            let field = times.next().with_context(|| format!("no {name}"))?;
            figure(field, name, "")
        };
        let suspend = Self {
            number: number.parse().context("number")?,
            outcome: outcome_of(outcome)?,
            channel: match channel {
                "event channel" => Channel::Event,
                "xenstore" => Channel::Xenstore,
                other => bail!("channel {other:?}"),
            },
            settled_us: time("settled ")?,
            quiesced_us: time("quiesced ")?,
            hypercall_us: time("hypercall ")?,
            return_us: time("return ")?,
            xenstore_up_us: time("xenstore up ")?,
            vif_connected_us: time("vif connected ")?,
            first_frame_us: time("first frame ")?,
            first_ack_us: time("first ack ")?,
            own_us: figure(group("own")?, "own ", " us")?,
            own_hypercalls: figure(group("hypercalls")?, "hypercalls ", "")?,
            away_ms: figure(group("away")?, "away ", " ms")?,
        };
        Ok(suspend)
    }

    /// Returns the wall-clock milliseconds from the hypercall to the first frame: the time away
    /// plus the guest's own time after the return.
    pub fn hypercall_to_first_frame_ms(&self) -> Option<f64> {
        let after = self.first_frame_us?.checked_sub(self.return_us?)?;
        Some(self.away_ms? as f64 + after as f64 / 1000.0)
    }
}

/// A guest's counts, as it prints them for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Suspends that ended in a new domain or were cancelled.
    pub suspends: u64,
    /// How many of these were cancelled.
    pub cancelled: u64,
    /// Grant references in use.
    pub grants: u64,
    /// Event channels in use.
    pub ports: u64,
    /// Free page frames.
    pub free_frames: u64,
    /// All page frames.
    pub total_frames: u64,
    /// Frames with memory behind them.
    pub resident_frames: u64,
}

impl Counts {
    /// Parses the console line with [`lines::STATUS_COUNTS`].
    pub fn parse(line: &str) -> Result<Self> {
        let read = || {
            let text = line.split_once(lines::STATUS_COUNTS.text)?.1;
            let (suspends, text) = text.split_once(" suspends, ")?;
            let (cancelled, text) = text.split_once(" cancelled; grants ")?;
            let (grants, text) = text.split_once(" ports ")?;
            let (ports, text) = text.split_once(" frames free ")?;
            let (free, text) = text.split_once(" of ")?;
            let (total, resident) = text.split_once(" resident ")?;
            Some(Self {
                suspends: suspends.parse().ok()?,
                cancelled: cancelled.parse().ok()?,
                grants: grants.parse().ok()?,
                ports: ports.parse().ok()?,
                free_frames: free.parse().ok()?,
                total_frames: total.parse().ok()?,
                resident_frames: resident.trim().parse().ok()?,
            })
        };
        read().with_context(|| format!("not the counts of a guest: {line:?}"))
    }

    /// Returns the counts that no suspend may change: grants, ports, free frames.
    pub fn kept(&self) -> [u64; 3] {
        [self.grants, self.ports, self.free_frames]
    }
}

fn outcome_of(text: &str) -> Result<Outcome> {
    match text.strip_prefix("new domain ") {
        Some(domid) => Ok(Outcome::NewDomain(domid.parse().context("domid")?)),
        None if text == "cancelled" => Ok(Outcome::Cancelled),
        None => bail!("outcome {text:?}"),
    }
}

/// Parses the number between `name` and `unit`; a dash, for a phase that was not reached, is
/// `None`.
fn figure(field: &str, name: &str, unit: &str) -> Result<Option<u64>> {
    let value = field
        .strip_prefix(name)
        .and_then(|field| field.strip_suffix(unit))
        .with_context(|| format!("{field:?} is not {name}N{unit}"))?;
    match value {
        "-" => Ok(None),
        value => Ok(Some(value.parse().with_context(|| field.to_owned())?)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Counts, Outcome, Suspend};

    const MOVED: &str = "[   12.345678] INFO lifecycle: suspend 3: new domain 17, asked by event \
        channel; us since request: settled 30, quiesced 80, hypercall 110, return 130, xenstore up 400, vif \
        connected 9000, first frame 9100, first ack 9500; own 850 us; hypercalls 31; away 321 ms";

    const CANCELLED: &str = "lifecycle: suspend 4: cancelled, asked by xenstore; us since request: \
        settled 30, quiesced 80, hypercall 110, return 130, xenstore up -, vif connected -, first frame -, \
        first ack -; own 85 us; hypercalls -; away 40 ms";

    #[test]
    fn both_outcomes_are_read() {
        let moved = Suspend::find(MOVED).expect("as agreed").expect("a suspend");
        assert_eq!(moved.number, 3);
        assert_eq!(moved.outcome, Outcome::NewDomain(17));
        assert_eq!(moved.channel, Channel::Event);
        assert_eq!(moved.settled_us, Some(30));
        assert_eq!(moved.quiesced_us, Some(80));
        assert_eq!(moved.first_ack_us, Some(9500));
        assert_eq!((moved.own_us, moved.own_hypercalls), (Some(850), Some(31)));
        assert_eq!(moved.away_ms, Some(321));
        assert_eq!(moved.hypercall_to_first_frame_ms(), Some(329.97));

        let text = format!("boot\n{MOVED}\nlifecycle: early notice\n{CANCELLED}\n");
        let all = Suspend::all(&text).expect("as agreed");
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].outcome, Outcome::Cancelled);
        assert_eq!(all[1].channel, Channel::Xenstore);
        assert_eq!(all[1].xenstore_up_us, None);
        assert_eq!(all[1].hypercall_to_first_frame_ms(), None);
    }

    #[test]
    fn what_is_not_the_line_is_none_or_an_error() {
        assert_eq!(
            Suspend::find("lifecycle: early notice").expect("fine"),
            None
        );
        for (good, bad) in [
            ("new domain 17", "new domain x"),
            ("event channel", "pigeon"),
            ("hypercall 110", "hypercall"),
            (", first ack 9500", ""),
            ("; hypercalls 31", ""),
            ("hypercalls 31", "hypercalls some"),
            ("away 321 ms", "away 321 s"),
            ("; away 321 ms", ""),
        ] {
            assert!(MOVED.contains(good), "{good}");
            assert!(Suspend::find(&MOVED.replace(good, bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_read() {
        let line = "12.3 status: lifecycle 20 suspends, 1 cancelled; grants 258 ports 4 frames \
            free 1200 of 16384 resident 3000";
        let counts = Counts::parse(line).expect("as agreed");
        assert_eq!((counts.suspends, counts.cancelled), (20, 1));
        assert_eq!(counts.kept(), [258, 4, 1200]);
        assert_eq!((counts.total_frames, counts.resident_frames), (16384, 3000));
        assert!(Counts::parse("status: memory 1").is_err());
        assert!(Counts::parse(&line.replace("258", "?")).is_err());
    }
}
