//! The goals, beside what was measured in the last mode.

use labkit::goals::{self, Goal};
use labkit::{Figures, Lab, Mode};

use super::rows::CONNECTIONS;

pub(super) fn judge(lab: &Lab, mode: Mode, figures: &mut Figures) {
    lab.report.log(format!("goals, with vmc={}:", mode.name()));
    let own = figures.median("own_outage_us");
    let own = own
        .zip(figures.median("idle_own_us"))
        .map(|(own, idle)| own / idle);
    let most = CONNECTIONS.iter().max().copied().unwrap_or(0);
    let goals = [
        Goal::at_most("lost bytes", figures.number("lost_bytes"), 0.0),
        Goal::at_most("corrupt bytes", figures.number("corrupt_bytes"), 0.0),
        Goal::at_most("connections reset", figures.number("resets"), 0.0),
        Goal::at_most("domains left over", figures.number("zombie_domains"), 0.0),
        Goal::at_most(
            "pages of rings in use that were sent",
            figures.number("ring_pages_sent"),
            0.0,
        ),
        // Without such pages, it would mean nothing that none was sent.
        Goal::at_least(
            "pages of the peer's in use as rings during pre-copy",
            figures.median("rings_foreign_pages"),
            1.0,
        ),
        Goal::at_least(
            "throughput during pre-copy, of that before",
            figures.median("throughput_precopy_ratio"),
            0.9,
        ),
        Goal::at_most(
            "the guest's own part of the outage, of an idle guest's",
            own,
            1.1,
        ),
        Goal::at_most(
            "us until all is quiet, with 200 connections",
            figures.median(&format!("suspend_quiesce_us_{most}")),
            300.0,
        ),
    ];
    goals::judge(lab, figures, &goals);
}
