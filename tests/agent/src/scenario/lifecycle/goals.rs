//! The goals, beside what was measured. They are logged, and decide nothing.

use labkit::{Figures, Lab};

pub(super) fn log(lab: &Lab, figures: &Figures) {
    let half_of_linux = figures.median("linux_downtime_ms").map(|ms| ms / 2.0);
    for (what, key, limit) in [
        (
            "outage, at most half of Linux's",
            "downtime_ms",
            half_of_linux,
        ),
        ("the guest's own part", "guest_part_us", Some(2000.0)),
        ("quiesce", "quiesce_us", Some(200.0)),
        ("R_d of an idle relay", "r_d", Some(0.3)),
    ] {
        let (Some(value), Some(limit)) = (figures.median(key), limit) else {
            lab.report.log(format!("goal: {what}: not measured"));
            continue;
        };
        let met = if value <= limit { "met" } else { "NOT met" };
        lab.report.log(format!(
            "goal: {what}: {key} {value:.3}, limit {limit:.3}: {met}"
        ));
    }
}
