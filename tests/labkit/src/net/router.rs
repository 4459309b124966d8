//! dom0 as a router between two bridges, each a subnet of its own.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::addresses::{BRIDGE, SECOND_BRIDGE, SECOND_ROUTER};
use crate::process::{run, run_ok};

/// The limit of a call of ip(8).
const LIMIT: Duration = Duration::from_secs(20);

/// The second bridge, and packets passed between both. It ends when dropped.
#[derive(Debug)]
pub struct Router(());

impl Router {
    /// Makes the second bridge and begins to route. With proxy ARP, which is on too, dom0 answers
    /// on either bridge for the addresses of the other.
    pub fn start() -> Result<Self> {
        // One that a case which was cut off has left.
        remove();
        let router = Self(());
        let make = format!(
            "link add {SECOND_BRIDGE} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"
        );
        let network = format!("address add {SECOND_ROUTER}/24 dev {SECOND_BRIDGE}");
        let up = format!("link set {SECOND_BRIDGE} up");
        for command in [&make, &network, &up] {
            let words: Vec<_> = command.split(' ').collect();
            run_ok("ip", &words, LIMIT)?;
        }
        set("ip_forward", "1")?;
        for bridge in [BRIDGE, SECOND_BRIDGE] {
            set(&format!("conf/{bridge}/proxy_arp"), "1")?;
            // Its answers would otherwise wait for up to 0.8 s.
            set(&format!("neigh/{bridge}/proxy_delay"), "0")?;
        }
        Ok(router)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Both fail only if they are not there.
        let _ = set("ip_forward", "0");
        let _ = set(&format!("conf/{BRIDGE}/proxy_arp"), "0");
        remove();
    }
}

/// Removes the second bridge if there is one.
fn remove() {
    let _ = run("ip", &["link", "delete", SECOND_BRIDGE], LIMIT);
}

fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/{name}");
    fs::write(&path, value).context(path)
}
