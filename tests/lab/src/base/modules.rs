//! The few modules of a kernel package that are loaded, and the modules that they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::log::say;
use crate::{process, tools};

/// The folder of modules, below a root whose `/lib` is a link.
const FOLDER: &str = "usr/lib/modules";

const DEPMOD_LIMIT: Duration = Duration::from_secs(300);

/// Module files with their `modules.dep`, for a root's `/lib/modules`.
pub(crate) struct Modules {
    /// A folder that contains `usr/lib/modules/RELEASE` and nothing else.
    pub(crate) root: PathBuf,
}

/// Copies the modules `wanted` with all they depend on from the unpacked package `kernel` to
/// `target`.
///
/// # Errors
/// Returns an error if depmod fails, or if a module is neither there nor built in.
pub(crate) fn select(kernel: &Path, wanted: &[&str], target: &Path) -> Result<Modules> {
    say!("selecting kernel modules");
    let release = release(kernel)?;
    let from = kernel.join(FOLDER).join(&release);
    let to = target.join(FOLDER).join(&release);
    fs::create_dir_all(&to)?;
    depmod(kernel, &release)?;
    let listing = fs::read_to_string(from.join("modules.dep"))?;
    let dependencies = parse_dependencies(&listing);
    let built_in = fs::read_to_string(from.join("modules.builtin"))?;
    for path in closure(&dependencies, &built_in, wanted)? {
        let file = to.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&to))?;
        fs::copy(from.join(path), &file).with_context(|| format!("cannot copy {path}"))?;
    }
    for name in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        fs::copy(from.join(name), to.join(name)).with_context(|| format!("no {name}"))?;
    }
    depmod(target, &release)?;
    Ok(Modules {
        root: target.to_path_buf(),
    })
}

fn release(kernel: &Path) -> Result<String> {
    let folder = kernel.join(FOLDER);
    match fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .next()
    {
        Some(entry) => Ok(entry?.file_name().to_string_lossy().into_owned()),
        None => bail!("the kernel package brings no modules"),
    }
}

fn depmod(root: &Path, release: &str) -> Result<()> {
    process::run(
        // It searches `lib/modules` below the folder that it is given.
        tools::command("depmod")
            .arg("-b")
            .arg(root.join("usr"))
            .arg(release),
        DEPMOD_LIMIT,
        |_, _| {},
    )
}

/// Parses lines `path: path…` of modules.dep.
fn parse_dependencies(text: &str) -> BTreeMap<&str, Vec<&str>> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (path, needs.split_whitespace().collect()))
        .collect()
}

/// Returns a module's name as modprobe compares it.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// Returns the paths of `wanted` and of all they need, without those that are built in.
fn closure<'a>(
    dependencies: &BTreeMap<&'a str, Vec<&'a str>>,
    built_in: &str,
    wanted: &[&str],
) -> Result<BTreeSet<&'a str>> {
    let mut paths = BTreeSet::new();
    for module in wanted {
        let module = name(module);
        match dependencies.iter().find(|(path, _)| name(path) == module) {
            // modules.dep lists all that a module needs, not only its direct dependencies.
            Some((path, needs)) => paths.extend(needs.iter().chain([path])),
            None if built_in.lines().any(|path| name(path) == module) => {}
            None => bail!("the kernel package has no module {module}"),
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::{closure, parse_dependencies};

    const DEP: &str = "kernel/net/llc/llc.ko:\n\
        kernel/net/802/stp.ko: kernel/net/llc/llc.ko\n\
        kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko kernel/net/llc/llc.ko\n\
        kernel/drivers/net/xen-netfront.ko:\n";

    #[test]
    fn what_is_needed_comes_along() {
        let dependencies = parse_dependencies(DEP);
        let paths = closure(
            &dependencies,
            "kernel/drivers/char/hw_random/virtio-rng.ko\n",
            &["bridge", "xen_netfront", "virtio_rng"],
        )
        .expect("all there");
        assert_eq!(
            paths.into_iter().collect::<Vec<_>>(),
            [
                "kernel/drivers/net/xen-netfront.ko",
                "kernel/net/802/stp.ko",
                "kernel/net/bridge/bridge.ko",
                "kernel/net/llc/llc.ko",
            ]
        );
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = closure(&parse_dependencies(DEP), "", &["tun"]).expect_err("no tun");
        assert!(error.to_string().contains("tun"), "{error}");
    }
}
