//! Two bench guests on one host.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::bench::Bench;
use labkit::survival::healthy;
use labkit::{Figures, Lab, Mode};

use super::{MEMORY_MIB, Parameters, QUESTIONS, STREAMS, prefix};

/// The number of connections to a known peer.
const CONNECTIONS: usize = 16;

/// How long guests may take to set up a link after their first connection.
const ACQUAINTANCE: Duration = Duration::from_millis(200);

/// The number of events and answers without data, the lower bound of any question.
const EVENTS: u64 = 2000;

/// Hypercalls of one measurement.
const HYPERCALLS: u64 = 1000;

/// Datagrams of one measurement.
const DATAGRAMS: u64 = 1000;

/// Measured values by the name of their figure.
pub(super) type Values = BTreeMap<String, Vec<f64>>;

/// Boots a bench guest as `mode` wants it.
pub(super) fn boot(lab: &Lab, number: u8, mode: Mode) -> Result<Bench> {
    Bench::boot(lab, number, MEMORY_MIB, mode.option())
}

/// Returns hypercalls and notifications so far.
fn counts(guest: &mut Bench) -> Result<[u64; 2]> {
    let answer = guest.order("counters")?;
    Ok([answer.number("hypercalls")?, answer.number("sends")?])
}

/// Boots the pair anew for every repetition, so that each begins with a first contact; the modes
/// take turns.
pub(super) fn measure(lab: &Lab, params: &Parameters, figures: &mut Figures) -> Result<()> {
    let mut values = Values::new();
    for number in 0..params.repeats {
        for &mode in &params.arms {
            once(lab, mode, &mut values)
                .with_context(|| format!("{}, repetition {}", prefix(mode), number + 1))?;
        }
    }
    for (name, values) in values {
        figures.spread(lab, &name, &values);
    }
    Ok(())
}

fn once(lab: &Lab, mode: Mode, values: &mut Values) -> Result<()> {
    let mut a = boot(lab, 2, mode)?;
    let mut b = boot(lab, 3, mode)?;
    let (echo, discard) = (b.guest.port(7), b.guest.port(9));
    let mut keep = |name: String, value: f64| {
        let name = format!("{}_{name}", prefix(mode));
        values.entry(name).or_default().push(value);
    };
    // This resolves the Ethernet address, which is then no part of the first contact.
    a.order(&format!("udp {echo} 16 2"))?;
    let first = a.order(&format!("connect {echo} 1"))?;
    keep("connect_first_us".into(), first.number("ns")? as f64 / 1e3);
    keep(
        "handshake_first_us".into(),
        first.number("handshake_ns")? as f64 / 1e3,
    );
    sleep(ACQUAINTANCE);
    // This warms up, and compares every byte.
    a.order(&format!("verify {echo} 4096 1000000 0"))?;
    let known = a.order(&format!("connect {echo} {CONNECTIONS}"))?;
    for nanos in known.numbers("ns")? {
        keep("connect_known_us".into(), nanos as f64 / 1e3);
    }
    for nanos in known.numbers("handshake_ns")? {
        keep("handshake_known_us".into(), nanos as f64 / 1e3);
    }
    let idle = {
        let before = [counts(&mut a)?, counts(&mut b)?];
        difference(before, [counts(&mut a)?, counts(&mut b)?])
    };
    for (write, total) in STREAMS {
        let before = [counts(&mut a)?, counts(&mut b)?];
        let answer = a.order(&format!("stream {discard} {write} {total}"))?;
        let after = [counts(&mut a)?, counts(&mut b)?];
        keep(format!("stream_{write}_mbit_s"), answer.mbit_s()?);
        // Of both guests, less what the question itself costs.
        let mib = total as f64 / f64::from(1 << 20);
        let used = difference(before, after);
        for (name, used, idle) in [
            ("hypercalls", used[0], idle[0]),
            ("notifications", used[1], idle[1]),
        ] {
            let each = used.saturating_sub(idle) as f64 / mib;
            keep(format!("{name}_{write}_per_mib"), each);
        }
    }
    for (size, rounds) in QUESTIONS {
        let answer = a.order(&format!("pingpong {echo} {size} {rounds}"))?;
        keep(format!("pingpong_{size}_per_s"), answer.rounds_s()?);
    }
    let (asks, answers) = (a.domain.running()?.id, b.domain.running()?.id);
    let port = a.order(&format!("bell-open {answers}"))?.number("port")?;
    b.order(&format!("bell-answer {asks} {port}"))?;
    let answer = a.order(&format!("bell {EVENTS}"))?;
    keep("events_per_s".into(), answer.rounds_s()?);
    let answer = a.order(&format!("hypercalls {HYPERCALLS}"))?;
    for name in ["bare", "answered"] {
        let nanos = answer.number(&format!("{name}_ns"))? as f64 / HYPERCALLS as f64;
        keep(format!("hypercall_{name}_us"), nanos / 1e3);
    }
    for size in [64, 1024] {
        let answer = a.order(&format!("udp {echo} {size} {DATAGRAMS}"))?;
        match answer.number("lost")? {
            0 => keep(format!("udp_{size}_per_s"), answer.rounds_s()?),
            lost => bail!("{lost} of {DATAGRAMS} datagrams of {size} bytes were lost"),
        }
    }
    healthy(&a.domain)?;
    healthy(&b.domain)
}

/// Returns what two guests have used together between two counts.
fn difference(before: [[u64; 2]; 2], after: [[u64; 2]; 2]) -> [u64; 2] {
    [0, 1].map(|kind| {
        let sum = |counts: [[u64; 2]; 2]| counts[0][kind] + counts[1][kind];
        sum(after).saturating_sub(sum(before))
    })
}
