//! The parts that stay the same from run to run: the hypervisor, dom0's kernel, dom0's root as
//! an initramfs, and a Linux domU for comparison.
//!
//! They are built from Debian packages once and kept under a name made from their inputs. What
//! changes (images, agent, job, the init script) is in the overlay, a second archive.
//! Read [`unpack`] for what becomes of the packages, [`root`] for dom0, [`modules`] for its kernel
//! modules, [`domu`] for the Linux domU.

pub(crate) mod domu;
mod modules;
mod root;
mod unpack;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::apt::fetch;
use crate::digest::short_digest;
use crate::lock::Lock;
use crate::log::say;
use crate::packages::{KERNEL_SUITE, MODULES, PackageSet, USERLAND, XenVersion};
use crate::{interrupt, paths, tools};

/// What decides how the parts are built, beside the package lists: a change here builds anew.
const RECIPE: &[&str] = &[
    include_str!("mod.rs"),
    include_str!("root.rs"),
    include_str!("modules.rs"),
    include_str!("domu.rs"),
    include_str!("unpack.rs"),
    include_str!("../archive.rs"),
    include_str!("../../dom0/linux-domu-init"),
];

/// For how long a base may be in use by a lab of other inputs.
const IN_USE: Duration = Duration::from_secs(3600);

/// How long to wait for another lab that is building the same parts.
const LOCK_LIMIT: Duration = Duration::from_secs(1800);

/// The parts, all there.
pub(crate) struct Base {
    folder: PathBuf,
}

impl Base {
    /// The hypervisor as the 32-bit ELF file that QEMU's multiboot loader takes.
    pub(crate) fn xen(&self) -> PathBuf {
        self.folder.join("xen")
    }

    /// dom0's kernel, which the Linux domU boots too.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// dom0's root.
    pub(crate) fn initramfs(&self) -> PathBuf {
        self.folder.join("dom0.cpio")
    }

    /// The Linux domU's root.
    pub(crate) fn domu_initrd(&self) -> PathBuf {
        self.folder.join("linux-domu.cpio")
    }

    /// The parts for `version`, built where the inputs have changed since the last time.
    ///
    /// # Errors
    /// When a host tool is missing, packages cannot be fetched or an archive cannot be written.
    pub(crate) fn ready(version: XenVersion) -> Result<Base> {
        let set = version.packages();
        let cache = paths::cache();
        fs::create_dir_all(&cache)?;
        let inputs = [set.hypervisor, USERLAND, MODULES, RECIPE];
        let suites = [&set.suite, &KERNEL_SUITE];
        let key = short_digest(inputs.into_iter().flatten().chain(suites));
        let folder = cache.join(format!("base-{}-{key}", set.xen));
        let base = Base { folder };
        if base.folder.exists() {
            return Ok(base);
        }
        let _lock = Lock::take(&cache.join("lock"), LOCK_LIMIT)?;
        if !base.folder.exists() {
            tools::ensure_for_build()?;
            build(&set, &cache, &base.folder)?;
        }
        Ok(base)
    }
}

/// Builds the parts in a folder of another name, and gives it its name when all is there.
fn build(set: &PackageSet, cache: &Path, folder: &Path) -> Result<()> {
    let begin = Instant::now();
    let packages = fetch::ready(cache, set)?;
    let work = paths::scratch(cache)?;
    let (root, kernel) = (work.path().join("root"), work.path().join("kernel"));
    let unpack = Instant::now();
    unpack::all(&packages.root, &root)?;
    unpack::all(&[packages.kernel], &kernel)?;
    say!(
        "unpacked {} packages in {} s",
        packages.root.len() + 1,
        unpack.elapsed().as_secs()
    );

    let done = paths::scratch(cache)?;
    let parts = Base {
        folder: done.path().to_path_buf(),
    };
    gunzip(&only(&root.join("boot"), "xen-", ".gz")?, &parts.xen())?;
    fs::copy(only(&kernel.join("boot"), "vmlinuz-", "")?, parts.kernel())?;
    let modules = modules::select(&kernel, MODULES, &work.path().join("modules"))?;
    root::write(&root, &modules, &parts.initramfs())?;
    domu::write(&root, &modules, &parts.domu_initrd())?;
    fs::rename(done.keep(), folder).context("cannot keep what was built")?;
    remove_older(cache, set.xen, folder);
    say!("dom0 is built after {} s in all", begin.elapsed().as_secs());
    Ok(())
}

/// The one file in `folder` whose name begins and ends so.
fn only(folder: &Path, prefix: &str, suffix: &str) -> Result<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(prefix) && name.ends_with(suffix) && !path.is_symlink()
        })
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        _ => bail!("not exactly one {prefix}…{suffix} in {}", folder.display()),
    }
}

fn gunzip(source: &Path, target: &Path) -> Result<()> {
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(File::open(source)?)
        .read_to_end(&mut content)
        .with_context(|| format!("cannot unpack {}", source.display()))?;
    File::create(target)?.write_all(&content)?;
    interrupt::check()
}

/// Drops bases of the same Xen whose inputs are no more, and what an interrupted build left.
/// Those made a short while ago stay: another lab may be about to boot them. That it may fail is
/// harmless: they only take space.
fn remove_older(cache: &Path, xen: &str, keep: &Path) {
    let prefix = format!("base-{xen}-");
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
