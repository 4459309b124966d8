//! Two Linux domUs: iperf3 with the same writes, and the guests' own measurements by the same steps
//! (`agent peer`).

use std::net::SocketAddr;

use anyhow::{Context, Result};
use labkit::linux::{AGENT, Linux, MEMORY_MIB};
use labkit::peer::{DISCARD, ECHO};
use labkit::traffic::bench::Answer;
use labkit::traffic::iperf3::{ATTEMPTS, received_mbit_s};
use labkit::{Deadline, Figures, Lab};

use super::{Parameters, QUESTIONS, STREAMS};

/// The last bytes of their addresses.
const NUMBERS: [u8; 2] = [8, 9];

pub(super) fn measure(lab: &Lab, params: &Parameters, figures: &mut Figures) -> Result<()> {
    let boot = |number| Linux::boot(lab, number)?.context("no Linux domU in dom0");
    let (a, b) = (boot(NUMBERS[0])?, boot(NUMBERS[1])?);
    a.equip()?;
    b.equip()?;
    figures.value(lab, "linux_memory_mib", MEMORY_MIB.into());
    let (echo, discard) = (b.port(ECHO), b.port(DISCARD));
    let mut connects = Vec::new();
    for _ in 0..params.repeats {
        let answer = peer(&a, &format!("connect {echo} 16"))?;
        connects.extend(answer.numbers("ns")?.iter().map(|&ns| ns as f64 / 1e3));
    }
    figures.spread(lab, "linux_connect_us", &connects);
    for (write, total) in STREAMS {
        let (mut rates, mut own) = (Vec::new(), Vec::new());
        for _ in 0..params.repeats {
            rates.push(iperf3(&a, &b, write, total)?);
            own.push(peer(&a, &format!("stream {discard} {write} {total}"))?.mbit_s()?);
        }
        figures.spread(lab, &format!("linux_iperf3_{write}_mbit_s"), &rates);
        figures.spread(lab, &format!("linux_stream_{write}_mbit_s"), &own);
    }
    for (size, rounds) in QUESTIONS {
        let mut rates = Vec::new();
        for _ in 0..params.repeats {
            rates.push(peer(&a, &format!("pingpong {echo} {size} {rounds}"))?.rounds_s()?);
        }
        figures.spread(lab, &format!("linux_pingpong_{size}_per_s"), &rates);
    }
    Ok(())
}

/// Runs a measurement in the domU.
fn peer(linux: &Linux, order: &str) -> Result<Answer> {
    let command = format!("{AGENT} peer {order}");
    let text = linux.command(&command, Deadline::seconds(180))?;
    Answer::parse(&text).with_context(|| command)
}

/// Runs iperf3 with Nagle's algorithm off, as in the guests; returns the receiver's rate in Mbit/s.
fn iperf3(from: &Linux, to: &Linux, write: usize, total: u64) -> Result<f64> {
    let to = SocketAddr::new(to.ip.into(), 0).ip();
    let command =
        format!("iperf3 --client {to} --length {write} --bytes {total} --no-delay --json");
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let text = from.command(&command, Deadline::seconds(180))?;
        match received_mbit_s(&text) {
            Ok(rate) => return Ok(rate),
            Err(error) => last = Some(error.context(format!("{command}: {text}"))),
        }
    }
    Err(last.context("never tried")?)
}
