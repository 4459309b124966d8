//! Runs iperf3(1) and reads its report.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::run_ok;

/// How often a measurement is attempted. Sometimes iperf3's server closes the control connection
/// before its client has sent the last message ("unable to send control message").
pub const ATTEMPTS: usize = 3;

/// Measures for one second with iperf3's default writes of 128 KiB; returns the receiver's rate in
/// Mbit/s.
///
/// # Errors
/// iperf3 fails [`ATTEMPTS`] times.
pub fn one_second(to: IpAddr, options: &[&str]) -> Result<f64> {
    let to = to.to_string();
    let mut arguments = vec!["--client", &to, "--time", "1", "--json"];
    arguments.extend_from_slice(options);
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        match run_ok("iperf3", &arguments, Duration::from_secs(120)) {
            Err(_) if attempts > 0 => std::thread::sleep(Duration::from_secs(1)),
            output => return received_mbit_s(&output?),
        }
    }
}

/// Returns the receiver's rate in Mbit/s from what iperf3 prints with `--json`.
///
/// # Errors
/// The report has no such rate: the measurement failed.
pub fn received_mbit_s(json: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(json).context("iperf3's report")?;
    let rate = report.pointer("/end/sum_received/bits_per_second");
    let rate = rate.and_then(Value::as_f64);
    Ok(rate.context("no received rate in iperf3's report")? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::received_mbit_s;

    #[test]
    fn the_receivers_rate_is_taken() {
        let json = r#"{"end":{"sum_sent":{"bits_per_second":2e9},
            "sum_received":{"bits_per_second":1.5e9}}}"#;
        assert_eq!(received_mbit_s(json).expect("it is there"), 1500.0);
        assert!(received_mbit_s("{}").is_err());
    }
}
