//! The machine's own apt sources: its mirror of Debian and the keys that it trusts.
//!
//! Both formats of sources.list(5) are read: one line per source (`.list`) and deb822 stanzas
//! (`.sources`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The environment variable that names a mirror, needed if the machine's own sources name none (as
/// on Ubuntu).
pub(crate) const MIRROR_VARIABLE: &str = "CAUSEWAY_DEBIAN_MIRROR";

/// The folder with the machine's apt settings.
const APT_FOLDER: &str = "/etc/apt";

/// Suites that mark a source as Debian's own archive.
const DEBIAN_SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// The keys of Debian's suites, from the package debian-archive-keyring.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The keys that have been removed from the first file, to verify older suites.
const REMOVED_KEYS: &str = "/usr/share/keyrings/debian-archive-removed-keys.gpg";

/// One source of binary packages.
#[derive(Debug, Default, PartialEq, Eq)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
}

/// Returns the mirror of Debian's main archive that this machine uses, as a URI for a source list.
///
/// # Errors
/// Returns an error if neither the environment nor the machine's sources name one.
pub(crate) fn mirror() -> Result<String> {
    if let Ok(uri) = std::env::var(MIRROR_VARIABLE)
        && !uri.is_empty()
    {
        return Ok(uri);
    }
    let sources = files(Path::new(APT_FOLDER))
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            Some(if path.extension().is_some_and(|e| e == "sources") {
                deb822(&text)
            } else {
                one_line(&text)
            })
        })
        .flatten()
        .collect::<Vec<_>>();
    match debian_mirror(&sources) {
        Some(uri) => Ok(uri.to_owned()),
        None => bail!(
            "no mirror of Debian in {APT_FOLDER}: set {MIRROR_VARIABLE} to the URI of one \
             (the part before the suite's name in a source list)"
        ),
    }
}

/// Returns the keyrings that verify Debian's suites.
pub(crate) fn keyrings() -> impl Iterator<Item = &'static str> {
    [KEYRING, REMOVED_KEYS]
        .into_iter()
        .filter(|path| Path::new(path).exists())
}

/// Returns the machine's source files in apt's order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<_> = fs::read_dir(folder.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e == "list" || e == "sources")
        })
        .collect();
    parts.sort();
    parts.insert(0, folder.join("sources.list"));
    parts
}

/// Returns the first source that has a Debian suite's main component and is not a CD.
fn debian_mirror(sources: &[Source]) -> Option<&str> {
    sources
        .iter()
        .filter(|source| source.components.iter().any(|c| c == "main"))
        .filter(|source| {
            source
                .suites
                .iter()
                .any(|suite| DEBIAN_SUITES.contains(&suite.as_str()))
        })
        .flat_map(|source| &source.uris)
        .find(|uri| !uri.starts_with("cdrom:"))
        .map(String::as_str)
}

/// Parses lines `deb [options] uri suite component…`.
fn one_line(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next()?.trim();
            let mut rest = line.strip_prefix("deb")?;
            if !rest.starts_with([' ', '\t']) {
                return None;
            }
            rest = rest.trim_start();
            if let Some(options) = rest.strip_prefix('[') {
                rest = options.split_once(']')?.1;
            }
            let mut words = rest.split_whitespace().map(str::to_owned);
            Some(Source {
                uris: vec![words.next()?],
                suites: vec![words.next()?],
                components: words.collect(),
            })
        })
        .collect()
}

/// Parses deb822 stanzas, without those that are disabled or have source packages only.
fn deb822(text: &str) -> Vec<Source> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .filter_map(stanza)
        .collect()
}

fn stanza(lines: &[&str]) -> Option<Source> {
    let mut source = Source::default();
    let mut binary = false;
    let mut field = String::new();
    for line in lines {
        let value = if line.starts_with([' ', '\t']) {
            line.trim()
        } else {
            let (name, value) = line.split_once(':')?;
            field = name.trim().to_ascii_lowercase();
            value.trim()
        };
        let words = value.split_whitespace().map(str::to_owned);
        match field.as_str() {
            "types" => binary |= value.split_whitespace().any(|word| word == "deb"),
            "uris" => source.uris.extend(words),
            "suites" => source.suites.extend(words),
            "components" => source.components.extend(words),
            "enabled" if value.eq_ignore_ascii_case("no") => return None,
            _ => {}
        }
    }
    binary.then_some(source)
}

#[cfg(test)]
mod tests {
    use super::{deb822, debian_mirror, one_line};

    #[test]
    fn deb822_stanzas() {
        let sources = deb822(
            "Types: deb deb-src\n# a comment: here\nURIs: http://m.invalid/debian-security\n\
             Suites: bookworm-security\nComponents: main\n\n\
             Types: deb-src\nURIs: http://src.invalid/debian\nSuites: bookworm\n\
             Components: main\n\n\
             Types: deb\nEnabled: no\nURIs: http://off.invalid/debian\nSuites: bookworm\n\
             Components: main\n\n\
             Types: deb\nURIs: http://m.invalid/debian\n http://n.invalid/debian\n\
             Suites: bookworm bookworm-updates\nComponents: main contrib\n\
             Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc: def\n",
        );
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[1].uris.len(), 2);
        assert_eq!(debian_mirror(&sources), Some("http://m.invalid/debian"));
    }

    #[test]
    fn one_line_sources() {
        let sources = one_line(
            "# deb http://old.invalid/debian bookworm main\n\
             deb cdrom:[Debian]/ bookworm main\n\
             deb-src http://src.invalid/debian bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://other.invalid/node nodistro main\n\
             deb\t[signed-by=/k.gpg]  http://m.invalid/debian/ trixie main contrib # ours\n",
        );
        assert_eq!(sources.len(), 3);
        assert_eq!(debian_mirror(&sources), Some("http://m.invalid/debian/"));
    }

    #[test]
    fn a_machine_without_debian_has_no_mirror() {
        let sources = one_line("deb http://u.invalid/ubuntu noble main universe\n");
        assert_eq!(debian_mirror(&sources), None);
        assert_eq!(debian_mirror(&deb822("no colon here\n")), None);
    }
}
