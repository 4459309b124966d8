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

/// The cases that are run, beside those of [`RELEASE`], with guests of the kind that is not the
/// default: what a kind of guest does in its own way, and the channel's whole hand-over.
pub(crate) const KIND: &[&str] = &[
    "kernel_selftest",
    "faults_end_in_a_panic",
    "mclient_relay",
    "channel_two_guests",
    "channel_peer_destroyed",
    "migration_cut",
    "suspend_by_xenstore",
    "advance_lifecycle",
    "mem_set",
    "nmi_and_sysrq",
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
    use super::{KIND, RELEASE, all};

    #[test]
    fn the_cases_of_a_release_and_of_a_kind_exist() {
        for name in RELEASE.iter().chain(KIND) {
            assert!(all().iter().any(|case| case.name == *name), "{name}");
        }
    }
}
