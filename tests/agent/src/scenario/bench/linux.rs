//! The Linux domU, measured the same way: pings, iperf3 in both directions, the same echo.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Figures, network};
use crate::lab::Lab;
use crate::linux::Linux;
use crate::process::run_ok;

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
        into.push(iperf3(to, &[])?);
        out.push(iperf3(to, &["--reverse"])?);
    }
    figures.spread(lab, "linux_tcp_guest_to_dom0_mbit_s", &out);
    figures.spread(lab, "linux_tcp_dom0_to_guest_mbit_s", &into);
    network::echoes(lab, "linux_", linux.port(7), repeats, figures)
}

/// One second of iperf3 with its default of 128 KiB writes; the receiver's rate in Mbit/s.
fn iperf3(to: IpAddr, options: &[&str]) -> Result<f64> {
    let to = to.to_string();
    let mut arguments = vec!["--client", &to, "--time", "1", "--json"];
    arguments.extend_from_slice(options);
    // Now and then iperf3's server closes the control connection before its client has sent the
    // last message ("unable to send control message"); the measurement is made again.
    let mut attempts = 3;
    loop {
        attempts -= 1;
        match run_ok("iperf3", &arguments, Duration::from_secs(120)) {
            Err(_) if attempts > 0 => std::thread::sleep(Duration::from_secs(1)),
            output => return rate(&output?),
        }
    }
}

/// The receiver's rate in Mbit/s, of what iperf3 prints with `--json`.
pub(in crate::scenario) fn rate(json: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(json).context("iperf3's report")?;
    let rate = report.pointer("/end/sum_received/bits_per_second");
    let rate = rate.and_then(Value::as_f64);
    Ok(rate.context("no received rate in iperf3's report")? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn the_receivers_rate_is_taken() {
        let json = r#"{"end":{"sum_sent":{"bits_per_second":2e9},
            "sum_received":{"bits_per_second":1.5e9}}}"#;
        assert_eq!(rate(json).expect("it is there"), 1500.0);
        assert!(rate("{}").is_err());
    }
}
