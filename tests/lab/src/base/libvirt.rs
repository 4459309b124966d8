//! libvirt for dom0, with its Xen driver, from the same Debian release as the hypervisor: a layer of
//! dom0's root, an archive of its own. Only runs that use libvirt boot with it, because every
//! megabyte of the root is unpacked under emulation.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{dom0_packages, root};
use crate::apt::fetch;
use crate::archive::Archive;
use crate::log::say;
use crate::packages::{LIBVIRT, PackageSet, USERLAND, XenVersion};
use crate::{cache, paths, unpack};

/// What decides how the layer is built, besides the package lists.
const RECIPE: &[&str] = &[
    include_str!("libvirt.rs"),
    include_str!("root.rs"),
    include_str!("../unpack.rs"),
    include_str!("../archive.rs"),
    DAEMON_CONF,
];

/// The daemon's configuration, for Debian's own is in a package that wants systemd.
const DAEMON_CONF: &str = include_str!("../../dom0/libvirtd.conf");

/// A package that is left out although others depend on it: its `poweroff` needs a running systemd
/// and would take the place of the one that dom0's init calls.
const NO_INIT: &str = "systemd-sysv_";

/// The folder of the processor models that libvirt knows, below the root, and its list of them.
const MODELS: &str = "usr/share/libvirt/cpu_map";
const MODEL_LIST: &str = "index.xml";

/// The line of the list before the first model.
const BEFORE_MODELS: &str = "<include filename='x86_features.xml'/>\n";

/// A model for QEMU's emulated processor. libvirtd does not start its Xen driver on a host that is
/// none of its models, and each of those has VME, which QEMU does not emulate, or SEP, which Xen hides
/// on AMD's processors (xen/arch/x86/cpu/amd.c:init_amd).
const MODEL: (&str, &str) = (
    "x86_emulated.xml",
    "<cpus>\n  <model name='emulated'>\n    <decode host='on' guest='on'/>\n    <feature name='fpu'/>\n    <feature name='pse'/>\n  \
     </model>\n</cpus>\n",
);

/// The layer's file in its folder.
const LAYER: &str = "libvirt.cpio";

/// The folder of the drivers, and the one that is kept.
const DRIVERS: &str = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver";
const XEN_DRIVER: &str = "libvirt_driver_libxl.so";

/// Paths that are left out besides those that the rest of the root does without.
const LEFT_OUT: &[&str] = &[
    "/usr/lib/libvirt",
    "/usr/lib/x86_64-linux-gnu/libvirt/lock-driver",
    "/usr/lib/x86_64-linux-gnu/libvirt/storage-backend",
    "/usr/lib/x86_64-linux-gnu/libvirt/storage-file",
    "/usr/share/augeas",
];

/// Returns the layer for `version`, built if its inputs have changed since the last time.
///
/// # Errors
/// Returns an error if a host tool is missing, packages cannot be fetched or the archive cannot be
/// written.
pub(crate) fn ready(version: XenVersion) -> Result<PathBuf> {
    let set = version.packages();
    let inputs = [set.hypervisor, USERLAND, LIBVIRT, RECIPE];
    let inputs = inputs.into_iter().flatten().chain([&set.suite]);
    let folder = cache::folder(&format!("libvirt-{}", set.xen), inputs, |folder| {
        build(&set, &folder.join(LAYER))
    })?;
    Ok(folder.join(LAYER))
}

/// Writes the archive of what the packages bring beside dom0's own.
fn build(set: &PackageSet, target: &Path) -> Result<()> {
    let cache = paths::cache();
    let base = dom0_packages(&cache, set)?;
    let names = [set.hypervisor, USERLAND, LIBVIRT].concat();
    let label = format!("{}-libvirt", set.xen);
    let all = fetch::packages(&cache, &label, set.suite, &names)?;
    let own = all.into_iter().filter(|deb| {
        let name = deb.file_name().unwrap_or_default().to_string_lossy();
        !base.contains(deb) && !name.starts_with(NO_INIT)
    });
    let own: Vec<_> = own.collect();
    let work = paths::scratch(&cache)?;
    unpack::all(&own, work.path())?;
    add_model(&work.path().join(MODELS)).context("libvirt's processor models")?;
    say!("packing dom0's libvirt");
    let mut archive = Archive::new(BufWriter::new(File::create(target)?));
    archive.tree(work.path(), &is_kept)?;
    archive.folder(Path::new("/var/log/libvirt"))?;
    archive.file(
        Path::new("/etc/libvirt/libvirtd.conf"),
        0o644,
        DAEMON_CONF.as_bytes(),
    )?;
    archive
        .finish()?
        .into_inner()
        .context("cannot write dom0's libvirt")?;
    Ok(())
}

/// Adds [`MODEL`] to the models in `folder`.
fn add_model(folder: &Path) -> Result<()> {
    let (file, model) = MODEL;
    fs::write(folder.join(file), model)?;
    let list = folder.join(MODEL_LIST);
    let text = fs::read_to_string(&list)?;
    ensure!(
        text.matches(BEFORE_MODELS).count() == 1,
        "{MODEL_LIST} has {BEFORE_MODELS:?} not once"
    );
    let with = format!("{BEFORE_MODELS}    <include filename='{file}'/>\n");
    fs::write(&list, text.replace(BEFORE_MODELS, &with))?;
    Ok(())
}

/// Returns whether the packages' file or folder at `path` goes into the layer.
fn is_kept(path: &Path) -> bool {
    let other_driver = path.parent() == Some(Path::new(DRIVERS)) && !path.ends_with(XEN_DRIVER);
    root::is_kept(path) && !root::is_among(path, LEFT_OUT) && !other_driver
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{BEFORE_MODELS, MODEL_LIST, add_model, is_kept};

    #[test]
    fn the_model_is_listed_before_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join(MODEL_LIST);
        let write = |text: &str| std::fs::write(&list, text).expect("written");
        write(&format!(
            "<cpus>{BEFORE_MODELS}    <include filename='x86_486.xml'/>"
        ));
        add_model(folder.path()).expect("one place for it");
        let text = std::fs::read_to_string(&list).expect("it is there");
        let position = |name: &str| text.find(name).expect(name);
        assert!(position("x86_emulated.xml") < position("x86_486.xml"));
        assert!(folder.path().join("x86_emulated.xml").exists());
        write("<cpus/>");
        add_model(folder.path()).expect_err("no place for it");
    }

    #[test]
    fn of_the_drivers_only_that_of_xen_is_kept() {
        let folder = "/usr/lib/x86_64-linux-gnu/libvirt";
        let kept = |path: &str| is_kept(Path::new(path));
        let below = |path: &str| kept(&format!("{folder}/{path}"));
        assert!(kept(folder) && below("connection-driver"));
        assert!(below("connection-driver/libvirt_driver_libxl.so"));
        assert!(!below("connection-driver/libvirt_driver_qemu.so"));
        assert!(!below("lock-driver") && !kept("/usr/share/doc"));
        assert!(kept("/usr/bin/virsh") && kept("/usr/share/libvirt/cpu_map"));
    }
}
