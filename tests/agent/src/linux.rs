//! The lab's Linux domU: Debian's kernel, an echo service on port 7 and iperf3.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use agent::protocol::IMAGE_FOLDER;
use anyhow::Result;

use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::config::{Config, OnEnd};
use crate::lab::{DOM0, Lab, address};

/// Below 128 MiB Debian's kernel cannot be loaded.
pub(crate) const MEMORY_MIB: u64 = 128;

/// A running Linux domU.
#[derive(Debug)]
pub(crate) struct Linux {
    /// The domain.
    pub(crate) domain: Domain,
    /// Its address.
    pub(crate) ip: Ipv4Addr,
    /// From the end of `xl create` until it served, in milliseconds.
    pub(crate) ready_ms: f64,
}

impl Linux {
    /// Boots it at 10.0.0.`number`; `None` where the host has not put it into dom0.
    pub(crate) fn boot(lab: &Lab, number: u8) -> Result<Option<Self>> {
        let folder = format!("{IMAGE_FOLDER}/linux");
        if !Path::new(&folder).exists() {
            return Ok(None);
        }
        let ip = address(number);
        let domain = Domain::create(&Config {
            name: format!("{}-linux", lab.part),
            kernel: format!("{folder}/vmlinuz"),
            ramdisk: Some(format!("{folder}/initrd")),
            memory_mib: MEMORY_MIB,
            cmdline: format!("console=hvc0 quiet ip={ip}/24 gw={DOM0}"),
            mac: Some(number),
            on_poweroff: OnEnd::Destroy,
            on_reboot: OnEnd::Destroy,
            on_crash: OnEnd::Destroy,
        })?;
        domain
            .console()
            .wait_for("linux domU ready", Deadline::seconds(180))?;
        let ready_ms = domain.created.elapsed().as_secs_f64() * 1000.0;
        Ok(Some(Self {
            domain,
            ip,
            ready_ms,
        }))
    }

    /// A port of it.
    pub(crate) fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip), port)
    }
}
