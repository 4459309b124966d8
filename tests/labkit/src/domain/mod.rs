//! Domains of the lab: made with `xl create` (or by libvirt, [`crate::libvirt`]), destroyed when
//! dropped.
//!
//! [`config`] writes the domain's file, [`list`] parses `xl list`, [`console`] reads the guest's
//! console, [`lifecycle`] and [`handover`] parse what the guest prints there about suspends and
//! hand-overs; [`Domain`] ties them together.

pub mod config;
pub mod console;
pub mod handover;
pub mod lifecycle;
pub mod list;

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::kind::Kind;
use crate::process::{Output, run, run_ok, scratch_file, tail};
use config::Config;
use console::Console;
use list::Entry;

/// The limit of a toolstack command. It takes seconds, and more under emulation with a busy guest.
const XL_LIMIT: Duration = Duration::from_secs(60);

/// The limit of `xl shutdown` and `xl reboot`, which would wait up to a minute for the guest to
/// acknowledge (libxl_domain.c:libxl__domain_pvcontrol). A guest that takes longer than this has
/// failed.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// The interval between two calls of `xl list` while waiting. Each call is a process of its own.
const LIST_PAUSE: Duration = Duration::from_millis(150);

/// A running or ended domU.
#[derive(Debug)]
pub struct Domain {
    /// The domain's name.
    pub name: String,
    /// When `xl create` ended.
    pub created: Instant,
    /// How long `xl create` took.
    pub create_took: Duration,
    console: Console,
}

impl Domain {
    /// Builds and starts the domain.
    pub fn create(config: &Config) -> Result<Self> {
        Self::create_with(config, &[])
    }

    /// Builds the domain without starting it, which is left to [`Self::unpause`].
    pub fn create_paused(config: &Config) -> Result<Self> {
        Self::create_with(config, &["-p"])
    }

    fn create_with(config: &Config, options: &[&str]) -> Result<Self> {
        let file = scratch_file(&format!("{}.cfg", config.name));
        fs::write(&file, config.text()?).with_context(|| file.display().to_string())?;
        let console = Console::of(&config.name);
        console.clear();
        let path = file.display().to_string();
        let mut arguments = vec!["create"];
        arguments.extend_from_slice(options);
        arguments.push(&path);
        let output = run("xl", &arguments, XL_LIMIT);
        let _ = fs::remove_file(&file);
        let output = output?;
        // The guard comes first: a half-built domain is then removed on the way out.
        let domain = Self {
            name: config.name.clone(),
            created: output.ended,
            create_took: output.took,
            console,
        };
        if !output.status.success() {
            bail!("xl create {}: {}", config.name, tail(&output.text, 10));
        }
        Ok(domain)
    }

    /// The domain called `name` that another toolstack makes, from now on. Its end is that
    /// toolstack's task; a domain that is left over when this is dropped is destroyed.
    pub(crate) fn of_another_toolstack(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            created: Instant::now(),
            create_took: Duration::ZERO,
            console: Console::of(name),
        }
    }

    /// The guest's console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Returns its row of `xl list`, or `None` if it is gone.
    pub fn entry(&self) -> Result<Option<Entry>> {
        Ok(all()?.into_iter().find(|entry| entry.name == self.name))
    }

    /// Returns its row; fails if the domain is gone or has ended.
    pub fn running(&self) -> Result<Entry> {
        let entry = self.entry()?;
        let entry = entry.with_context(|| format!("the domain {} is gone", self.name))?;
        if entry.ended() {
            bail!("the domain {} has ended: {}", self.name, entry.flags);
        }
        Ok(entry)
    }

    /// Returns the name of its network interface in dom0.
    pub fn vif(&self) -> Result<String> {
        Ok(format!("vif{}.0", self.running()?.id))
    }

    /// Starts a domain that was created paused.
    pub fn unpause(&self) -> Result<Output> {
        self.xl("unpause")
    }

    /// Asks the guest to power off.
    pub fn shutdown(&self) -> Result<()> {
        self.xl("shutdown").map(drop)
    }

    /// Asks the guest to reboot.
    pub fn reboot(&self) -> Result<()> {
        self.xl("reboot").map(drop)
    }

    /// Writes `request` to the guest's `control/shutdown`, for requests that xl has no command for.
    pub fn request(&self, request: &str) -> Result<()> {
        let path = format!("/local/domain/{}/control/shutdown", self.running()?.id);
        run_ok("xenstore-write", &[&path, request], XL_LIMIT).map(drop)
    }

    /// Types a line on the guest's console, as a user of `xl console` would.
    pub fn type_line(&self, line: &str) -> Result<()> {
        let node = format!("/local/domain/{}/console/tty", self.running()?.id);
        let terminal = run_ok("xenstore-read", &[&node], XL_LIMIT)?;
        let terminal = terminal.trim();
        fs::OpenOptions::new()
            .write(true)
            .open(terminal)
            .and_then(|mut file| file.write_all(format!("{line}\r").as_bytes()))
            .with_context(|| format!("cannot type on {terminal}"))
    }

    /// Waits until the domain no longer exists.
    pub fn wait_gone(&self, deadline: Deadline) -> Result<()> {
        let what = format!("{} to be gone", self.name);
        deadline.poll(LIST_PAUSE, &what, || {
            Ok(self.entry()?.is_none().then_some(()))
        })
    }

    /// Waits until the domain has ended and is kept; returns its row.
    pub fn wait_ended(&self, deadline: Deadline) -> Result<Entry> {
        let what = format!("{} to end", self.name);
        deadline.poll(LIST_PAUSE, &what, || {
            let entry = self.entry()?;
            let entry = entry.with_context(|| format!("the domain {} is gone", self.name))?;
            Ok(entry.ended().then_some(entry))
        })
    }

    fn xl(&self, command: &str) -> Result<Output> {
        let output = run("xl", &[command, &self.name], REQUEST_LIMIT)?;
        if !output.status.success() {
            bail!("xl {command} {}: {}", self.name, tail(&output.text, 5));
        }
        Ok(output)
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // xl fails if the domain is gone already, which is fine.
        let _ = run("xl", &["destroy", &self.name], XL_LIMIT);
    }
}

/// Lists all domains, dom0 included.
pub fn all() -> Result<Vec<Entry>> {
    list::parse(&run_ok("xl", &["list"], XL_LIMIT)?)
}

/// Destroys the domain with this name or domid.
pub fn destroy(which: &str) -> Result<()> {
    run_ok("xl", &["destroy", which], XL_LIMIT).map(drop)
}

/// Destroys every domain but dom0; returns their names.
pub fn destroy_all() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in all()?.into_iter().filter(|entry| entry.id != 0) {
        // By domid, because a domain that is half gone has no name.
        let _ = run("xl", &["destroy", &entry.id.to_string()], XL_LIMIT);
        names.push(entry.name);
    }
    Ok(names)
}

/// Returns Xen's version, as `xl info` gives it.
pub fn xen_version() -> Result<String> {
    info("xen_version")
}

/// Returns how much memory Xen has for further domains, in MiB.
pub fn free_memory_mib() -> Result<u64> {
    let free = info("free_memory")?;
    free.parse()
        .with_context(|| format!("free_memory is {free:?}"))
}

/// Whether this Xen can migrate guests of this kind live. It tracks the dirty pages of PV guests
/// with shadow page tables, which a build may lack (xen/arch/x86/sysctl.c:arch_do_physinfo tells the
/// toolstack).
pub fn can_migrate_live(kind: Kind) -> Result<bool> {
    Ok(kind == Kind::Pvh || info("virt_caps")?.split(' ').any(|word| word == "shadow"))
}

/// Returns one value of `xl info`.
fn info(name: &str) -> Result<String> {
    let info = run_ok("xl", &["info"], XL_LIMIT)?;
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .with_context(|| format!("xl info does not name its {name}"))
}
