//! The kernel's own tests, which run inside a guest.

use anyhow::{Context, Result, bail};
use labkit::lines;
use labkit::{Case, Deadline, Image, Kind, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("kernel_selftest", 90, selftest),
    Case::new("faults_end_in_a_panic", 90, faults),
];

/// What the guest is told to do wrong, and what its panic says. A PV guest, whose whole image Xen's
/// domain builder maps writable and executable, does not notice the last two. It has one stack: when
/// that overflows, Xen cannot tell it of the fault, and it ends without a panic.
///
/// The error codes are the processor's, which Xen gives a PV guest too: absent, twice; a write to
/// what is absent; a write to what is read-only; an instruction from what is not executable. In a
/// PVH guest the address is not looked at: in QEMU 10.0.13 CR2 always reads as 0 there
/// (docs/pvh.md).
const FAULTS: [(&str, &str); 5] = [
    ("null", "error 0x0,"),
    ("absent", "error 0x0,"),
    ("stack", "error 0x2,"),
    ("text", "error 0x3,"),
    ("execute", "error 0x11,"),
];

/// Where a null pointer of these tests points to.
const NULL: &str = "address 0x8,";

/// Bugs that touch memory which is not there, or not theirs, end in a panic that says so.
fn faults(lab: &Lab) -> Result<String> {
    let noticed = match lab.job.guest {
        Kind::Pv => &FAULTS[..2],
        Kind::Pvh => &FAULTS[..],
    };
    for (fault, says) in noticed {
        let guest = lab.guest_with(Image::Selftest, 2, 16, &format!("provoke={fault}"));
        let domain = guest.start()?;
        let panic = domain
            .console()
            .wait_for(&lines::PANIC, Deadline::seconds(15));
        let panic = panic.with_context(|| format!("{fault} went unnoticed"))?;
        let place = match (lab.job.guest, *fault) {
            (Kind::Pv, "null") => NULL,
            _ => "address 0x",
        };
        if !panic.contains(&format!("page fault at {place}")) || !panic.contains(says) {
            bail!("{fault} ends in {panic:?}");
        }
        lab.report.log(format!("{fault}: {panic}"));
    }
    Ok(format!("{} faults", noticed.len()))
}

fn selftest(lab: &Lab) -> Result<String> {
    let guest = lab.guest_with(Image::Selftest, 2, 16, "");
    let domain = guest.start()?;
    let line = domain
        .console()
        .wait_for(&lines::SELFTEST_DONE, Deadline::seconds(80))?;
    let console = domain.console().text();
    let failed: Vec<_> = console
        .lines()
        .filter(|line| line.contains(lines::SELFTEST_FAILED.text))
        .collect();
    let (_, counts) = line
        .split_once(lines::SELFTEST_DONE.text)
        .with_context(|| format!("no counts in {line:?}"))?;
    if !failed.is_empty() || !counts.trim_end().ends_with(" 0 failed") {
        bail!("{counts}: {}", failed.join("; "));
    }
    domain.wait_gone(Deadline::seconds(10))?;
    Ok(counts.trim_end().to_owned())
}
