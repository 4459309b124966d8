//! Which QEMU the machines run in: Debian's, unpacked into a folder of its own.
//!
//! Every machine that runs the lab runs the same QEMU, whatever its own Debian carries, and
//! nothing has to be installed for it. Which release depends on the guests ([`QemuRelease`]).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::apt::fetch;
use crate::packages::{QEMU, QemuRelease};
use crate::{cache, loader, paths, process, unpack};

/// The environment variable that names another QEMU to run instead, by the path of its program.
const VARIABLE: &str = "CAUSEWAY_QEMU";

/// The program in the unpacked root.
const PROGRAM: &str = "usr/bin/qemu-system-x86_64";

/// Firmware and option ROMs in the unpacked root.
const DATA: &[&str] = &["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// Devices and accelerators that QEMU loads at run time, below the root's libraries.
const MODULES: &str = "qemu";

/// What decides what the folder holds, beside the package list: a change here builds it anew.
const RECIPE: &[&str] = &[include_str!("emulator.rs"), include_str!("unpack.rs")];

const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// A QEMU that is ready to run.
pub(crate) struct Emulator {
    release: QemuRelease,
    kind: Kind,
    version: String,
}

enum Kind {
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
        let kind = match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Kind::Named(path.into()),
            None => Kind::Unpacked(unpacked(release)?),
        };
        let text = process::output(kind.command().arg("--version"), VERSION_LIMIT)
            .with_context(|| match &kind {
                Kind::Unpacked(root) => format!(
                    "the lab's QEMU does not run: remove {} to have it unpacked again",
                    paths::shown(root)
                ),
                Kind::Named(_) => format!(
                    "{VARIABLE} must be the path of a qemu-system-x86_64, or empty for the lab's own"
                ),
            })?;
        let version = version(&text)
            .with_context(|| format!("no version of QEMU in {text:?}"))?
            .to_owned();
        Ok(Emulator {
            release,
            kind,
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
        let inner = self.kind.command();
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

impl Kind {
    fn command(&self) -> Command {
        match self {
            Kind::Named(program) => Command::new(program),
            Kind::Unpacked(root) => {
                let mut command = loader::command(root);
                command.arg(root.join(PROGRAM));
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
    use super::version;

    #[test]
    fn the_version_is_the_upstream_one() {
        let text = "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)\nCopyright\n";
        assert_eq!(version(text), Some("10.0.13"));
        assert_eq!(version("QEMU emulator version 7.2.22\n"), Some("7.2.22"));
        assert_eq!(version("busybox"), None);
        assert_eq!(version(""), None);
    }
}
