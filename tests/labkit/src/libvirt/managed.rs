//! A domain that libvirt manages.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Daemon, SHORT};
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::console::Console;
use crate::migration::SaveFile;
use crate::process::{Output, scratch_file};

/// The limit of a command in which the guest has a part: start, save, restore.
const GUEST: Duration = Duration::from_secs(120);

/// The interval between two looks at a domain's state.
const PAUSE: Duration = Duration::from_millis(500);

/// A domain that this host's daemon knows by its definition. When dropped, it is destroyed and
/// forgotten on this host.
#[derive(Debug)]
pub struct Managed {
    domain: Domain,
    daemon: Daemon,
}

impl Managed {
    /// Has this host's daemon take up the definition `xml` of a domain called `name`.
    ///
    /// # Errors
    /// The daemon refuses it, with its message.
    pub fn define(name: &str, xml: &str) -> Result<Self> {
        let file = scratch_file(&format!("{name}.xml"));
        std::fs::write(&file, xml).with_context(|| file.display().to_string())?;
        Console::of(name).clear();
        let daemon = Daemon::here();
        let path = file.display().to_string();
        let defined = daemon.succeed(&["define", "--validate", &path], SHORT);
        // It is in the scratch folder, and only this run's.
        let _ = std::fs::remove_file(&file);
        defined?;
        Ok(Self {
            domain: Domain::of_another_toolstack(name),
            daemon,
        })
    }

    /// The domain, for its console and xl's view of it.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Returns its state as this host's daemon gives it.
    ///
    /// # Errors
    /// The daemon does not answer, or does not know the domain.
    pub fn state(&self) -> Result<String> {
        let name = &self.domain.name;
        let state = self.daemon.state(name)?;
        state.with_context(|| format!("libvirt does not know {name}"))
    }

    /// Fails unless the daemon says that the domain is in this state.
    ///
    /// # Errors
    /// It is in another one.
    pub fn expect_state(&self, expected: &str) -> Result<()> {
        let state = self.state()?;
        if state != expected {
            bail!("libvirt says {state:?}, not {expected:?}");
        }
        Ok(())
    }

    /// Waits until the daemon says that the domain is in this state.
    ///
    /// # Errors
    /// The deadline passes.
    pub fn wait_state(&self, expected: &str, deadline: Deadline) -> Result<()> {
        let what = format!("{} to be {expected}", self.domain.name);
        deadline.poll(PAUSE, &what, || {
            Ok((self.state()? == expected).then_some(()))
        })
    }

    /// `virsh start`.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn start(&self) -> Result<()> {
        self.command("start", GUEST)
    }

    /// `virsh suspend`: the domain is paused.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn suspend(&self) -> Result<()> {
        self.command("suspend", SHORT)
    }

    /// `virsh resume`.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn resume(&self) -> Result<()> {
        self.command("resume", SHORT)
    }

    /// `virsh shutdown`: asks the guest to power off.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn shutdown(&self) -> Result<()> {
        self.command("shutdown", SHORT)
    }

    /// `virsh destroy`.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn destroy(&self) -> Result<()> {
        self.command("destroy", SHORT)
    }

    /// `virsh setmem --live`, in MiB.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn set_memory(&self, mib: u64) -> Result<()> {
        let size = format!("{mib}MiB");
        let arguments = ["setmem", &self.domain.name, &size, "--live"];
        self.daemon.succeed(&arguments, SHORT).map(drop)
    }

    /// `virsh save`.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn save(&self, file: &SaveFile) -> Result<()> {
        let path = file.path().to_string_lossy();
        let arguments = ["save", &self.domain.name, &path];
        self.daemon.succeed(&arguments, GUEST).map(drop)
    }

    /// `virsh restore` of a file that this domain was saved to.
    ///
    /// # Errors
    /// libvirt's message.
    pub fn restore(&self, file: &SaveFile) -> Result<()> {
        let path = file.path().to_string_lossy();
        self.daemon.succeed(&["restore", &path], GUEST).map(drop)
    }

    /// `virsh migrate --live` from the daemon `from` to the daemon `to`, at most `limit` long. A
    /// migration that fails is part of the output.
    ///
    /// # Errors
    /// virsh cannot be started, or is not done in time.
    pub fn migrate(&self, from: &Daemon, to: &Daemon, limit: Duration) -> Result<Output> {
        // virsh itself connects to both daemons; only the domain goes from one to the other.
        let arguments = [
            "migrate",
            "--live",
            "--domain",
            &self.domain.name,
            "--desturi",
            &to.uri,
            "--migrateuri",
            &to.migrate_uri,
        ];
        from.virsh(&arguments, limit)
    }

    fn command(&self, command: &str, limit: Duration) -> Result<()> {
        let arguments = [command, &self.domain.name];
        self.daemon.succeed(&arguments, limit).map(drop)
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        // Perhaps it does not run; the domain's own drop sees to what libvirt cannot end.
        let _ = self.destroy();
        let _ = self.command("undefine", SHORT);
    }
}
