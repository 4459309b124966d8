//! Packages, fetched once: a record of complete files stands for them afterwards, and the network
//! is not asked again until the list of packages changes or a file is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::digest::short_digest;
use crate::log::say;

/// The files of one fetch, by their paths below the cache.
#[derive(Serialize, Deserialize)]
struct Record(Vec<Deb>);

#[derive(Serialize, Deserialize)]
struct Deb {
    path: PathBuf,
    bytes: u64,
}

/// Returns the packages `names` of Debian `suite` with all they depend on, as files below `cache`.
/// `label` stands in the name of the record.
///
/// # Errors
/// Returns an error if they must be fetched and cannot be.
pub(crate) fn packages(
    cache: &Path,
    label: &str,
    suite: &str,
    names: &[&str],
) -> Result<Vec<PathBuf>> {
    let key = short_digest(names.iter().chain([&suite]));
    once(cache, &format!("packages-{label}-{key}"), || {
        State::update(&cache.join("apt"), suite)?.download_all(names)
    })
}

/// Returns the package whose name begins with `prefix` and on which the metapackage `meta` of
/// Debian `suite` depends, alone, as a file below `cache`.
///
/// # Errors
/// Returns an error if it must be fetched and cannot be.
pub(crate) fn dependency(cache: &Path, suite: &str, meta: &str, prefix: &str) -> Result<PathBuf> {
    let key = short_digest([suite, meta, prefix].iter());
    let files = once(cache, &format!("package-{meta}-{key}"), || {
        let state = State::update(&cache.join("apt"), suite)?;
        Ok(vec![state.download_dependency(meta, prefix)?])
    })?;
    match files.as_slice() {
        [file] => Ok(file.clone()),
        files => bail!("{} files for {meta}, not one", files.len()),
    }
}

/// Returns the files of the record called `name`; has `fetch` get them if there is no record, or
/// if a file of it is not complete.
fn once(
    cache: &Path,
    name: &str,
    fetch: impl FnOnce() -> Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>> {
    let path = cache.join(format!("{name}.json"));
    if let Some(files) = fs::read(&path).ok().and_then(|text| recorded(cache, &text)) {
        return Ok(files);
    }
    let begin = Instant::now();
    let files = fetch()?;
    say!("fetched in {:.1} s", begin.elapsed().as_secs_f32());
    let debs = files.iter().map(|path| deb(cache, path));
    let record = Record(debs.collect::<Result<_>>()?);
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec_pretty(&record)?)
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(files)
}

fn deb(cache: &Path, path: &Path) -> Result<Deb> {
    Ok(Deb {
        path: path.strip_prefix(cache)?.to_path_buf(),
        bytes: fs::metadata(path)?.len(),
    })
}

/// Returns the files of a record, or `None` if it cannot be read or a file is not complete.
fn recorded(cache: &Path, text: &[u8]) -> Option<Vec<PathBuf>> {
    let record: Record = serde_json::from_slice(text).ok()?;
    let present = |deb: &Deb| {
        let path = cache.join(&deb.path);
        let complete = fs::metadata(&path).is_ok_and(|file| file.len() == deb.bytes);
        complete.then_some(path)
    };
    record.0.iter().map(present).collect()
}

#[cfg(test)]
mod tests {
    use super::{once, recorded};

    #[test]
    fn a_partial_file_is_not_taken_for_complete() {
        let cache = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: usize| {
            std::fs::write(cache.path().join(name), vec![0; bytes]).expect("written");
        };
        let text = br#"[{"path":"a.deb","bytes":10},{"path":"k.deb","bytes":5}]"#;
        write("a.deb", 10);
        assert!(recorded(cache.path(), text).is_none(), "one is missing");
        write("k.deb", 4);
        assert!(recorded(cache.path(), text).is_none(), "one is cut short");
        write("k.deb", 5);
        let files = recorded(cache.path(), text).expect("all there");
        assert_eq!(
            files,
            ["a.deb", "k.deb"].map(|name| cache.path().join(name))
        );
        assert!(recorded(cache.path(), b"[").is_none(), "half a record");
    }

    #[test]
    fn what_is_there_is_not_fetched_again() {
        let cache = tempfile::tempdir().expect("a folder");
        let file = cache.path().join("a.deb");
        let mut fetched = 0;
        let mut get = || {
            let files = once(cache.path(), "record", || {
                fetched += 1;
                std::fs::write(&file, "content")?;
                Ok(vec![file.clone()])
            });
            assert_eq!(files.expect("it is there"), std::slice::from_ref(&file));
        };
        get();
        get();
        std::fs::write(&file, "cut").expect("written");
        get();
        assert_eq!(fetched, 2);
    }
}
