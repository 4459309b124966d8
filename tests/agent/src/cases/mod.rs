//! The cases of the `test` scenario, by subject. Each makes its own guests and leaves none.

mod advance;
mod bench;
mod boot;
mod channel;
mod channel_lifecycle;
mod checksums;
mod command_line;
mod dialogue;
mod hostile;
pub(crate) mod hostile_peer;
mod lifecycle;
mod limits;
mod mail;
mod mclient;
mod migration_failures;
mod moving_mail;
mod names;
mod next_hop;
mod ping;
mod programs;
mod release;
mod selftest;
mod suspend;
mod suspend_paths;
mod tcp;
mod udp;
mod vif;

use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;

/// One thing that must hold.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Its name in the report, and the beginning of its guests' names.
    pub(crate) name: &'static str,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// Does it; returns what was seen.
    pub(crate) check: fn(&Lab) -> Result<String>,
    /// Whether it is about live migration, which not every Xen can do.
    pub(crate) live: bool,
}

impl Case {
    /// A case with its limit in seconds of dom0.
    pub(crate) const fn new(
        name: &'static str,
        limit_s: u64,
        check: fn(&Lab) -> Result<String>,
    ) -> Self {
        Self {
            name,
            limit: Duration::from_secs(limit_s),
            check,
            live: false,
        }
    }

    /// A case that migrates a guest live: skipped on a Xen that cannot.
    const fn live(self) -> Self {
        Self { live: true, ..self }
    }
}

/// The cases that are run on every release of Xen: a guest boots, serves, is saved and comes back,
/// and moves or is refused to.
pub(crate) const RELEASE: &[&str] = &[
    "boot_echo_8_mib",
    "boot_relay_8_mib",
    "ping",
    "tcp_echo_64_mib",
    "save_checkpoint",
    "save_restore",
    "live_migration",
];

/// Every case, in the order in which they run: what others rest on comes first.
pub(crate) fn all() -> impl Iterator<Item = Case> {
    [
        boot::CASES,
        selftest::CASES,
        ping::CASES,
        tcp::CASES,
        udp::CASES,
        names::CASES,
        programs::CASES,
        mail::CASES,
        mclient::CASES,
        bench::CASES,
        channel::CASES,
        dialogue::CASES,
        limits::CASES,
        next_hop::CASES,
        lifecycle::CASES,
        migration_failures::CASES,
        suspend::CASES,
        suspend_paths::CASES,
        moving_mail::CASES,
        channel_lifecycle::CASES,
        advance::CASES,
        command_line::CASES,
        vif::CASES,
        checksums::CASES,
        hostile::CASES,
        release::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The case called `name`.
pub(crate) fn named(name: &str) -> Option<Case> {
    all().find(|case| case.name == name)
}

#[cfg(test)]
mod tests {
    use super::{RELEASE, all, named};
    use std::collections::BTreeSet;

    #[test]
    fn the_cases_of_a_release_exist() {
        for name in RELEASE {
            assert!(named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_fit_a_domain_name() {
        let mut seen = BTreeSet::new();
        for case in all() {
            assert!(seen.insert(case.name), "{} twice", case.name);
            assert!(
                case.name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
        }
    }
}
