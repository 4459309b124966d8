//! What the channel costs with a peer that has none: a bench guest and dom0.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use labkit::addresses::DOM0;
use labkit::peer;
use labkit::survival::healthy;
use labkit::{Figures, Lab, Mode};

use super::pair::{self, Values};
use super::{Parameters, STREAMS, prefix};

/// The smallest write that is compared, in bytes.
const FROM: usize = 1024;

/// The stream of the smallest writes, in addition to [`STREAMS`].
const SMALLEST: (usize, u64) = (FROM, 16 << 20);

/// Bytes of each question, and how many make one measurement.
const QUESTIONS: [(usize, u64); 2] = [(1, 2000), (1024, 2000)];

pub(super) fn measure(lab: &Lab, params: &Parameters, figures: &mut Figures) -> Result<()> {
    peer::serve(IpAddr::V4(DOM0))?;
    let mut values = Values::new();
    for number in 0..params.repeats {
        for &mode in &params.arms {
            once(lab, mode, &mut values)
                .with_context(|| format!("{}, repetition {}", prefix(mode), number + 1))?;
        }
    }
    for (name, values) in &values {
        figures.spread(lab, name, values);
    }
    costs(lab, figures);
    Ok(())
}

fn once(lab: &Lab, mode: Mode, values: &mut Values) -> Result<()> {
    let mut guest = pair::boot(lab, 2, mode)?;
    let at = |port| SocketAddr::new(IpAddr::V4(DOM0), port);
    let (echo, discard) = (at(peer::ECHO), at(peer::DISCARD));
    let mut keep = |name: String, value: f64| {
        let name = format!("{}_{name}", prefix(mode));
        values.entry(name).or_default().push(value);
    };
    let first = guest.order(&format!("connect {echo} 1"))?;
    keep(
        "dom0_connect_first_us".into(),
        first.number("ns")? as f64 / 1e3,
    );
    let later = guest.order(&format!("connect {echo} 16"))?;
    for nanos in later.numbers("ns")? {
        keep("dom0_connect_later_us".into(), nanos as f64 / 1e3);
    }
    for (write, total) in streams() {
        let answer = guest.order(&format!("stream {discard} {write} {total}"))?;
        keep(format!("dom0_stream_{write}_mbit_s"), answer.mbit_s()?);
    }
    for (size, rounds) in QUESTIONS {
        let answer = guest.order(&format!("pingpong {echo} {size} {rounds}"))?;
        keep(format!("dom0_pingpong_{size}_per_s"), answer.rounds_s()?);
    }
    healthy(&guest.domain)
}

fn streams() -> impl Iterator<Item = (usize, u64)> {
    let larger = STREAMS.into_iter().filter(|&(write, _)| write > FROM);
    std::iter::once(SMALLEST).chain(larger)
}

/// Adds by how many percent the channel's option slows down traffic with a plain peer.
fn costs(lab: &Lab, figures: &mut Figures) {
    let rates = streams()
        .map(|(write, _)| format!("stream_{write}_mbit_s"))
        .chain(QUESTIONS.map(|(size, _)| format!("pingpong_{size}_per_s")));
    for rate in rates {
        let of = |mode: Mode| figures.median(&format!("{}_dom0_{rate}", prefix(mode)));
        if let (Some(off), Some(on)) = (of(Mode::Off), of(Mode::Original)) {
            let percent = (off / on - 1.0) * 100.0;
            figures.rounded(lab, &format!("dom0_{rate}_cost_percent"), percent);
        }
    }
    for which in ["first", "later"] {
        let of = |mode: Mode| figures.median(&format!("{}_dom0_connect_{which}_us", prefix(mode)));
        if let (Some(off), Some(on)) = (of(Mode::Off), of(Mode::Original)) {
            figures.rounded(lab, &format!("dom0_connect_{which}_cost_us"), on - off);
        }
    }
}
