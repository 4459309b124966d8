//! Programs that the machine must have. Those that are missing are installed if the user is root;
//! otherwise they are named with the one command that installs them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::apt::sources;
use crate::log::say;
use crate::process;

const INSTALL_LIMIT: Duration = Duration::from_secs(900);

/// How often an installation says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

const QUERY_LIMIT: Duration = Duration::from_secs(60);

/// A program, or a file by its full path, and the Debian package that contains it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const RUN: &[Tool] = &[
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

/// What reads the images in `make check`. Cargo links with a compiler's linker and brings no such
/// tools itself.
const CHECK: &[Tool] = &[
    Tool {
        program: "objdump",
        package: "binutils",
    },
    Tool {
        program: "strip",
        package: "binutils",
    },
];

/// Cargo's subcommands of `make check`, and the components of the toolchain that bring them.
const COMPONENTS: &[(&str, &str)] = &[("fmt", "rustfmt"), ("clippy", "clippy")];

/// Makes sure that what `make check` uses is there.
///
/// # Errors
/// Returns an error if a tool or a component is missing and cannot be installed.
pub(crate) fn ensure_for_check() -> Result<()> {
    ensure(CHECK)?;
    let lacks = |subcommand: &str| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        process::output(cargo.args([subcommand, "--version"]), QUERY_LIMIT).is_err()
    };
    let missing: Vec<_> = COMPONENTS
        .iter()
        .filter(|(subcommand, _)| lacks(subcommand))
        .map(|(_, component)| *component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let advice = format!("rustup component add {}", missing.join(" "));
    if find("rustup").is_none() {
        bail!(
            "this Rust lacks {}; install it from Debian, or Rust by rustup and then run: {advice}",
            missing.join(" and ")
        );
    }
    say!("installing {}", missing.join(", "));
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add"]).args(&missing);
    process::run(&mut rustup, INSTALL_LIMIT, |_, line| say!("  {line}"))
        .with_context(|| format!("cannot install them; try: {advice}"))
}

/// Makes sure that what runs a machine is there.
///
/// # Errors
/// Returns an error if a tool is missing and cannot be installed.
pub(crate) fn ensure_for_run() -> Result<()> {
    ensure(RUN)
}

/// Makes sure that what builds dom0 is there.
///
/// # Errors
/// Returns an error if a tool is missing and cannot be installed.
pub(crate) fn ensure_for_build() -> Result<()> {
    ensure(BUILD)
}

fn ensure(tools: &[Tool]) -> Result<()> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: BTreeSet<_> = missing.iter().map(|tool| tool.package).collect();
    let packages = Vec::from_iter(packages);
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
        let mut said = Instant::now();
        process::run(&mut command, INSTALL_LIMIT, |_, line| {
            if said.elapsed() > PROGRESS {
                said = Instant::now();
                say!("  {line}");
            }
        })
        .with_context(|| format!("apt-get failed; try: sudo {advice}"))
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

/// Folders of system programs, which are not in a user's PATH on Debian.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Returns where `program` is, or `None` if it is nowhere.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Returns a command for `program`, which may also be in a folder of system programs.
pub(crate) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| program.into()))
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u"), Duration::from_secs(10))
        .is_ok_and(|id| id.trim() == "0")
}
