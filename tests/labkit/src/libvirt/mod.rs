//! Domains by libvirt's Xen driver, in scenarios whose dom0 has it
//! ([`Scenario::libvirt`](crate::Scenario::libvirt)): the daemon of a host ([`Daemon`]), and a domain
//! that it manages ([`Managed`]).
//!
//! Everything goes through `virsh`, as a user would do it. On two hosts the first one uses the
//! daemon of the second over TCP.

mod managed;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::addresses::{DOM0, SECOND_DOM0};
use crate::process::{Output, run, tail};

pub use managed::Managed;

/// The limit of a command that no guest has a part in. Under emulation virsh alone takes a second.
const SHORT: Duration = Duration::from_secs(60);

/// The daemon of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Where virsh on the first host connects to.
    uri: String,
    /// Where another host's daemon sends a domain to.
    migrate_uri: String,
}

impl Daemon {
    /// The daemon of this host, which must be the first of two, or the only one.
    #[must_use]
    pub fn here() -> Self {
        Self {
            uri: "xen:///system".to_owned(),
            migrate_uri: format!("tcp://{DOM0}"),
        }
    }

    /// The daemon of the second host.
    #[must_use]
    pub fn second() -> Self {
        Self {
            uri: format!("xen+tcp://{SECOND_DOM0}/system"),
            migrate_uri: format!("tcp://{SECOND_DOM0}"),
        }
    }

    /// Runs `virsh` with these arguments to its end.
    ///
    /// # Errors
    /// It cannot be started, or is not done within `limit`. A command that fails is not an error.
    pub fn virsh(&self, arguments: &[&str], limit: Duration) -> Result<Output> {
        let all = [&["--quiet", "--connect", &self.uri], arguments].concat();
        run("virsh", &all, limit)
    }

    /// Runs `virsh` to a successful end and returns what it printed.
    ///
    /// # Errors
    /// It fails, with libvirt's message, or is not done within `limit`.
    pub fn succeed(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        let output = self.virsh(arguments, limit)?;
        if !output.status.success() {
            let said = tail(&output.text, 10);
            let (arguments, status) = (arguments.join(" "), output.status);
            bail!("virsh {arguments} ({status}): {said}");
        }
        Ok(output.text.trim().to_owned())
    }

    /// Returns the daemon's version, such as `9.0.0`.
    ///
    /// # Errors
    /// It does not answer, or does not tell.
    pub fn version(&self) -> Result<String> {
        let text = self.succeed(&["version", "--daemon"], SHORT)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Running against daemon: "));
        let version = line.with_context(|| format!("virsh version told no daemon's: {text}"))?;
        Ok(version.trim().to_owned())
    }

    /// Returns the state of a domain (`running`, `paused`, `shut off` …), or `None` if the daemon
    /// has no domain of that name.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn state(&self, name: &str) -> Result<Option<String>> {
        let known = self.succeed(&["list", "--all", "--name"], SHORT)?;
        if !known.lines().any(|line| line.trim() == name) {
            return Ok(None);
        }
        self.succeed(&["domstate", name], SHORT).map(Some)
    }

    /// Returns the domid of a domain.
    ///
    /// # Errors
    /// There is no such domain, or it does not run.
    pub fn domid(&self, name: &str) -> Result<u32> {
        let text = self.succeed(&["domid", name], SHORT)?;
        text.parse()
            .with_context(|| format!("the domid of {name} is {text:?}"))
    }
}
