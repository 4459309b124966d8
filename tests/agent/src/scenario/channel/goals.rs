//! The goals, beside what was measured.

use labkit::goals::{self, Goal};
/// Compares the figures with the goals, and adds the result to them.
use labkit::{Figures, Lab};

pub(super) fn judge(lab: &Lab, figures: &mut Figures) {
    let ratio = |one: &str, other: &str| Some(figures.median(one)? / figures.median(other)?);
    let stream = ratio("channel_stream_16384_mbit_s", "linux_iperf3_16384_mbit_s");
    let costs = [
        "dom0_stream_1024_mbit_s_cost_percent",
        "dom0_stream_4096_mbit_s_cost_percent",
        "dom0_stream_16384_mbit_s_cost_percent",
        "dom0_stream_65536_mbit_s_cost_percent",
        "dom0_pingpong_1024_per_s_cost_percent",
    ];
    let costs: Option<Vec<f64>> = costs.iter().map(|key| figures.number(key)).collect();
    let worst = costs.map(|costs| costs.into_iter().fold(f64::MIN, f64::max));
    let goals = [
        Goal::at_most(
            "connect to a known peer, of TCP's time over netfront",
            ratio("channel_connect_known_us", "netfront_connect_known_us"),
            0.5,
        ),
        Goal::at_least("stream at 16 KiB, of Linux to Linux", stream, 8.0),
        Goal::at_least(
            "stream at 16 KiB, of Linux to Linux: the next mark",
            stream,
            16.0,
        ),
        Goal::at_least(
            "request/response of 1 byte, of Linux to Linux",
            ratio("channel_pingpong_1_per_s", "linux_pingpong_1_per_s"),
            10.0,
        ),
        Goal::at_least(
            "request/response of 1 byte, of netfront's",
            ratio("channel_pingpong_1_per_s", "netfront_pingpong_1_per_s"),
            10.0,
        ),
        Goal::at_most(
            "cost for a plain peer at 1 KB and up, worst, in percent",
            worst,
            0.5,
        ),
        Goal::at_most(
            "membership change seen, in ms",
            figures.median("membership_ms"),
            10.0,
        ),
    ];
    goals::judge(lab, figures, &goals);
}
