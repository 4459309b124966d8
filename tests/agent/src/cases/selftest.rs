//! The kernel's own tests, which run inside a guest.

use anyhow::{Context, Result, bail};
use labkit::lines;
use labkit::{Case, Deadline, Image, Lab};

pub(super) const CASES: &[Case] = &[Case::new("kernel_selftest", 90, selftest)];

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
