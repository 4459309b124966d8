//! Guests with the smallest memory that they support.

use anyhow::{Result, bail};
use labkit::lines;
use labkit::mail::client::Client;
use labkit::net::stream;
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("boot_echo_8_mib", 40, echo),
    Case::new("boot_relay_8_mib", 40, relay),
];

fn echo(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 8, "");
    let domain = guest.start_ready()?;
    let up = domain
        .console()
        .wait_for(&lines::NET_UP, Deadline::seconds(5))?;
    if !up.contains(&format!("{}{}/24", lines::NET_UP, guest.ip())) {
        bail!("the console says {up:?}");
    }
    let mut stream = stream::connect(guest.port(7), Deadline::seconds(15))?;
    stream::echo_once(&mut stream, b"hello from dom0")?;
    let entry = domain.running()?;
    Ok(format!(
        "{} MiB, {:.1} s of CPU",
        entry.memory_mib, entry.cpu_s
    ))
}

fn relay(lab: &Lab) -> Result<String> {
    let guest = lab.relay(2, 8, "hostname=mx.causeway.test");
    let domain = guest.start_ready()?;
    let (mut client, banner) = Client::connect(guest.port(25), Deadline::seconds(15))?;
    let banner = banner.expect(220, "banner")?;
    let name = banner.lines.first().map(String::as_str).unwrap_or_default();
    if !name.starts_with("mx.causeway.test") {
        bail!("the banner does not begin with the host name: {name:?}");
    }
    client.command("EHLO client.test")?.expect(250, "EHLO")?;
    client.quit()?;
    Ok(format!(
        "{} MiB, banner {name:?}",
        domain.running()?.memory_mib
    ))
}
