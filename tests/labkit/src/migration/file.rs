//! `xl save` and `xl restore`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::domain::Domain;
use crate::domain::console::Console;
use crate::process::{Output, run, scratch_file, tail};

/// How long a save or a restore may take. The guest has 60 s to answer the request to suspend
/// (libxl_dom_suspend.c); more than a few is a failure of the guest.
const LIMIT: Duration = Duration::from_secs(60);

/// A saved domain, in dom0's tmpfs; deleted when dropped. It is as large as what the guest has
/// resident, so a scenario keeps as few of them as it can.
#[derive(Debug)]
pub struct SaveFile(PathBuf);

impl SaveFile {
    /// A name for a domain to be saved to.
    pub fn new() -> Self {
        Self(scratch_file("saved"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its size; zero before the save.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |file| file.len())
    }
}

impl Drop for SaveFile {
    fn drop(&mut self) {
        // Nothing was saved to it, perhaps.
        let _ = fs::remove_file(&self.0);
    }
}

impl Domain {
    /// Saves the domain to `file`: `xl save`, after which the domain is gone, or with `checkpoint`
    /// `xl save -c`, after which it runs on under its domid. Returns how long xl took and what it
    /// printed.
    ///
    /// # Errors
    /// When xl fails or is not done within 60 s.
    pub fn save(&self, file: &SaveFile, checkpoint: bool) -> Result<Output> {
        let path = file.path().to_string_lossy();
        let mut arguments = vec!["save"];
        if checkpoint {
            arguments.push("-c");
        }
        arguments.extend([self.name.as_str(), &path]);
        succeed(&arguments)
    }

    /// Restores from `file` the domain that was saved there from this handle; its console text
    /// goes on.
    ///
    /// # Errors
    /// When xl fails or is not done within 60 s.
    pub fn restore(&self, file: &SaveFile) -> Result<Output> {
        let console = Console::of(&self.name);
        let offset = console.bytes();
        let output = succeed(&["restore", &file.path().to_string_lossy()])?;
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
