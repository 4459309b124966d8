//! The parts that stay the same from run to run: QEMU, the hypervisor, dom0's kernel, dom0's root
//! as an initramfs, and a Linux domU for comparison.
//!
//! They are built from Debian packages once. What changes (images, agent, job, the init script) is
//! in the overlay, a second archive. Read [`root`] for dom0, [`modules`] for its kernel modules,
//! [`domu`] for the Linux domU, [`libvirt`] for what only some runs add to dom0.

pub(crate) mod domu;
pub(crate) mod libvirt;
mod modules;
mod root;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::fetch;
use crate::emulator::{Emulator, QemuRelease};
use crate::packages::{KERNEL, KERNEL_SUITE, MODULES, PackageSet, USERLAND, XenVersion};
use crate::{cache, interrupt, paths, unpack};

/// What decides how the parts are built, besides the package lists: a change here builds them anew.
const RECIPE: &[&str] = &[
    include_str!("mod.rs"),
    include_str!("root.rs"),
    include_str!("modules.rs"),
    include_str!("domu.rs"),
    include_str!("../unpack.rs"),
    include_str!("../archive.rs"),
    include_str!("../../dom0/linux-domu-init"),
];

/// The files of a base.
const XEN: &str = "xen";
const DOM0_KERNEL: &str = "vmlinuz";
const DOM0_ROOT: &str = "dom0.cpio";
const DOMU_ROOT: &str = "linux-domu.cpio";

/// The parts, complete.
pub(crate) struct Base {
    emulator: Emulator,
    folder: PathBuf,
}

impl Base {
    /// Returns the QEMU that boots the parts.
    pub(crate) fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// Returns the hypervisor as the 32-bit ELF file that QEMU's multiboot loader takes.
    pub(crate) fn xen(&self) -> PathBuf {
        self.folder.join(XEN)
    }

    /// Returns dom0's kernel, which the Linux domU boots too.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join(DOM0_KERNEL)
    }

    /// Returns dom0's root.
    pub(crate) fn initramfs(&self) -> PathBuf {
        self.folder.join(DOM0_ROOT)
    }

    /// Returns the Linux domU's root.
    pub(crate) fn domu_initrd(&self) -> PathBuf {
        self.folder.join(DOMU_ROOT)
    }

    /// Returns the parts for `version`, to run in `qemu`, built if their inputs have changed since
    /// the last time.
    ///
    /// # Errors
    /// Returns an error if a host tool is missing, packages cannot be fetched or an archive cannot
    /// be written.
    pub(crate) fn ready(version: XenVersion, qemu: QemuRelease) -> Result<Base> {
        let emulator = Emulator::ready(qemu)?;
        let set = version.packages();
        let inputs = [set.hypervisor, USERLAND, MODULES, RECIPE];
        let suites = [&set.suite, &KERNEL_SUITE];
        let inputs = inputs.into_iter().flatten().chain(suites);
        let folder = cache::folder(&format!("base-{}", set.xen), inputs, |folder| {
            build(&set, folder)
        })?;
        Ok(Base { emulator, folder })
    }
}

/// Builds the parts in `folder`.
fn build(set: &PackageSet, folder: &Path) -> Result<()> {
    let cache = paths::cache();
    let packages = dom0_packages(&cache, set)?;
    let (meta, prefix) = KERNEL;
    let kernel_package = fetch::dependency(&cache, KERNEL_SUITE, meta, prefix)?;
    let work = paths::scratch(&cache)?;
    let (root, kernel) = (work.path().join("root"), work.path().join("kernel"));
    unpack::all(&packages, &root)?;
    unpack::all(&[kernel_package], &kernel)?;

    gunzip(&only(&root.join("boot"), "xen-", ".gz")?, &folder.join(XEN))?;
    let image = only(&kernel.join("boot"), "vmlinuz-", "")?;
    fs::copy(image, folder.join(DOM0_KERNEL)).context("cannot keep dom0's kernel")?;
    let modules = modules::select(&kernel, MODULES, &work.path().join("modules"))?;
    root::write(&root, &modules, &folder.join(DOM0_ROOT))?;
    domu::write(&root, &modules, &folder.join(DOMU_ROOT))
}

/// Returns the packages of the hypervisor and of dom0's programs, as files.
fn dom0_packages(cache: &Path, set: &PackageSet) -> Result<Vec<PathBuf>> {
    let programs = [set.hypervisor, USERLAND].concat();
    fetch::packages(cache, set.xen, set.suite, &programs)
}

/// Returns the one file in `folder` whose name begins with `prefix` and ends with `suffix`.
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
