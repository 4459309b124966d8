//! Programs of an unpacked root, run on this machine with the root's own loader and libraries, so
//! that it does not matter which C library the machine has.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root's dynamic loader.
pub(crate) const LOADER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

/// The root's libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Returns a command for the loader of `root`, which finds libraries there only. What it is to do
/// and with which program is left to the caller.
pub(crate) fn command(root: &Path) -> Command {
    let mut command = Command::new(root.join(LOADER));
    command.arg("--library-path").arg(libraries(root));
    command
}

/// Returns the folder with the libraries of `root`.
pub(crate) fn libraries(root: &Path) -> PathBuf {
    root.join(LIBRARIES)
}
