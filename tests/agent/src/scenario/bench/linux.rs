//! The Linux domU, measured in the same way: pings, iperf3 in both directions, the same echo.

use std::net::IpAddr;

use anyhow::Result;
use labkit::linux::Linux;
use labkit::traffic::iperf3;
use labkit::{Figures, Lab};

use super::network;

/// The last byte of its addresses.
const NUMBER: u8 = 9;

pub(super) fn measure(lab: &Lab, repeats: usize, figures: &mut Figures) -> Result<()> {
    let Some(linux) = Linux::boot(lab, NUMBER)? else {
        lab.report.log("no Linux domU here: no comparison");
        return Ok(());
    };
    figures.spread(lab, "linux_boot_to_ready_ms", &[linux.ready_ms]);
    let to = IpAddr::V4(linux.ip);
    network::round_trips(lab, "linux_", to, figures)?;
    let (mut out, mut into) = (vec![], vec![]);
    for _ in 0..repeats {
        into.push(iperf3::one_second(to, &[])?);
        out.push(iperf3::one_second(to, &["--reverse"])?);
    }
    figures.spread(lab, "linux_tcp_guest_to_dom0_mbit_s", &out);
    figures.spread(lab, "linux_tcp_dom0_to_guest_mbit_s", &into);
    network::echoes(lab, "linux_", linux.port(7), repeats, figures)
}
