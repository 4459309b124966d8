//! The lab's folders, all below the checkout's `target/lab`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// How the names of folders with unfinished work begin, by which what a killed run left is found.
pub(crate) const SCRATCH: &str = "unfinished-";

/// Returns the root of the checkout.
pub(crate) fn workspace() -> &'static Path {
    // tests/lab is two levels below it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("."))
}

/// Returns `target/lab`, whatever `CARGO_TARGET_DIR` says: other programs look for results here.
pub(crate) fn lab() -> PathBuf {
    workspace().join("target/lab")
}

/// Returns the folder of one scenario's logs and result.
pub(crate) fn scenario(name: &str) -> PathBuf {
    lab().join(name)
}

/// Returns the folder of downloads and of what is built from them.
pub(crate) fn cache() -> PathBuf {
    lab().join("cache")
}

/// Makes a folder in `parent` for unfinished work. It is removed with the value.
pub(crate) fn scratch(parent: &Path) -> Result<TempDir> {
    fs::create_dir_all(parent)
        .and_then(|()| tempfile::Builder::new().prefix(SCRATCH).tempdir_in(parent))
        .with_context(|| format!("cannot write to {}", parent.display()))
}

/// Returns `path` as the user would type it: relative to the current folder if it is below it.
pub(crate) fn shown(path: &Path) -> String {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
