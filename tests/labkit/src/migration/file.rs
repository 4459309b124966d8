//! `xl save` and `xl restore`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::domain::Domain;
use crate::domain::console::Console;
use crate::process::{Output, run, scratch_file, tail};

/// The limit of a save or a restore. libxl gives the guest 60 s to answer the request to suspend
/// (libxl_dom_suspend.c); one that takes more than a few has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// A saved domain in dom0's tmpfs, deleted when dropped. It is as large as the guest's resident
/// memory, so a scenario should keep few of them.
#[derive(Debug)]
pub struct SaveFile(PathBuf);

impl SaveFile {
    /// A file for a domain that is to be saved.
    #[must_use]
    pub fn fresh() -> Self {
        Self(scratch_file("saved"))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns its size; zero before the save.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |file| file.len())
    }

    /// Restores the domain that was saved to this file, on whichever host.
    ///
    /// # Errors
    /// xl fails or is not done within 60 s.
    pub(crate) fn restore(&self) -> Result<Output> {
        succeed(&["restore", &self.0.to_string_lossy()])
    }
}

impl Drop for SaveFile {
    fn drop(&mut self) {
        // Perhaps nothing was saved.
        let _ = fs::remove_file(&self.0);
    }
}

impl Domain {
    /// Saves the domain to `file`: with `xl save`, after which the domain is gone, or with
    /// `checkpoint` by `xl save -c`, after which it goes on under its domid. Returns xl's output.
    ///
    /// # Errors
    /// xl fails or is not done within 60 s.
    pub fn save(&self, file: &SaveFile, checkpoint: bool) -> Result<Output> {
        let path = file.path().to_string_lossy();
        let mut arguments = vec!["save"];
        if checkpoint {
            arguments.push("-c");
        }
        arguments.extend([self.name.as_str(), &path]);
        succeed(&arguments)
    }

    /// Restores the domain that was saved to `file` from this handle; its console text continues.
    ///
    /// # Errors
    /// xl fails or is not done within 60 s.
    pub fn restore(&self, file: &SaveFile) -> Result<Output> {
        let console = Console::of(&self.name);
        let offset = console.bytes();
        let output = file.restore()?;
        self.console().continue_in(&console, offset);
        Ok(output)
    }
}

fn succeed(arguments: &[&str]) -> Result<Output> {
    let output = run("xl", arguments, LIMIT).context("xl")?;
    if !output.status.success() {
        bail!("xl {}: {}", arguments.join(" "), tail(&output.text, 10));
    }
    Ok(output)
}
