//! An echo guest, and for comparison a Linux domU, go to the second host while every byte of a
//! connection is compared: live and back again, or in a file.
//!
//! Between two releases of Xen there is no way back. Then a fresh guest goes out each time.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use labkit::addresses;
use labkit::hosts::RemoteHost;
use labkit::linux::Linux;
use labkit::survival::FreeMemory;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Case, Deadline, Domain, Lab};

use super::Parameters;
use super::journey::{Journey, Way};
use super::trips::Trips;

/// The case that runs only on request.
pub(super) const LINUX: &str = "hosts_linux";

pub(super) const CASES: &[Case] = &[
    Case::new("hosts_echo", 900, echo).live(),
    Case::new("hosts_saved", 900, saved),
    Case::new(LINUX, 900, linux).live(),
];

/// The echo guest's number.
const ECHO: u8 = 2;

/// The Linux domU's number.
const LINUX_DOMU: u8 = 9;

/// How long bytes under way may take to come back at the end.
const DRAIN: Duration = Duration::from_secs(30);

/// What a guest does.
#[derive(Clone, Copy)]
enum Course {
    /// It migrates out and back so often.
    RoundTrips(usize),
    /// It migrates out and stays.
    OneWay,
    /// It is saved here and restored on the second host.
    Saved,
}

fn echo(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    let guest = lab.echo(ECHO, params.memory_mib, "");
    migrate(lab, ECHO, "", &|| guest.start_ready())
}

fn linux(lab: &Lab) -> Result<String> {
    migrate(lab, LINUX_DOMU, "linux_", &|| {
        let linux = Linux::boot(lab, LINUX_DOMU)?;
        let linux = linux.context("no Linux domU here: the host did not bring it")?;
        Ok(linux.domain)
    })
}

fn saved(lab: &Lab) -> Result<String> {
    let (params, remote) = super::both(lab)?;
    let guest = lab.echo(ECHO, params.memory_mib, "");
    let courses = vec![Course::Saved; params.round_trips];
    travel(lab, &remote, ECHO, "saved_", &courses, &|| {
        guest.start_ready()
    })
}

fn migrate(
    lab: &Lab,
    number: u8,
    prefix: &str,
    boot: &dyn Fn() -> Result<Domain>,
) -> Result<String> {
    let (params, remote) = super::both(lab)?;
    let courses = if remote.returns()? {
        vec![Course::RoundTrips(params.round_trips)]
    } else {
        vec![Course::OneWay; params.round_trips]
    };
    travel(lab, &remote, number, prefix, &courses, boot)
}

/// Boots a guest for each of `courses`, one after the other.
fn travel(
    lab: &Lab,
    remote: &RemoteHost,
    number: u8,
    prefix: &str,
    courses: &[Course],
    boot: &dyn Fn() -> Result<Domain>,
) -> Result<String> {
    let mut trips = Trips::default();
    let travelled = courses.iter().try_for_each(|&course| {
        let free = FreeMemory::now()?;
        let domain = boot()?;
        let journey = Journey::new(lab, remote, &domain, number);
        follow(lab, &journey, course, number, free, &mut trips)?;
        drop(domain);
        // The next guest has the same name and addresses.
        remote.destroy_all()
    });
    // The figures of a journey that failed show how far it came.
    lab.report.result(trips.result(prefix));
    travelled?;
    Ok(trips.summary())
}

/// Takes one guest along `course` while a client holds a connection to it. `free` is this host's
/// memory without the guest.
fn follow(
    lab: &Lab,
    journey: &Journey<'_>,
    course: Course,
    number: u8,
    free: FreeMemory,
    trips: &mut Trips,
) -> Result<()> {
    let server = SocketAddr::from((addresses::ipv4(number), 7));
    let client = EchoClient::start(server, lab.seed()?, Pace::Modest)?;
    client.flows(Deadline::seconds(20))?;
    let there = |trips: &mut Trips| {
        match course {
            Course::Saved => journey.save_and_restore(&client, trips)?,
            Course::OneWay | Course::RoundTrips(_) => journey.step(Way::There, &client, trips)?,
        }
        let mib = free.again(&[])?;
        lab.report.log(format!(
            "host a: no domain is left, {mib} MiB free as before"
        ));
        Ok(())
    };
    let travelled = match course {
        Course::OneWay | Course::Saved => there(trips),
        Course::RoundTrips(count) => (0..count).try_for_each(|_| {
            there(trips)?;
            journey.step(Way::Back, &client, trips)
        }),
    };
    let traffic = client.stop(DRAIN)?;
    trips.compared.add(&traffic);
    travelled?;
    traffic.check()
}
