//! A Linux domU makes the journey, for comparison.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use agent::protocol::IMAGE_FOLDER;
use anyhow::{Context, Result, bail};

use super::MIGRATION_LIMIT;
use crate::cases::Case;
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::config::{Config, OnEnd};
use crate::lab::{DOM0, Lab, address};
use crate::net::ping::reachable;
use crate::net::stream::{connect, echo_once};

/// The case's name.
pub(super) const NAME: &str = "hosts_linux";

pub(super) const CASES: &[Case] = &[Case::new(NAME, 900, out_and_back)];

/// The last byte of its addresses.
const NUMBER: u8 = 9;

/// Below 128 MiB Debian's kernel cannot be loaded.
const MEMORY_MIB: u64 = 128;

fn out_and_back(lab: &Lab) -> Result<String> {
    let (params, remote) = super::both(lab)?;
    let folder = format!("{IMAGE_FOLDER}/linux");
    if !Path::new(&folder).exists() {
        bail!("no Linux domU here");
    }
    let ip = address(NUMBER);
    let name = format!("{}-linux", lab.part);
    let domain = Domain::create(&Config {
        name: name.clone(),
        kernel: format!("{folder}/vmlinuz"),
        ramdisk: Some(format!("{folder}/initrd")),
        memory_mib: MEMORY_MIB,
        cmdline: format!("console=hvc0 quiet ip={ip}/24 gw={DOM0}"),
        mac: Some(NUMBER),
        on_poweroff: OnEnd::Destroy,
        on_reboot: OnEnd::Destroy,
        on_crash: OnEnd::Destroy,
    })?;
    domain
        .console()
        .wait_for("linux domU ready", Deadline::seconds(240))?;
    let mut stream = connect(SocketAddr::from((ip, 7)), Deadline::seconds(800))?;
    for trip in 0..params.round_trips {
        let there = remote.migrate_there(&name, MIGRATION_LIMIT, None)?;
        there.check()?;
        lab.report.log(format!("trip {trip}: there {there:?}"));
        reachable(IpAddr::V4(ip), Deadline::seconds(60))?;
        echo_once(&mut stream, b"on the second host")
            .with_context(|| remote.console(&name).unwrap_or_default())?;
        if remote.entry(&name)?.is_none() || domain.entry()?.is_some() {
            bail!("the domain is not where it should be");
        }
        let back = remote.migrate_back(&name, MIGRATION_LIMIT)?;
        back.check()?;
        lab.report.log(format!("trip {trip}: back {back:?}"));
        reachable(IpAddr::V4(ip), Deadline::seconds(60))?;
        echo_once(&mut stream, b"on the first host")?;
        domain.running()?;
    }
    Ok(format!("{} round trips", params.round_trips))
}
