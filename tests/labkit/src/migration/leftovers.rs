//! Removal of what a failed migration leaves behind.

use std::time::Duration;

use anyhow::Result;

use crate::deadline::Deadline;
use crate::domain::{self, Domain, list::Entry};
use crate::process::run;

/// The interval between two calls of `xl list`.
const PAUSE: Duration = Duration::from_millis(200);

const XL_LIMIT: Duration = Duration::from_secs(60);

/// The domains that a failed migration left, and that had to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Whether `NAME--incoming`, the target's half-built copy, was left.
    pub incoming: bool,
    /// Whether there was a `NAME--migratedaway`: the source had let the domain go before the target
    /// reported that it runs (tools/xl/xl_migrate.c, `migrate_domain`). xl calls that state
    /// undefined. If no domain has the plain name, this one gets it back.
    pub migrated_away: bool,
}

/// Removes what a failed migration of `domain` to this host left. `xl migrate-receive` first has
/// the time `grace` to do so itself, as it does unless it was killed.
///
/// # Errors
/// xl does not answer.
pub fn clean_up(domain: &Domain, grace: Duration) -> Result<Leftovers> {
    let incoming = format!("{}--incoming", domain.name);
    let away = format!("{}--migratedaway", domain.name);
    let mut left = Leftovers::default();
    let gone = Deadline::after(grace).poll(PAUSE, &incoming, || {
        Ok(find(&incoming)?.is_none().then_some(()))
    });
    if gone.is_err() {
        left.incoming = true;
        destroy(find(&incoming)?);
    }
    if let Some(entry) = find(&away)? {
        left.migrated_away = true;
        if domain.entry()?.is_some() {
            destroy(Some(entry));
        } else {
            let id = entry.id.to_string();
            run("xl", &["rename", &id, &domain.name], XL_LIMIT)?;
        }
    }
    Ok(left)
}

fn find(name: &str) -> Result<Option<Entry>> {
    Ok(domain::all()?.into_iter().find(|entry| entry.name == name))
}

fn destroy(entry: Option<Entry>) {
    if let Some(entry) = entry {
        // By domid, because it may be half gone. An error means that it is gone.
        let _ = run("xl", &["destroy", &entry.id.to_string()], XL_LIMIT);
    }
}
