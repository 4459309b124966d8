//! Programs that the host must have: named with the one command that installs them, installed
//! where the user may.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::apt::sources;
use crate::log::say;
use crate::{process, qemu};

const INSTALL_LIMIT: Duration = Duration::from_secs(900);

/// A program (or a file, by its whole path) and the Debian package that brings it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const RUN: &[Tool] = &[
    Tool {
        program: qemu::PROGRAM,
        package: "qemu-system-x86",
    },
    Tool {
        program: "objcopy",
        package: "binutils",
    },
    Tool {
        program: "setpriv",
        package: "util-linux",
    },
];

const BUILD: &[Tool] = &[
    Tool {
        program: "apt-get",
        package: "apt",
    },
    Tool {
        program: "dpkg",
        package: "dpkg",
    },
    Tool {
        program: "tar",
        package: "tar",
    },
    Tool {
        program: "depmod",
        package: "kmod",
    },
    Tool {
        program: sources::KEYRING,
        package: "debian-archive-keyring",
    },
];

/// Makes sure that what runs the machine is there.
///
/// # Errors
/// When a tool is missing and cannot be installed.
pub(crate) fn ensure_for_run() -> Result<()> {
    ensure(RUN)
}

/// Makes sure that what builds dom0 is there.
///
/// # Errors
/// When a tool is missing and cannot be installed.
pub(crate) fn ensure_for_build() -> Result<()> {
    ensure(BUILD)
}

fn ensure(tools: &[Tool]) -> Result<()> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    let programs: Vec<_> = missing.iter().map(|tool| tool.program).collect();
    let advice = format!(
        "apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    );
    if !is_root() || find("apt-get").is_none() {
        bail!(
            "this machine lacks {}; install with: sudo {advice}",
            programs.join(", ")
        );
    }
    say!("installing {}", packages.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        process::run(&mut command, INSTALL_LIMIT, |_, _| {})
    };
    apt(&["update"])?;
    apt(&[
        &["install", "--yes", "--no-install-recommends"],
        packages.as_slice(),
    ]
    .concat())?;
    match self::missing(tools).first() {
        None => Ok(()),
        Some(tool) => bail!("{} is still missing after: {advice}", tool.program),
    }
}

fn missing(tools: &[Tool]) -> Vec<&Tool> {
    tools
        .iter()
        .filter(|tool| find(tool.program).is_none())
        .collect()
}

/// Folders of system programs, which a user's PATH on Debian lacks.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Where `program` is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A command for `program`, found in the folders of system programs too.
pub(crate) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| program.into()))
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u"), Duration::from_secs(10))
        .is_ok_and(|id| id.trim() == "0")
}
