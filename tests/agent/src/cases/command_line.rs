//! A wrong command line is a clear error and the end of the guest, not a silent default.

use anyhow::{Context, Result, bail};
use labkit::lines;
use labkit::{Case, Deadline, Image, Lab};

pub(super) const CASES: &[Case] = &[Case::new("bad_command_line", 180, bad)];

const ADDRESSES: &str = "ip=10.0.0.2/24 gw=10.0.0.1";

/// Image, options, and the option that the error must name.
const BAD: &[(Image, &str, &str)] = &[
    (Image::Echo, "{} nonsense=1", "nonsense"),
    (Image::Echo, "{} word", "word"),
    (Image::Echo, "ip=10.0.0.300/24 gw=10.0.0.1", "ip"),
    (Image::Echo, "ip=10.0.0.2/33 gw=10.0.0.1", "ip"),
    (Image::Echo, "ip=10.0.0.2/24 gw=here", "gw"),
    (Image::Echo, "{} ip6=fd00::zz/64", "ip6"),
    (Image::Echo, "{} log=loud", "log"),
    (Image::Relay, "{}", "next-hop"),
    (Image::Relay, "{} next-hop=10.0.0.1:99999", "next-hop"),
    (
        Image::Relay,
        "{} next-hop=10.0.0.1:2525 sessions=many",
        "sessions",
    ),
    (
        Image::Relay,
        "{} next-hop=10.0.0.1:2525 max-size=1",
        "max-size",
    ),
    (
        Image::Relay,
        "{} next-hop=10.0.0.1:2525 max-line=997",
        "max-line",
    ),
    (
        Image::Relay,
        "{} next-hop=10.0.0.1:2525 allow-from=10.0.0.0/33",
        "allow-from",
    ),
    (Image::Bench, "{} control=0", "control"),
    (Image::Bench, "{} buffer=2", "buffer"),
    (Image::Mclient, "{}", "relay"),
    (Image::Mclient, "{} relay=here", "relay"),
    (Image::Mclient, "{} relay=10.0.0.2 n=101", "n"),
    (Image::Mclient, "{} relay=10.0.0.2 size=0", "size"),
    // More than the guest's memory holds.
    (
        Image::Relay,
        "{} next-hop=10.0.0.1:2525 sessions=200",
        "sessions",
    ),
];

fn bad(lab: &Lab) -> Result<String> {
    let mut wrong = Vec::new();
    for (number, (image, options, named)) in (2_u8..).zip(BAD) {
        let line = options.replace("{}", ADDRESSES);
        if let Err(error) = one(lab, number, *image, &line, named) {
            wrong.push(format!("{line:?}: {error:#}"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(format!("{} command lines refused", BAD.len()))
}

fn one(lab: &Lab, number: u8, image: Image, line: &str, named: &str) -> Result<()> {
    // Without a network interface the domain is built faster; the command line is read first
    // anyway.
    let domain = lab.guest_with(image, number, 16, line).offline().start()?;
    let error = domain
        .console()
        .wait_for(&lines::FATAL, Deadline::seconds(15))?;
    if !error.contains(named) {
        bail!("the error does not name {named}: {error:?}");
    }
    let entry = domain
        .wait_ended(Deadline::seconds(10))
        .context("after the error")?;
    if !entry.crashed() {
        bail!("the domain ended, but not with a crash: {}", entry.flags);
    }
    Ok(())
}
