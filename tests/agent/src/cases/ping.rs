//! ICMP echo over IPv4 and IPv6.

use std::net::IpAddr;

use anyhow::{Result, bail};
use labkit::net::ping::{ping, reachable};
use labkit::stats::Spread;
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[Case::new("ping", 90, both)];

/// Data bytes per request: ping's default, none, and the most that fits an MTU of 1500.
const SIZES: [usize; 3] = [56, 0, 1452];

fn both(lab: &Lab) -> Result<String> {
    let probe = lab.echo(2, 16, "");
    let guest = lab.echo(2, 16, &format!("ip6={}/64", probe.ip6()));
    let _domain = guest.start_ready()?;
    let mut seen = Vec::new();
    for (family, to) in [
        ("v4", IpAddr::V4(guest.ip())),
        ("v6", IpAddr::V6(guest.ip6())),
    ] {
        reachable(to, Deadline::seconds(15))?;
        for size in SIZES {
            let replies = ping(to, 10, 50, size)?;
            let count = replies.times_ms.len();
            // ping(8) cannot time a request that is too short to hold a time stamp.
            if size >= 16 && count != 10 {
                bail!("{count} of 10 replies over {family} with {size} bytes");
            }
            if let Some(spread) = Spread::of(&replies.times_ms) {
                seen.push(format!("{family}/{size}: {:.3} ms", spread.median));
            }
        }
    }
    Ok(seen.join(", "))
}
