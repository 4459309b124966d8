//! The cases of the `test` scenario, by subject. Each boots its own guests and leaves none behind.

mod addresses;
mod advance;
mod bench;
mod boot;
mod channel;
mod channel_lifecycle;
mod checksums;
mod coming_back;
mod command_line;
mod dialogue;
mod hostile;
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
mod relay_clients;
mod release;
mod selftest;
mod suspend;
mod suspend_paths;
mod tcp;
mod udp;
mod vif;

use labkit::Case;

/// The cases that are run on every release of Xen: a guest boots, serves, is saved and restored,
/// and migrates or is refused to.
pub(crate) const RELEASE: &[&str] = &[
    "boot_echo_8_mib",
    "boot_relay_8_mib",
    "ping",
    "tcp_echo_64_mib",
    "save_checkpoint",
    "save_restore",
    "live_migration",
];

/// Returns every case, in the order in which they run: the basics come first.
pub(crate) fn all() -> Vec<Case> {
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
        relay_clients::CASES,
        lifecycle::CASES,
        migration_failures::CASES,
        suspend::CASES,
        suspend_paths::CASES,
        moving_mail::CASES,
        channel_lifecycle::CASES,
        advance::CASES,
        addresses::CASES,
        command_line::CASES,
        vif::CASES,
        coming_back::CASES,
        checksums::CASES,
        hostile::CASES,
        release::CASES,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::{RELEASE, all};

    #[test]
    fn the_cases_of_a_release_exist() {
        for name in RELEASE {
            assert!(all().iter().any(|case| case.name == *name), "{name}");
        }
    }
}
