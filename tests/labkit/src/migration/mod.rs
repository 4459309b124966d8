//! Saves, restores and migrates domains with xl, and makes migrations fail.
//!
//! A [`Domain`] stays the same handle throughout: its name does not change, its domid does, and its
//! console text continues in another file ([`Console::continue_in`]).
//!
//! - [`Domain::save`] and [`Domain::restore`] ([`mod@file`]) are `xl save [-c]` and `xl restore`.
//! - [`migrate`] is `xl migrate` to its end; [`start`] returns at once, with a [`Running`] that
//!   tells how far the stream is and can be killed.
//! - [`Options`] say where to, how fast, and where the stream is to be cut ([`options`]).
//! - After a failure, [`clean_up`] removes what the toolstack left ([`leftovers`]).
//!
//! Every xl command that exceeds its limit is killed with its process group, and that is an error;
//! a migration that fails in any other way is a [`Migration`] that did not succeed. Limits are
//! generous, because dom0 may be emulated: 60 s for a save or a restore, [`Options::limit`] for a
//! migration.
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
pub use leftovers::{Leftovers, clean_up};
pub use options::{Options, Target};
pub use running::{Kill, Running, start, start_named};

/// A migration that is over.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Whether xl reports that the domain now runs at the target.
    pub succeeded: bool,
    /// What xl and the target's end printed.
    pub output: String,
    /// From the start of `xl migrate` to its end.
    pub took: Duration,
    /// The meter's report; `None` without a meter, or if it could not write one.
    pub stream: Option<StreamReport>,
}

impl Migration {
    /// Fails unless it succeeded.
    pub fn expect_success(self) -> Result<Self> {
        anyhow::ensure!(
            self.succeeded,
            "the migration failed: {}",
            crate::process::tail(&self.output, 12)
        );
        Ok(self)
    }

    /// Fails unless it failed.
    pub fn expect_failure(self) -> Result<Self> {
        anyhow::ensure!(
            !self.succeeded,
            "the migration succeeded: {}",
            crate::process::tail(&self.output, 12)
        );
        Ok(self)
    }

    /// Returns the meter's report.
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
/// xl cannot be started or is not done within [`Options::limit`]. A migration that fails is not an
/// error.
pub fn migrate(domain: &Domain, options: &Options) -> Result<Migration> {
    start(domain, options)?.wait()
}
