//! An interactive dom0 on the terminal, or a script in it.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::base::Base;
use crate::log::say;
use crate::overlay::Overlay;
use crate::packages::Store;
use crate::process::{Owned, TICK};
use crate::qemu::{Console, Machine};
use crate::{interrupt, paths};

/// The memory of a shell's machine and dom0's share of it, in MiB.
const MEMORY_MIB: (u32, u32) = (3072, 1024);

/// What a shell needs.
pub(crate) struct Shell {
    /// Guest images as (name, file).
    pub(crate) images: Vec<(String, PathBuf)>,
    /// A script to run instead of the shell.
    pub(crate) command: Option<String>,
    /// The archive of libvirt, if dom0 is to have it.
    pub(crate) libvirt: Option<PathBuf>,
    /// The limit for a script. A shell has no limit.
    pub(crate) limit: Duration,
    /// Whether to count each instruction as a nanosecond.
    pub(crate) virtual_time: bool,
    /// The program that serves the xenstore.
    pub(crate) store: Store,
}

/// Boots dom0 with its console on the terminal and waits for its end.
///
/// # Errors
/// Returns an error if QEMU cannot be started, if it fails, or if a script is not done in time.
pub(crate) fn open(base: &Base, shell: Shell) -> Result<()> {
    let scratch = paths::scratch(&paths::cache())?;
    let root = scratch.path().join("dom0.cpio");
    let is_script = shell.command.is_some();
    let stdin = if is_script || !std::io::stdin().is_terminal() {
        Stdio::null()
    } else {
        say!("Ctrl-A X ends the machine at once; exit powers dom0 off");
        Stdio::inherit()
    };
    Overlay {
        command: shell.command,
        images: shell.images,
        linux_domu: true,
        libvirt: shell.libvirt,
        ..Overlay::default()
    }
    .write(base, &root)?;
    let _terminal = Terminal::save();
    let qemu = Machine {
        base,
        root: &root,
        memory_mib: MEMORY_MIB.0,
        dom0_mib: MEMORY_MIB.1,
        virtual_time: shell.virtual_time,
        store: shell.store,
        console: Console::Terminal,
        report: None,
        link: None,
    }
    .command()
    .stdin(stdin)
    .spawn()
    .context("cannot start QEMU")?;
    let mut qemu = Owned(qemu);
    let begin = Instant::now();
    loop {
        interrupt::check()?;
        match qemu.0.try_wait().context("cannot wait for QEMU")? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("QEMU ended with {status}"),
            None => {}
        }
        if is_script && begin.elapsed() > shell.limit {
            bail!("the script was not done after {} s", shell.limit.as_secs());
        }
        thread::sleep(TICK);
    }
}

/// The terminal's settings, which QEMU changes, and restores only if it ends by itself.
struct Terminal {
    settings: Option<String>,
}

impl Terminal {
    fn save() -> Terminal {
        let settings = Command::new("stty")
            .arg("-g")
            .stdin(Stdio::inherit())
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Terminal { settings }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.settings {
            // This fails only for a terminal that has gone away.
            let _ = Command::new("stty").arg(settings).status();
        }
    }
}
