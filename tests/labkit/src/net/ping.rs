//! Runs ping(8) and reads its output.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::process::{run, tail};

/// The replies to a ping.
#[derive(Debug, PartialEq)]
pub struct Replies {
    /// Round-trip times in milliseconds, in order.
    pub times_ms: Vec<f64>,
}

/// Sends `count` echo requests of `size` data bytes, one every `interval_ms`. Lost ones are
/// missing from the replies; a duplicate or damaged one is an error.
pub fn ping(to: IpAddr, count: usize, interval_ms: u64, size: usize) -> Result<Replies> {
    let seconds = format!("{}.{:03}", interval_ms / 1000, interval_ms % 1000);
    let arguments = [
        "-n",
        "-c",
        &count.to_string(),
        "-i",
        &seconds,
        "-W",
        "3",
        "-s",
        &size.to_string(),
        &to.to_string(),
    ];
    let limit = Duration::from_millis(count as u64 * interval_ms) + Duration::from_secs(30);
    let output = run("ping", &arguments, limit)?;
    // ping(8) exits with 1 when nothing came back, and with 2 on other errors.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("ping {to}: {}", tail(&output.text, 5));
    }
    parse(&output.text).with_context(|| format!("ping {to}"))
}

/// Pings until the first reply. The request that causes an address to be looked up may be lost.
pub fn reachable(to: IpAddr, deadline: Deadline) -> Result<()> {
    let what = format!("a ping reply from {to}");
    deadline.poll(Duration::from_millis(200), &what, || {
        Ok((!ping(to, 1, 200, 56)?.times_ms.is_empty()).then_some(()))
    })
}

fn parse(text: &str) -> Result<Replies> {
    if let Some(line) = text
        .lines()
        .find(|line| line.contains("DUP!") || line.contains("wrong data byte"))
    {
        bail!("{line}");
    }
    let times_ms = text
        .lines()
        .filter_map(|line| line.split_once("time=")?.1.strip_suffix(" ms"))
        .map(|time| time.parse().with_context(|| format!("time={time}")))
        .collect::<Result<_>>()?;
    Ok(Replies { times_ms })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_are_collected() {
        let text = "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.\n\
            64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.086 ms\n\
            64 bytes from 10.0.0.2: icmp_seq=3 ttl=64 time=1.5 ms\n\
            --- 10.0.0.2 ping statistics ---\n\
            3 packets transmitted, 2 received, 33% packet loss, time 400ms\n";
        assert_eq!(parse(text).expect("times").times_ms, [0.086, 1.5]);
    }

    #[test]
    fn duplicates_and_damage_are_errors() {
        assert!(parse("64 bytes from x: icmp_seq=1 ttl=64 time=1 ms (DUP!)").is_err());
        assert!(parse("wrong data byte #16 should be 0x10 but was 0x0").is_err());
    }
}
