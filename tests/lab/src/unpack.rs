//! Packages of any suite, unpacked into one folder.
//!
//! Older packages contain `/bin` and `/lib`; newer ones contain only `/usr/bin` and `/usr/lib` and
//! rely on links. Every root of the lab has these links, so that a file has one place in it, whatever
//! path its package used.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::log::say;
use crate::process;

/// Folders that are links to those of the same name in `/usr`.
pub(crate) const MERGED: &[&str] = &["bin", "lib", "lib64", "sbin"];

const LIMIT: Duration = Duration::from_secs(120);

/// Unpacks `debs` into the empty or new folder `root`.
///
/// # Errors
/// Returns an error if a file cannot be read or unpacked.
pub(crate) fn all(debs: &[PathBuf], root: &Path) -> Result<()> {
    merge_usr(root).with_context(|| format!("cannot prepare {}", root.display()))?;
    for (done, deb) in debs.iter().enumerate() {
        if done % 40 == 0 {
            say!("unpacking {} of {}", done + 1, debs.len());
        }
        // `dpkg --extract` would replace a link by a package's own folder.
        process::pipe(
            Command::new("dpkg").arg("--fsys-tarfile").arg(deb),
            Command::new("tar")
                .args(["--extract", "--keep-directory-symlink"])
                .args(["--preserve-permissions", "--no-same-owner", "--directory"])
                .arg(root)
                .args(["--file", "-"]),
            LIMIT,
        )
        .with_context(|| format!("cannot unpack {}", deb.display()))?;
    }
    Ok(())
}

fn merge_usr(root: &Path) -> std::io::Result<()> {
    for name in MERGED {
        let real = Path::new("usr").join(name);
        fs::create_dir_all(root.join(&real))?;
        symlink(real, root.join(name))?;
    }
    Ok(())
}
