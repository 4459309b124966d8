//! How a guest ends: on request, or by a panic.

use anyhow::{Result, bail};
use labkit::lines;
use labkit::mail::client::Client;
use labkit::net::stream;
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("poweroff", 60, poweroff),
    Case::new("halt", 60, halt),
    Case::new("reboot", 60, reboot),
    Case::new("panic", 60, panic),
    Case::new("console_input", 60, console_input),
];

fn poweroff(lab: &Lab) -> Result<String> {
    let poweroff = format!("{}poweroff", lines::SHUTDOWN);
    let echo = lab.echo(2, 16, "");
    let domain = echo.start_ready()?;
    domain.shutdown()?;
    domain
        .console()
        .wait_for(&poweroff, Deadline::seconds(10))?;
    domain.wait_gone(Deadline::seconds(15))?;

    // A relay with an open session ends too, and soon.
    let relay = lab.relay(3, 16, "");
    let domain = relay.start_ready()?;
    let _client = Client::ready(relay.port(25), Deadline::seconds(20))?;
    domain.shutdown()?;
    domain
        .console()
        .wait_for(&poweroff, Deadline::seconds(15))?;
    domain.wait_gone(Deadline::seconds(15))?;
    Ok("echo, and relay with a session".into())
}

fn halt(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    // xl has no command for it; other tools write this word (xenstore-paths).
    domain.request("halt")?;
    domain.wait_gone(Deadline::seconds(20))?;
    Ok("gone".into())
}

fn reboot(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let before = domain.running()?.id;
    let booted = domain.console().end();
    domain.reboot()?;
    domain
        .console()
        .wait_since(booted, &lines::ECHO_READY, Deadline::seconds(30))?;
    let after = domain.running()?.id;
    if before == after {
        bail!("the domain still has domid {before}");
    }
    let mut stream = stream::connect(guest.port(7), Deadline::seconds(15))?;
    stream::echo_once(&mut stream, b"back again")?;
    Ok(format!("domid {before}, then {after}"))
}

fn panic(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "panic=yes");
    let domain = guest.start()?;
    let line = domain
        .console()
        .wait_for(&lines::PANIC, Deadline::seconds(20))?;
    let entry = domain.wait_ended(Deadline::seconds(15))?;
    if !entry.crashed() {
        bail!("the domain ended, but not with a crash: {}", entry.flags);
    }
    let place = line
        .split_once(lines::PANIC.text)
        .map_or("", |(_, rest)| rest);
    let mut parts = place.splitn(3, ':');
    let (file, number) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let message = parts.next().unwrap_or("").trim();
    if !file.ends_with(".rs") || number.parse::<u32>().is_err() || message.is_empty() {
        bail!("no file, line and message in {line:?}");
    }
    Ok(line)
}

/// Text typed into `xl console` reaches the guest.
fn console_input(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    domain.type_line("nonsense")?;
    let deadline = Deadline::seconds(10);
    domain
        .console()
        .wait_for(&format!("\"nonsense\" {}", lines::NO_COMMAND), deadline)?;
    domain.type_line("status")?;
    domain.console().wait_for(&lines::STATUS_LINK, deadline)?;
    let memory = domain.console().wait_for(&lines::STATUS_MEMORY, deadline)?;
    Ok(memory.trim().to_owned())
}
