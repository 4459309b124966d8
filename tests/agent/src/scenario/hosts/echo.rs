//! An echo guest, and for comparison a Linux domU, go out and come back while every byte of a
//! connection is compared.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use agent::protocol::IMAGE_FOLDER;
use anyhow::{Result, bail};

use super::Params;
use super::journey::{Journey, Way};
use crate::cases::Case;
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::config::{Config, OnEnd};
use crate::lab::{DOM0, Lab, address};
use crate::traffic::echo::{EchoClient, Pace};

/// The case that runs only when it is asked for.
pub(super) const LINUX: &str = "hosts_linux";

pub(super) const CASES: &[Case] = &[
    Case::new("hosts_echo", 900, echo),
    Case::new(LINUX, 900, linux),
];

/// The echo guest's number.
const ECHO: u8 = 2;

/// The Linux domU's. Below 128 MiB Debian's kernel cannot be loaded.
const LINUX_DOMU: (u8, u64) = (9, 128);

/// How long bytes under way at the end have to come back.
const DRAIN: Duration = Duration::from_secs(30);

fn echo(lab: &Lab) -> Result<String> {
    let params: Params = lab.params()?;
    let guest = lab.echo(ECHO, params.memory_mib, "");
    travel(lab, &guest.start_ready()?, ECHO, "")
}

fn linux(lab: &Lab) -> Result<String> {
    let folder = format!("{IMAGE_FOLDER}/linux");
    if !Path::new(&folder).exists() {
        bail!("no Linux domU here: --param linux=true brings it");
    }
    let (number, memory_mib) = LINUX_DOMU;
    let domain = Domain::create(&Config {
        name: format!("{}-{number}", lab.part),
        kernel: format!("{folder}/vmlinuz"),
        ramdisk: Some(format!("{folder}/initrd")),
        memory_mib,
        cmdline: format!("console=hvc0 quiet ip={}/24 gw={DOM0}", address(number)),
        mac: Some(number),
        on_poweroff: OnEnd::Destroy,
        on_reboot: OnEnd::Destroy,
        on_crash: OnEnd::Destroy,
    })?;
    domain
        .console()
        .wait_for("linux domU ready", Deadline::seconds(240))?;
    travel(lab, &domain, number, "linux_")
}

fn travel(lab: &Lab, domain: &Domain, number: u8, prefix: &str) -> Result<String> {
    let (params, remote) = super::both(lab)?;
    let server = SocketAddr::from((address(number), 7));
    let client = EchoClient::start(server, lab.seed()?, Pace::Modest)?;
    client.flows(Deadline::seconds(20))?;
    let mut journey = Journey::new(lab, &remote, domain, number);
    let travelled = (0..params.round_trips).try_for_each(|_| {
        journey.step(Way::There, &client)?;
        journey.step(Way::Back, &client)
    });
    let traffic = client.stop(DRAIN)?;
    // The figures of a journey that failed tell how far it came.
    lab.report.result(journey.result(prefix, &traffic));
    travelled?;
    traffic.check()?;
    Ok(journey.summary(&traffic))
}
