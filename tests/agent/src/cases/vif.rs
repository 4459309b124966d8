//! A guest's interface in dom0 goes down and comes up again.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::net::ping::{ping, reachable};
use labkit::net::stream::{connect, echo_once};
use labkit::process::run_ok;
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[Case::new("vif_down_and_up", 90, down_up)];

fn down_up(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let vif = domain.vif()?;
    let to = IpAddr::V4(guest.ip());
    let mut stream = connect(guest.port(7), Deadline::seconds(70))?;
    echo_once(&mut stream, b"before")?;
    for round in 0..3 {
        set(&vif, "down")?;
        if !ping(to, 2, 200, 56)?.times_ms.is_empty() {
            bail!("replies come through an interface that is down");
        }
        set(&vif, "up")?;
        // The bridge's port forwards after a delay, and the guest's neighbour entry may need a
        // look-up.
        reachable(to, Deadline::seconds(15))?;
        echo_once(&mut stream, b"after")
            .with_context(|| format!("the connection opened before, round {round}"))?;
    }
    // Down and up with data under way: the connection recovers by retransmission.
    let server = guest.port(7);
    let flow = std::thread::spawn(move || {
        let deadline = Deadline::seconds(50);
        labkit::net::stream::echo(connect(server, deadline)?, 8 * 1024 * 1024, 3, deadline)
    });
    for _ in 0..3 {
        sleep(Duration::from_millis(150));
        set(&vif, "down")?;
        sleep(Duration::from_millis(100));
        set(&vif, "up")?;
    }
    match flow.join() {
        Ok(result) => result.context("8 MiB across the interruptions")?,
        Err(_) => bail!("the client panicked"),
    }
    domain.running()?;
    Ok("3 times idle, 3 times under load".into())
}

fn set(vif: &str, state: &str) -> Result<()> {
    let arguments = ["link", "set", "dev", vif, state];
    run_ok("ip", &arguments, Duration::from_secs(10)).map(drop)
}
