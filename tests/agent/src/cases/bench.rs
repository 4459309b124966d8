//! Two bench guests with every kind of traffic, and orders that make no sense.

use anyhow::{Result, bail};
use labkit::survival::healthy;
use labkit::traffic::bench::{CONTROL, Control, kind_of};
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[Case::new("bench_two_guests", 120, orders)];

/// Orders that are answered by an error, the error's kind, and the argument that it is about.
const WRONG: &[(&str, &str, &str)] = &[
    ("", "no-order", ""),
    ("dance", "no-order", ""),
    ("stream", "usage", ""),
    ("stream 10.0.0.3:9 0 1", "no-number", "WRITE_BYTES"),
    (
        "stream 10.0.0.3:9 64 99999999999999",
        "no-number",
        "TOTAL_BYTES",
    ),
    ("stream here 64 64", "no-address", ""),
    ("pingpong 10.0.0.3:7 1 1 1", "usage", ""),
    ("connect 10.0.0.3:7 257", "no-number", "COUNT"),
    ("hold 10.0.0.3:7 0", "no-number", "COUNT"),
    ("udp 10.0.0.3:7 1473 1", "no-number", "BYTES"),
    ("connect 10.0.0.3:4 1", "refused", ""),
    ("bell-open 99999", "no-number", "DOMID"),
    ("bell-answer 0 1", "event-channel", ""),
    ("bell 10", "no-bell", ""),
];

fn orders(lab: &Lab) -> Result<String> {
    let (a, b) = (lab.bench(2, 16, ""), lab.bench(3, 16, ""));
    let (one, other) = (a.start_ready()?, b.start_ready()?);
    let mut control = Control::connect(a.port(CONTROL))?;
    let mut order = |order: &str| control.order(order, Deadline::seconds(40));
    let (echo, discard) = (b.port(7), b.port(9));
    for (line, kind, argument) in WRONG {
        match order(line) {
            Ok(answer) => bail!("{line:?} was answered by {answer:?}"),
            Err(error)
                if kind_of(&error) == Some(kind) && format!("{error:#}").contains(argument) => {}
            Err(error) => return Err(error),
        }
    }
    // Odd sizes, so that no write or period ends with a buffer.
    for (write, total) in [(1, 1000), (777, 3_000_000), (100_000, 5_000_000)] {
        order(&format!("verify {echo} {write} {total} 0"))?;
    }
    order(&format!("verify {echo} 1000 50000 1000"))?;
    for (more, held) in [(3, 3), (2, 5)] {
        if order(&format!("hold {echo} {more}"))?.number("held")? != held {
            bail!("not {held} connections are held");
        }
    }
    if order("release")?.number("released")? != 5 || order("flow")?.number("bytes")? == 0 {
        bail!("not 5 connections released, or nothing compared");
    }
    let rate = order(&format!("stream {discard} 16384 8000000"))?.mbit_s()?;
    let asked = order(&format!("pingpong {echo} 64 100"))?.rounds_s()?;
    let times = order(&format!("connect {echo} 8"))?.numbers("ns")?;
    if times.len() != 8 {
        bail!("8 connections took {times:?}");
    }
    let udp = order(&format!("udp {echo} 1472 20"))?;
    if udp.number("lost")? > 2 {
        bail!("{udp:?}");
    }
    healthy(&one)?;
    healthy(&other)?;
    Ok(format!(
        "{} orders refused; {rate:.0} Mbit/s, {asked:.0} questions/s",
        WRONG.len()
    ))
}
