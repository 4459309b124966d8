//! What a scenario or a case works with: the report, the job, and guests by image name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use agent::protocol::{IMAGE_FOLDER, Job};
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::config::{Config, OnEnd};
use crate::report::Report;

/// dom0's address on xenbr0.
pub(crate) const DOM0: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// dom0's bridge.
pub(crate) const BRIDGE: &str = "xenbr0";

/// The surroundings of one scenario or case.
#[derive(Clone)]
pub(crate) struct Lab {
    /// Where to report.
    pub(crate) report: Report,
    /// What the host asked for.
    pub(crate) job: Job,
    /// The name of this scenario or case; its guests' names begin with it.
    pub(crate) part: String,
}

/// One of Causeway's guests, to be started.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    image: Image,
    number: u8,
    config: Config,
}

/// Which image a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// TCP echo on 7, discard on 9, chargen on 19, UDP echo on 7.
    Echo,
    /// The mail relay, SMTP on 25.
    Relay,
    /// The echo guest's services, and measurements on order (`traffic::bench`).
    Bench,
    /// Sends mails to a relay, and powers off.
    Mclient,
    /// Tests the kernel from inside, and powers off.
    Selftest,
    /// Attacks another guest by the channel's protocol.
    Hostile,
}

impl Image {
    /// The file's name in the image folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Relay => "relay",
            Self::Bench => "bench",
            Self::Mclient => "mclient",
            Self::Selftest => "selftest",
            Self::Hostile => "hostile",
        }
    }

    /// What the guest prints when it serves.
    pub(crate) fn ready(self) -> &'static str {
        match self {
            Self::Echo => "echo: ready",
            Self::Relay => "relay: listening on 25",
            Self::Bench => "bench: ready",
            Self::Mclient => "mclient: done",
            Self::Selftest => "selftest: done",
            Self::Hostile => "hostile: done",
        }
    }
}

impl Lab {
    /// The job's parameters in a scenario's own type, which refuses unknown names.
    pub(crate) fn params<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(Value::Object(self.job.params.clone()))
            .with_context(|| format!("parameters of {}", self.job.scenario))
    }

    /// The seed of everything random in a case: the job's `seed`, or a fixed one.
    pub(crate) fn seed(&self) -> Result<u64> {
        match self.job.params.get("seed") {
            None => Ok(1),
            Some(seed) => seed.as_u64().context("seed is not a number"),
        }
    }

    /// An echo guest at 10.0.0.`number` with `options` after its addresses.
    pub(crate) fn echo(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        self.guest(Image::Echo, number, memory_mib, options)
    }

    /// A relay at 10.0.0.`number` that hands mail to port 2525 of dom0.
    pub(crate) fn relay(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        let options = format!("next-hop={DOM0}:2525 {options}");
        self.guest(Image::Relay, number, memory_mib, &options)
    }

    /// A bench guest at 10.0.0.`number` with `options` after its addresses.
    pub(crate) fn bench(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        self.guest(Image::Bench, number, memory_mib, options)
    }

    /// A mail client at 10.0.0.`number`; `options` say where its mails go.
    pub(crate) fn mclient(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        self.guest(Image::Mclient, number, memory_mib, options)
    }

    /// A hostile guest at 10.0.0.`number`; `options` say what it does, to whom. It is removed when
    /// it has ended, by whatever means.
    pub(crate) fn hostile(&self, number: u8, options: &str) -> Guest {
        let mut guest = self.guest(Image::Hostile, number, 16, options);
        guest.config.on_crash = OnEnd::Destroy;
        guest
    }

    fn guest(&self, image: Image, number: u8, memory_mib: u64, options: &str) -> Guest {
        let cmdline = format!("ip={}/24 gw={DOM0} {options}", address(number));
        self.guest_with(image, number, memory_mib, cmdline.trim_end())
    }

    /// A guest with a command line of its own, good or bad.
    pub(crate) fn guest_with(
        &self,
        image: Image,
        number: u8,
        memory_mib: u64,
        cmdline: &str,
    ) -> Guest {
        Guest {
            image,
            number,
            config: Config {
                name: format!("{}-{number}", self.part),
                kernel: format!("{IMAGE_FOLDER}/{}", image.name()),
                ramdisk: None,
                memory_mib,
                cmdline: cmdline.to_owned(),
                mac: Some(number),
                on_poweroff: OnEnd::Destroy,
                on_reboot: OnEnd::Restart,
                on_crash: OnEnd::Preserve,
            },
        }
    }
}

impl Guest {
    /// The guest's IPv4 address.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        address(self.number)
    }

    /// The guest's IPv6 address, when its options ask for one with this number.
    pub(crate) fn ip6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0xca, 0, 0, 0, 0, 0, u16::from(self.number))
    }

    /// A port of the guest.
    pub(crate) fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip()), port)
    }

    /// The last byte of its addresses.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The same guest without a network interface.
    pub(crate) fn offline(mut self) -> Self {
        self.config.mac = None;
        self
    }

    /// Whether the host has put the guest's image into dom0.
    pub(crate) fn has_image(&self) -> bool {
        Path::new(&self.config.kernel).exists()
    }

    /// Starts the guest without waiting for it.
    pub(crate) fn start(&self) -> Result<Domain> {
        if !self.has_image() {
            bail!("the image {} is not there", self.config.kernel);
        }
        Domain::create(&self.config)
    }

    /// Starts the guest and waits until it says that it serves.
    pub(crate) fn start_ready(&self) -> Result<Domain> {
        let domain = self.start()?;
        let ready = self.image.ready();
        let what = format!("{ready:?} on the console of {}", self.config.name);
        let end = Deadline::seconds(20).poll(Duration::from_millis(20), &what, || {
            let text = domain.console().text();
            // A guest that has given up is not waited for.
            let sign = [ready, "panic at ", "error: "];
            Ok(sign.into_iter().find(|sign| text.contains(sign)))
        });
        match end {
            Ok(sign) if sign == ready => Ok(domain),
            Ok(_) => bail!("the guest gave up:\n{}", domain.console().tail()),
            Err(error) => bail!("{error}:\n{}", domain.console().tail()),
        }
    }
}

/// The IPv4 address with the last byte `number` on xenbr0.
pub(crate) fn address(number: u8) -> Ipv4Addr {
    let [a, b, c, _] = DOM0.octets();
    Ipv4Addr::new(a, b, c, number)
}
