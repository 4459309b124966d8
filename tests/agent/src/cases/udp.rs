//! UDP echo of every kind of size.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};
use labkit::net::datagram::{drain, echo, socket};
use labkit::{Case, Lab};

pub(super) const CASES: &[Case] = &[Case::new("udp_echo", 90, sizes)];

/// The most that fits an MTU of 1500 over IPv4.
const UNFRAGMENTED_BYTES: usize = 1472;

fn sizes(lab: &Lab) -> Result<String> {
    let probe = lab.echo(2, 16, "");
    let guest = lab.echo(2, 16, &format!("ip6={}/64", probe.ip6()));
    let domain = guest.start_ready()?;
    let seed = lab.seed()?;

    let client = socket(guest.port(7))?;
    let mut random = fastrand::Rng::with_seed(seed);
    let fixed = [0, 1, 2, 3, 17, 18, 19, 512, 1471, UNFRAGMENTED_BYTES];
    let drawn: Vec<usize> = (0..40)
        .map(|_| random.usize(0..=UNFRAGMENTED_BYTES))
        .collect();
    for size in fixed.into_iter().chain(drawn) {
        if !echo(&client, size, seed + size as u64)? {
            bail!("no echo of {size} bytes");
        }
        drain(&client, Duration::from_millis(1))?;
    }

    let six = socket(SocketAddr::new(IpAddr::V6(guest.ip6()), 7))?;
    // 20 bytes fewer, because IPv6's header is longer.
    for size in [0, 1, 1000, UNFRAGMENTED_BYTES - 20] {
        if !echo(&six, size, seed + size as u64)? {
            bail!("no echo of {size} bytes over IPv6");
        }
    }

    let mut fragmented = Vec::new();
    for size in [UNFRAGMENTED_BYTES + 1, 4000, 8000] {
        let came = echo(&client, size, seed)?;
        fragmented.push(format!(
            "{size}: {}",
            if came { "echoed" } else { "no answer" }
        ));
    }
    // Whatever the guest does with fragments, it goes on.
    if !echo(&client, 100, seed)? {
        bail!("no echo after the fragmented datagrams");
    }
    domain.running()?;
    Ok(format!(
        "0 to 1472 bytes, v4 and v6; in fragments {}",
        fragmented.join(", ")
    ))
}
