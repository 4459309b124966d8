//! A private apt state for one suite: its own lists, archives, settings and an empty record of
//! what is installed, so that every dependency is downloaded and the machine's apt is untouched.

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
    /// Makes the state under `folder` (kept from run to run: apt resumes what was downloaded)
    /// and fetches the suite's package lists.
    ///
    /// # Errors
    /// When the machine names no mirror, the mirror does not answer, or its signature is bad.
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

    /// Downloads `packages` and all they depend on; returns the files.
    ///
    /// # Errors
    /// When a package is unknown, a download fails or is not done in time.
    pub(crate) fn download_all(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let install = ["install", "--yes", "--download-only"];
        let listing = process::output(
            self.apt("apt-get")
                .args(install)
                .arg("--print-uris")
                .arg("--option")
                // Or apt leaves out what it has already.
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

    /// Downloads the package on which the metapackage `meta` depends, alone.
    ///
    /// # Errors
    /// When there is none whose name begins with `prefix`, or the download fails.
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
            // `download` writes where it stands: only a complete file is moved to the archives.
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

    /// Whether the file is there in full. apt writes to another folder first and moves a file
    /// only after its hash was verified.
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

    /// An argument of `--option` that makes `name` a folder of this state.
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

/// apt's settings for a private state. They are read after the machine's own, which keeps its
/// proxy; its hooks are cleared, for they work on the machine's files. By itself `apt-get update`
/// takes a mirror that does not answer for one without packages, hence its error mode.
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
