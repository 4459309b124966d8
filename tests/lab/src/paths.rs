//! Where the lab keeps things, all under the checkout's `target/lab`.

use std::path::{Path, PathBuf};

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

/// `path` as the user would type it: relative to the current folder where it lies below it.
pub(crate) fn shown(path: &Path) -> String {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
