//! Where the lab keeps things, all under the checkout's `target/lab`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// How the names of folders with work in progress begin, so that what a killed run left is known.
pub(crate) const SCRATCH: &str = "unfinished-";

/// The root of the checkout.
pub(crate) fn workspace() -> &'static Path {
    // tests/lab is two levels below it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("."))
}

/// `target/lab`. It does not follow `CARGO_TARGET_DIR`: other programs look for results here.
pub(crate) fn lab() -> PathBuf {
    workspace().join("target/lab")
}

/// The folder of one scenario's logs and result.
pub(crate) fn scenario(name: &str) -> PathBuf {
    lab().join(name)
}

/// Downloads and what is built from them.
pub(crate) fn cache() -> PathBuf {
    lab().join("cache")
}

/// A folder in `parent` for work in progress, gone with the value.
pub(crate) fn scratch(parent: &Path) -> Result<TempDir> {
    fs::create_dir_all(parent)
        .and_then(|()| tempfile::Builder::new().prefix(SCRATCH).tempdir_in(parent))
        .with_context(|| format!("cannot write to {}", parent.display()))
}

/// `path` as the user would type it: relative to the current folder where it lies below it.
pub(crate) fn shown(path: &Path) -> String {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
