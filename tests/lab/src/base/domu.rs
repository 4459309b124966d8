//! The root of a Linux PV domU, to compare a guest with: busybox, the Xen network driver, an
//! iperf3 server and an echo service.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::modules::Modules;
use crate::archive::Archive;
use crate::loader::{self, LOADER};
use crate::process;
use crate::unpack::MERGED;

const INIT: &str = include_str!("../../dom0/linux-domu-init");

/// The loader's path in every dynamic program, here an absolute link to [`LOADER`].
const LOADER_LINK: &str = "/usr/lib64/ld-linux-x86-64.so.2";

const BUSYBOX: &str = "usr/bin/busybox";

const PROGRAMS: &[&str] = &["usr/bin/iperf3", "usr/bin/socat"];

/// Writes the archive of the domU's root to `target`, from the packages unpacked at `root`.
///
/// # Errors
/// Returns an error if a program or library is missing, or if the archive cannot be written.
pub(crate) fn write(root: &Path, modules: &Modules, target: &Path) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(target)?));
    archive.device(Path::new("/dev/console"), 5, 1)?;
    for folder in ["/proc", "/sys", "/tmp", "/dev"] {
        archive.folder(Path::new(folder))?;
    }
    archive.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
    for name in MERGED {
        let real = Path::new("/usr").join(name);
        archive.folder(&real)?;
        archive.link(&Path::new("/").join(name), &real)?;
    }
    archive.link(Path::new("/usr/bin/sh"), Path::new("busybox"))?;
    archive.tree(&modules.root, &|path| {
        path.extension().is_none_or(|e| e != "ko")
            || path.file_name().is_some_and(|n| n == "xen-netfront.ko")
    })?;
    let mut files: BTreeSet<PathBuf> = PROGRAMS.iter().map(PathBuf::from).collect();
    files.extend([LOADER, BUSYBOX].map(PathBuf::from));
    for program in PROGRAMS {
        files.extend(libraries(root, program)?);
    }
    archive.link(Path::new(LOADER_LINK), &Path::new("/").join(LOADER))?;
    for file in files {
        archive.copy(&Path::new("/").join(&file), &root.join(&file))?;
    }
    archive
        .finish()?
        .into_inner()
        .context("cannot write the Linux domU's root")?;
    Ok(())
}

/// Returns the libraries of `program`, relative to `root`, as the root's own loader finds them.
fn libraries(root: &Path, program: &str) -> Result<Vec<PathBuf>> {
    let list = process::output(
        loader::command(root).arg("--list").arg(root.join(program)),
        Duration::from_secs(20),
    )?;
    Ok(list
        .lines()
        .filter_map(|line| line.split_once("=> "))
        .filter_map(|(_, found)| found.split(" (").next())
        .filter_map(|found| Path::new(found.trim()).strip_prefix(root).ok())
        .map(Path::to_path_buf)
        .collect())
}
