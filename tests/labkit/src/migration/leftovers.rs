//! What a failed migration leaves behind, and how it is removed.

use std::time::Duration;

use anyhow::Result;

use crate::deadline::Deadline;
use crate::domain::{self, Domain, list::Entry};
use crate::process::run;

/// How often `xl list` is asked.
const PAUSE: Duration = Duration::from_millis(200);

const XL_LIMIT: Duration = Duration::from_secs(60);

/// Which domains a failed migration left, and had to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// True when `NAME--incoming`, the target's half-made copy, did not go by itself.
    pub incoming: bool,
    /// True when there was a `NAME--migratedaway`: the source had let the domain go before the
    /// target said that it runs (tools/xl/xl_migrate.c, `migrate_domain`). xl calls the state
    /// undefined then. When no domain has the name itself, that one gets it back and is resumed.
    pub migrated_away: bool,
}

/// Removes what a failed migration of `domain` to this host left, after giving `xl migrate-receive`
/// the time `grace` to do so itself, which it does when it has not been killed.
///
/// # Errors
/// When xl does not answer.
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
        // By domid: it may be half gone. An error means that it is gone.
        let _ = run("xl", &["destroy", &entry.id.to_string()], XL_LIMIT);
    }
}
