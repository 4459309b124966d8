//! The packages of a set, fetched once: a list of complete files stands for them afterwards, and
//! the network is not asked again until the set changes or a file is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::digest::short_digest;
use crate::log::say;
use crate::packages::{KERNEL, KERNEL_SUITE, PackageSet, USERLAND};

/// The files of a set.
pub(crate) struct Packages {
    /// What is unpacked into dom0's root.
    pub(crate) root: Vec<PathBuf>,
    /// dom0's kernel with its modules.
    pub(crate) kernel: PathBuf,
}

/// The record of what was fetched.
#[derive(Serialize, Deserialize)]
struct Record {
    root: Vec<Deb>,
    kernel: Deb,
}

#[derive(Serialize, Deserialize)]
struct Deb {
    path: PathBuf,
    bytes: u64,
}

/// The packages of `set`, kept under `cache`.
///
/// # Errors
/// When they must be fetched and cannot be.
pub(crate) fn ready(cache: &Path, set: &PackageSet) -> Result<Packages> {
    let texts = [&set.suite, &KERNEL_SUITE, &KERNEL.0, &KERNEL.1];
    let lists = [set.hypervisor, USERLAND];
    let key = short_digest(lists.into_iter().flatten().chain(texts));
    let path = cache.join(format!("packages-{}-{key}.json", set.xen));
    if let Some(packages) = fs::read(&path).ok().and_then(|text| recorded(cache, &text)) {
        return Ok(packages);
    }
    let packages = fetch(cache, set)?;
    let record = Record {
        root: packages
            .root
            .iter()
            .map(|path| deb(cache, path))
            .collect::<Result<_>>()?,
        kernel: deb(cache, &packages.kernel)?,
    };
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec_pretty(&record)?)
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(packages)
}

fn fetch(cache: &Path, set: &PackageSet) -> Result<Packages> {
    let begin = Instant::now();
    let apt = cache.join("apt");
    let names = [set.hypervisor, USERLAND].concat();
    let mut state = State::update(&apt, set.suite)?;
    let root = state.download_all(&names)?;
    if set.suite != KERNEL_SUITE {
        state = State::update(&apt, KERNEL_SUITE)?;
    }
    let kernel = state.download_dependency(KERNEL.0, KERNEL.1)?;
    say!(
        "all packages are there after {:.1} s",
        begin.elapsed().as_secs_f32()
    );
    Ok(Packages { root, kernel })
}

fn deb(cache: &Path, path: &Path) -> Result<Deb> {
    Ok(Deb {
        path: path.strip_prefix(cache)?.to_path_buf(),
        bytes: fs::metadata(path)?.len(),
    })
}

/// The packages of a record, if each file is there in full.
fn recorded(cache: &Path, text: &[u8]) -> Option<Packages> {
    let record: Record = serde_json::from_slice(text).ok()?;
    let present = |deb: &Deb| {
        let path = cache.join(&deb.path);
        let complete = fs::metadata(&path).is_ok_and(|file| file.len() == deb.bytes);
        complete.then_some(path)
    };
    Some(Packages {
        root: record.root.iter().map(present).collect::<Option<_>>()?,
        kernel: present(&record.kernel)?,
    })
}

#[cfg(test)]
mod tests {
    use super::recorded;

    #[test]
    fn a_partial_file_is_not_taken_for_complete() {
        let cache = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: usize| {
            std::fs::write(cache.path().join(name), vec![0; bytes]).expect("written");
        };
        let text = br#"{"root":[{"path":"a.deb","bytes":10}],"kernel":{"path":"k.deb","bytes":5}}"#;
        write("a.deb", 10);
        assert!(recorded(cache.path(), text).is_none(), "no kernel");
        write("k.deb", 4);
        assert!(recorded(cache.path(), text).is_none(), "half a kernel");
        write("k.deb", 5);
        let packages = recorded(cache.path(), text).expect("all there");
        assert_eq!(packages.root, [cache.path().join("a.deb")]);
        assert!(recorded(cache.path(), b"{").is_none(), "half a record");
    }
}
