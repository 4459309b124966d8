//! A private apt state for one suite: its own lists, archives and settings, and an empty record of
//! what is installed. So every dependency is downloaded, and the machine's apt is not touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::output::{Download, dependency, parse_uris, size_in};
use super::sources;
use crate::log::say;
use crate::process::{self, Stream};

const UPDATE_LIMIT: Duration = Duration::from_secs(300);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(1200);
const QUERY_LIMIT: Duration = Duration::from_secs(60);

/// apt's state for one suite.
pub(crate) struct State {
    folder: PathBuf,
}

impl State {
    /// Makes the state below `folder` and fetches the suite's package lists. The state is kept from
    /// run to run, and apt goes on with what it has downloaded.
    ///
    /// # Errors
    /// Returns an error if the machine names no mirror, the mirror does not answer, or a signature
    /// is bad.
    pub(crate) fn update(folder: &Path, suite: &str) -> Result<State> {
        let state = State {
            folder: folder.join(suite),
        };
        state.write_settings(suite)?;
        say!("fetching the package lists of Debian {suite}");
        process::run(state.apt("apt-get").arg("update"), UPDATE_LIMIT, |_, _| {}).with_context(
            || {
                format!(
                    "no package lists of Debian {suite} (the machine's own mirror is asked, or {})",
                    sources::MIRROR_VARIABLE
                )
            },
        )?;
        Ok(state)
    }

    /// Downloads `packages` with all they depend on and returns the files.
    ///
    /// # Errors
    /// Returns an error if a package is unknown, or if a download fails or takes too long.
    pub(crate) fn download_all(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let install = ["install", "--yes", "--download-only"];
        let listing = process::output(
            self.apt("apt-get")
                .args(install)
                .arg("--print-uris")
                .arg("--option")
                // With its own archives, apt would leave out what it has already.
                .arg(self.setting("Dir::Cache::archives", "nothing"))
                .args(packages),
            QUERY_LIMIT,
        )?;
        let downloads = parse_uris(&listing);
        let missing: u64 = downloads
            .iter()
            .filter(|download| !self.has(download))
            .map(|download| download.bytes)
            .sum();
        say!(
            "{} packages, {} MB to download",
            downloads.len(),
            missing.div_ceil(1_000_000)
        );
        self.download(self.apt("apt-get").args(install).args(packages), missing)?;
        self.files(&downloads)
    }

    /// Downloads the package whose name begins with `prefix` and on which the metapackage `meta`
    /// depends, without its own dependencies.
    ///
    /// # Errors
    /// Returns an error if there is no such package, or if the download fails.
    pub(crate) fn download_dependency(&self, meta: &str, prefix: &str) -> Result<PathBuf> {
        let listing = process::output(self.apt("apt-cache").args(["depends", meta]), QUERY_LIMIT)?;
        let Some(package) = dependency(&listing, prefix) else {
            bail!("{meta} depends on no {prefix}…");
        };
        let listing = process::output(
            self.apt("apt-get")
                .args(["download", "--print-uris", package]),
            QUERY_LIMIT,
        )?;
        let downloads = parse_uris(&listing);
        let [download] = downloads.as_slice() else {
            bail!("apt names {} files for {package}", downloads.len());
        };
        let kept = self.archives().join(&download.file);
        if !self.has(download) {
            say!(
                "{package}: {} MB to download",
                download.bytes.div_ceil(1_000_000)
            );
            // `download` writes to the current folder; only a complete file is moved to the archives.
            let fresh = tempfile::tempdir_in(&self.folder)?;
            self.download(
                self.apt("apt-get")
                    .args(["download", package])
                    .current_dir(fresh.path()),
                download.bytes,
            )?;
            fs::rename(fresh.path().join(&download.file), &kept)
                .with_context(|| format!("apt did not leave {}", download.file))?;
        }
        Ok(self.files(&downloads)?.remove(0))
    }

    fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    /// Returns whether the file is complete. apt writes to another folder first and moves a file
    /// only after it has verified its hash.
    fn has(&self, download: &Download) -> bool {
        fs::metadata(self.archives().join(&download.file))
            .is_ok_and(|file| file.len() == download.bytes)
    }

    fn files(&self, downloads: &[Download]) -> Result<Vec<PathBuf>> {
        for download in downloads {
            ensure!(self.has(download), "{} is not complete", download.file);
        }
        Ok(downloads
            .iter()
            .map(|download| self.archives().join(&download.file))
            .collect())
    }

    /// Runs a downloading command and logs about ten of its lines.
    fn download(&self, command: &mut Command, bytes: u64) -> Result<()> {
        let mut count = 0u32;
        let mut since_said = 0u64;
        process::run(command, DOWNLOAD_LIMIT, |stream, line| {
            if stream == Stream::Out && line.starts_with("Get:") {
                count += 1;
                since_said += size_in(line);
                if since_said > (bytes / 10).max(4_000_000) {
                    since_said = 0;
                    say!("  package {count}: {}", line.trim());
                }
            }
        })
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--config-file")
            .arg(self.folder.join("apt.conf"))
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Returns an argument of `--option` that sets `name` to a folder of this state.
    fn setting(&self, name: &str, folder: &str) -> String {
        format!("{name}={}", self.folder.join(folder).display())
    }

    fn write_settings(&self, suite: &str) -> Result<()> {
        let folder = self.folder.as_path();
        for part in [
            "lists/partial",
            "cache/archives/partial",
            "nothing/partial",
            "parts",
        ] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let keyrings: Vec<_> = sources::keyrings().collect();
        let keyrings = keyrings.join(" ");
        let mirror = sources::mirror()?;
        fs::write(
            folder.join("parts/lab.sources"),
            format!(
                "Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n\
                 Signed-By: {keyrings}\n"
            ),
        )?;
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("apt.conf"), settings(folder))?;
        Ok(())
    }
}

/// Returns apt's settings for a private state. They are read after the machine's own, so that its
/// proxy stays in use; its hooks are cleared, because they work on the machine's files. The error
/// mode is set because `apt-get update` otherwise treats a mirror that does not answer as empty.
fn settings(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Get::List-Cleanup "false";
APT::Keep-Downloaded-Packages "true";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Debug::NoLocking "true";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "{folder}/cache/archives";
Dir::Log "{folder}";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder}/parts";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"#
    )
}
