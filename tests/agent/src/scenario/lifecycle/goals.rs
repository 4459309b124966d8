//! The goals, beside what was measured. They are logged, and decide nothing.

use labkit::{Figures, Kind, Lab};

pub(super) fn log(lab: &Lab, figures: &Figures) {
    let half_of_linux = figures.median("linux_downtime_ms").map(|ms| ms / 2.0);
    // Of a PV guest the shadow pool decides how many pages stay resident.
    let (own_us, r_d, resident) = match lab.job.guest {
        Kind::Pv => (2000.0, 0.3, 1280.0),
        Kind::Pvh => (300.0, 0.1, 699.0),
    };
    for (what, key, limit) in [
        (
            "outage, at most half of Linux's",
            "downtime_ms",
            half_of_linux,
        ),
        ("the guest's own part", "guest_part_us", Some(own_us)),
        ("quiesce", "quiesce_us", Some(200.0)),
        ("R_d of an idle relay", "r_d", Some(r_d)),
        (
            "resident pages of an idle relay",
            "relay_pages_resident",
            Some(resident),
        ),
    ] {
        let (Some(value), Some(limit)) = (figures.median(key).or(figures.number(key)), limit)
        else {
            lab.report.log(format!("goal: {what}: not measured"));
            continue;
        };
        let met = if value <= limit { "met" } else { "NOT met" };
        lab.report.log(format!(
            "goal: {what}: {key} {value:.3}, limit {limit:.3}: {met}"
        ));
    }
}
