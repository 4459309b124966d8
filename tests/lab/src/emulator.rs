//! Which QEMU the machines run in: Debian's, unpacked into a folder of its own.
//!
//! Every machine that runs the lab runs the same QEMU, whatever its own Debian carries, and
//! nothing has to be installed for it. Which release depends on the guests ([`QemuRelease`]).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use labkit::Kind;

use crate::apt::fetch;
use crate::packages::QEMU;
use crate::{cache, loader, paths, process, unpack};

/// The environment variable that names another QEMU to run instead, by the path of its program.
const VARIABLE: &str = "CAUSEWAY_QEMU";

/// The program in the unpacked root.
const PATH: &str = "usr/bin/qemu-system-x86_64";

/// Firmware and option ROMs in the unpacked root.
const DATA: &[&str] = &["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// Devices and accelerators that QEMU loads at run time, below the root's libraries.
const MODULES: &str = "qemu";

/// What decides what the folder holds, beside the package list: a change here builds it anew.
const RECIPE: &[&str] = &[include_str!("emulator.rs"), include_str!("unpack.rs")];

const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// A release of QEMU, from one of Debian's suites, whatever the machine's own Debian has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QemuRelease {
    /// 10.0, the default. Under its SVM a guest with nested paging reads CR2 as 0 (so does 11.1),
    /// which costs Causeway the address in a panic and ends Linux while it boots.
    V10_0,
    /// 7.2, which emulates CR2, but not AVX in such a guest: its machines have none.
    V7_2,
}

impl QemuRelease {
    /// Returns the release for a run of guests of `kind`, with the Linux domU beside them or not.
    pub(crate) fn for_run(kind: Kind, with_linux: bool) -> QemuRelease {
        match kind {
            Kind::Pvh if with_linux => QemuRelease::V7_2,
            Kind::Pv | Kind::Pvh => QemuRelease::V10_0,
        }
    }

    /// Returns the suite that carries it.
    fn suite(self) -> &'static str {
        match self {
            QemuRelease::V10_0 => "trixie",
            QemuRelease::V7_2 => "bookworm",
        }
    }

    /// Returns its short name, also in file names.
    fn name(self) -> &'static str {
        match self {
            QemuRelease::V10_0 => "10.0",
            QemuRelease::V7_2 => "7.2",
        }
    }

    /// Returns the processor that its machines have.
    ///
    /// A PV dom0 dies at once under emulation if the processor has SMAP or SMEP. With an x2APIC,
    /// QEMU 10 ends with "Bad icount read" while Xen boots in virtual time.
    fn processor(self) -> &'static str {
        match self {
            QemuRelease::V10_0 => "max,smap=off,smep=off,x2apic=off",
            QemuRelease::V7_2 => "max,smap=off,smep=off,x2apic=off,avx=off",
        }
    }
}

/// A QEMU that is ready to run.
pub(crate) struct Emulator {
    release: QemuRelease,
    program: Program,
    version: String,
}

enum Program {
    /// The lab's own, unpacked in this folder.
    Unpacked(PathBuf),
    /// The program that the environment names.
    Named(PathBuf),
}

impl Emulator {
    /// Returns the lab's QEMU of that release, fetched and unpacked on the first call, or the one
    /// that `CAUSEWAY_QEMU` names, with the same processor.
    ///
    /// # Errors
    /// Returns an error if the packages cannot be fetched, or if QEMU does not run.
    pub(crate) fn ready(release: QemuRelease) -> Result<Emulator> {
        let program = match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Program::Named(path.into()),
            None => Program::Unpacked(unpacked(release)?),
        };
        let text = process::output(program.command().arg("--version"), VERSION_LIMIT)
            .with_context(|| match &program {
                Program::Unpacked(root) => format!(
                    "the lab's QEMU does not run: remove {} to have it unpacked again",
                    paths::shown(root)
                ),
                Program::Named(_) => format!(
                    "{VARIABLE} must be the path of a qemu-system-x86_64, or empty for the lab's own"
                ),
            })?;
        let version = version(&text)
            .with_context(|| format!("no version of QEMU in {text:?}"))?
            .to_owned();
        Ok(Emulator {
            release,
            program,
            version,
        })
    }

    /// QEMU's version, such as `10.0.13`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Returns the processor that its machines have.
    pub(crate) fn processor(&self) -> &'static str {
        self.release.processor()
    }

    /// Returns a command for QEMU without any options of a machine.
    ///
    /// QEMU is started through `setpriv`, so that the kernel ends it if this program is killed
    /// before it could.
    pub(crate) fn command(&self) -> Command {
        let inner = self.program.command();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }
}

impl Program {
    fn command(&self) -> Command {
        match self {
            Program::Named(program) => Command::new(program),
            Program::Unpacked(root) => {
                let mut command = loader::command(root);
                command.arg(root.join(PATH));
                for folder in DATA {
                    command.arg("-L").arg(root.join(folder));
                }
                command.env("QEMU_MODULE_DIR", loader::libraries(root).join(MODULES));
                command
            }
        }
    }
}

/// Returns the folder in which the packages are unpacked.
fn unpacked(release: QemuRelease) -> Result<PathBuf> {
    let suite = release.suite();
    let inputs = [QEMU, RECIPE];
    let inputs = inputs.into_iter().flatten().chain([&suite]);
    let name = format!("qemu-{}", release.name());
    cache::folder(&name, inputs, |folder| {
        let packages = fetch::packages(&paths::cache(), &name, suite, QEMU)?;
        unpack::all(&packages, folder)
    })
}

/// Returns the version in what `qemu-system-x86_64 --version` prints.
fn version(text: &str) -> Option<&str> {
    let (_, rest) = text.lines().next()?.split_once("version ")?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use labkit::Kind;

    use super::{QemuRelease, version};

    #[test]
    fn the_version_is_the_upstream_one() {
        let text = "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)\nCopyright\n";
        assert_eq!(version(text), Some("10.0.13"));
        assert_eq!(version("QEMU emulator version 7.2.22\n"), Some("7.2.22"));
        assert_eq!(version("busybox"), None);
        assert_eq!(version(""), None);
    }

    #[test]
    fn a_linux_pvh_domu_gets_a_qemu_in_which_it_boots() {
        assert_eq!(QemuRelease::for_run(Kind::Pvh, true), QemuRelease::V7_2);
        for (kind, linux) in [(Kind::Pv, true), (Kind::Pv, false), (Kind::Pvh, false)] {
            assert_eq!(QemuRelease::for_run(kind, linux), QemuRelease::V10_0);
        }
    }
}
