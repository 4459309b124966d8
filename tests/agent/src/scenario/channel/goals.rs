//! What was promised (stage 3), beside what was measured. It is printed and kept, and decides
//! nothing.

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::scenario::figures::Figures;
use crate::stats::rounded;

/// One promise: `value` is to be at least, or at most, `limit`.
struct Goal {
    what: &'static str,
    value: Option<f64>,
    limit: f64,
    at_least: bool,
}

impl Goal {
    fn is_met(&self, value: f64) -> bool {
        if self.at_least {
            value >= self.limit
        } else {
            value <= self.limit
        }
    }
}

/// Judges the figures, and keeps the judgement among them.
pub(super) fn judge(lab: &Lab, figures: &mut Figures) {
    let ratio = |one: &str, other: &str| Some(figures.median(one)? / figures.median(other)?);
    let at_least = |what, value, limit| Goal {
        what,
        value,
        limit,
        at_least: true,
    };
    let at_most = |what, value, limit| Goal {
        what,
        value,
        limit,
        at_least: false,
    };
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
        at_most(
            "connect to a known peer, of TCP's time over netfront",
            ratio("channel_connect_known_us", "netfront_connect_known_us"),
            0.5,
        ),
        at_least("stream at 16 KiB, of Linux to Linux", stream, 8.0),
        at_least(
            "stream at 16 KiB, of Linux to Linux: the next mark",
            stream,
            16.0,
        ),
        at_least(
            "request/response of 1 byte, of Linux to Linux",
            ratio("channel_pingpong_1_per_s", "linux_pingpong_1_per_s"),
            10.0,
        ),
        at_least(
            "request/response of 1 byte, of netfront's",
            ratio("channel_pingpong_1_per_s", "netfront_pingpong_1_per_s"),
            10.0,
        ),
        at_most(
            "cost for a plain peer at 1 KB and up, worst, in percent",
            worst,
            0.5,
        ),
        at_most(
            "membership change seen, in ms",
            figures.median("membership_ms"),
            10.0,
        ),
    ];
    let judged: Vec<Value> = goals.iter().map(|goal| one(lab, goal)).collect();
    figures.value(lab, "goals", Value::Array(judged));
}

fn one(lab: &Lab, goal: &Goal) -> Value {
    let bound = if goal.at_least { "at least" } else { "at most" };
    let (met, shown) = match goal.value {
        Some(value) if goal.is_met(value) => (json!(true), format!("{value:.3}: met")),
        Some(value) => (json!(false), format!("{value:.3}: NOT met")),
        None => (Value::Null, "not measured".to_owned()),
    };
    lab.report.log(format!(
        "goal: {}, {bound} {}: {shown}",
        goal.what, goal.limit
    ));
    json!({
        "goal": goal.what,
        "bound": bound,
        "limit": goal.limit,
        "value": goal.value.map(rounded),
        "met": met,
    })
}
