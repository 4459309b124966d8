//! Saving, restoring and migrating a domain with xl, and what can go wrong on the way.
//!
//! A [`Domain`] stays the same handle through all of it: its name does not change, its domid does,
//! and its console text goes on in another file ([`Console::continue_in`]).
//!
//! - [`Domain::save`] and [`Domain::restore`] ([`file`]) are `xl save [-c]` and `xl restore`.
//! - [`migrate`] is `xl migrate` to its end; [`start`] returns at once, with a [`running::Running`] that
//!   tells how far the stream is and can be killed.
//! - [`Options`] say where to, how fast, and where the stream is to be cut ([`options`]).
//! - After a failure, [`clean_up`] removes what the toolstack left ([`leftovers`]).
//!
//! Deadlines: every command of xl is killed, with its process group, when its limit is over, and
//! that is an error; a migration that fails in any other way is a [`Migration`] that did not
//! succeed. Limits are generous, because dom0 may be emulated: 60 s for a save or a restore,
//! [`Options::limit`] for a migration.
//!
//! [`Console::continue_in`]: crate::domain::console::Console::continue_in

mod file;
mod leftovers;
mod options;
mod running;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::domain::Domain;
use crate::meter::StreamReport;

pub use file::SaveFile;
pub use leftovers::clean_up;
pub use options::{Options, Target};
pub use running::{Kill, start, start_named};

/// A migration that is over.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Whether xl says that the domain now runs at the target.
    pub succeeded: bool,
    /// What xl and the target's end printed.
    pub output: String,
    /// From the start of `xl migrate` to its end.
    pub took: Duration,
    /// What the meter counted; `None` without a meter, and when it could not write its report.
    pub stream: Option<StreamReport>,
}

impl Migration {
    /// Complains unless it succeeded.
    pub fn expect_success(self) -> Result<Self> {
        anyhow::ensure!(
            self.succeeded,
            "the migration failed: {}",
            crate::process::tail(&self.output, 12)
        );
        Ok(self)
    }

    /// Complains unless it failed.
    pub fn expect_failure(self) -> Result<Self> {
        anyhow::ensure!(
            !self.succeeded,
            "the migration succeeded: {}",
            crate::process::tail(&self.output, 12)
        );
        Ok(self)
    }

    /// The meter's report.
    pub fn stream(&self) -> Result<&StreamReport> {
        let stream = self.stream.as_ref();
        stream.with_context(|| {
            let output = crate::process::tail(&self.output, 12);
            format!("the meter left no report: {output}")
        })
    }
}

/// Migrates `domain` and waits for the end.
///
/// # Errors
/// When xl cannot be started or is not done within [`Options::limit`]. A migration that fails is
/// not an error.
pub fn migrate(domain: &Domain, options: &Options) -> Result<Migration> {
    start(domain, options)?.wait()
}
