//! Causeway's own guests, by image name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::addresses::{self, BRIDGE};
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::config::{Config, OnEnd};
use crate::kind::Kind;
use crate::lines::{self, Line};
use crate::protocol::IMAGE_FOLDER;

/// One of Causeway's guests, ready to be started.
#[derive(Clone, Debug)]
pub struct Guest {
    image: Image,
    number: u8,
    ip: Ipv4Addr,
    config: Config,
}

/// Which image a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// TCP echo on 7, discard on 9, chargen on 19, UDP echo on 7.
    Echo,
    /// The mail relay, SMTP on 25.
    Relay,
    /// The echo guest's services, and measurements on order ([`crate::traffic::bench`]).
    Bench,
    /// Sends mails to a relay, and powers off.
    Mclient,
    /// Tests the kernel from inside, and powers off.
    Selftest,
    /// Attacks another guest by the channel's protocol.
    Hostile,
}

impl Image {
    /// Returns the name of its package, and of its file in the image folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Relay => "relay",
            Self::Bench => "bench",
            Self::Mclient => "mclient",
            Self::Selftest => "selftest",
            Self::Hostile => "hostile",
        }
    }

    /// Returns the line that the guest prints when it serves, or when it is done.
    #[must_use]
    pub fn ready(self) -> Line {
        match self {
            Self::Echo => lines::ECHO_READY,
            Self::Relay => lines::RELAY_READY,
            Self::Bench => lines::BENCH_READY,
            Self::Mclient => lines::MCLIENT_DONE,
            Self::Selftest => lines::SELFTEST_DONE,
            Self::Hostile => lines::HOSTILE_DONE,
        }
    }
}

impl Guest {
    /// The guest `PART-NUMBER`, which runs `image` and has the addresses of that number.
    pub(crate) fn new(
        image: Image,
        kind: Kind,
        part: &str,
        number: u8,
        memory_mib: u64,
        cmdline: &str,
    ) -> Self {
        Self {
            image,
            number,
            ip: addresses::ipv4(number),
            config: Config {
                kind,
                name: format!("{part}-{number}"),
                kernel: format!("{IMAGE_FOLDER}/{}", image.name()),
                ramdisk: None,
                memory_mib,
                cmdline: cmdline.to_owned(),
                bridge: BRIDGE,
                mac: Some(number),
                on_poweroff: OnEnd::Destroy,
                on_reboot: OnEnd::Restart,
                on_crash: OnEnd::Preserve,
            },
        }
    }

    /// The same guest, removed by the toolstack even after a crash.
    pub(crate) fn unmourned(mut self) -> Self {
        self.config.on_crash = OnEnd::Destroy;
        self
    }

    /// The same guest in another bridge, with another address; its command line must give it that
    /// address.
    #[must_use]
    pub fn moved_to(mut self, bridge: &'static str, ip: Ipv4Addr) -> Self {
        self.config.bridge = bridge;
        self.ip = ip;
        self
    }

    /// Returns the guest's IPv4 address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Returns the guest's IPv6 address, if its options give it the one of its number.
    #[must_use]
    pub fn ip6(&self) -> Ipv6Addr {
        addresses::ipv6(self.number)
    }

    /// Returns the address of one of the guest's ports.
    #[must_use]
    pub fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip()), port)
    }

    /// Returns the last byte of its addresses.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same guest built as a domain of this kind.
    #[must_use]
    pub fn built_as(mut self, kind: Kind) -> Self {
        self.config.kind = kind;
        self
    }

    /// The same guest without a network interface.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.config.mac = None;
        self
    }

    /// Whether the guest's image is in dom0.
    #[must_use]
    pub fn has_image(&self) -> bool {
        Path::new(&self.config.kernel).exists()
    }

    /// Starts the guest without waiting for it.
    pub fn start(&self) -> Result<Domain> {
        if !self.has_image() {
            bail!("the image {} is not there", self.config.kernel);
        }
        Domain::create(&self.config)
    }

    /// Starts the guest and waits until it prints that it serves.
    pub fn start_ready(&self) -> Result<Domain> {
        let domain = self.start()?;
        let ready = self.image.ready();
        let what = format!("{:?} on the console of {}", ready.text, self.config.name);
        let end = Deadline::seconds(20).poll(Duration::from_millis(20), &what, || {
            let text = domain.console().text();
            // A guest that has given up ends the wait.
            let sign = [ready, lines::PANIC, lines::FATAL];
            Ok(sign.into_iter().find(|sign| text.contains(sign.text)))
        });
        match end {
            Ok(sign) if sign == ready => Ok(domain),
            Ok(_) => bail!("the guest gave up:\n{}", domain.console().tail()),
            Err(error) => bail!("{error}:\n{}", domain.console().tail()),
        }
    }
}
