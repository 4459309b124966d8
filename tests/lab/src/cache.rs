//! Folders of the cache: each is built from its inputs once and kept under a name made from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::digest::short_digest;
use crate::lock::Lock;
use crate::log::say;
use crate::{paths, tools};

/// How long another lab may still use a folder whose inputs have changed.
const IN_USE: Duration = Duration::from_secs(3600);

/// How long to wait for another lab that is building.
const LOCK_LIMIT: Duration = Duration::from_secs(1800);

/// Returns the folder called `label` for these `inputs`; has `build` fill a new one if there is
/// none yet. A folder gets its name only when it is complete.
///
/// # Errors
/// Returns an error if a tool that building needs is missing, or if `build` fails.
pub(crate) fn folder<'a>(
    label: &str,
    inputs: impl Iterator<Item = &'a &'a str>,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = paths::cache();
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let folder = cache.join(format!("{label}-{}", short_digest(inputs)));
    if folder.exists() {
        return Ok(folder);
    }
    let _lock = Lock::take(&cache.join("lock"), LOCK_LIMIT)?;
    if !folder.exists() {
        tools::ensure_for_build()?;
        let begin = Instant::now();
        let fresh = paths::scratch(&cache)?;
        build(fresh.path())?;
        fs::rename(fresh.keep(), &folder).context("cannot keep what was built")?;
        remove_older(&cache, label, &folder);
        say!("{label} is ready after {} s", begin.elapsed().as_secs());
    }
    Ok(folder)
}

/// Removes folders of the same label whose inputs have changed, and what an interrupted build
/// left. Recent ones stay, because another lab may be about to use them. A failure is harmless:
/// the folder only takes up space.
fn remove_older(cache: &Path, label: &str, keep: &Path) {
    let prefix = format!("{label}-");
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = name.starts_with(&prefix) || name.starts_with(paths::SCRATCH);
        let age = entry.metadata().and_then(|file| file.modified());
        let stale = age.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > IN_USE));
        if known && stale && entry.path() != keep {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
