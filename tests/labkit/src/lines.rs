//! The lines on a guest's console that scenarios and cases match.
//!
//! Every pattern is listed here with the folder of the crate that prints it. These are fixed forms,
//! meant for programs. Anything else that a guest prints is for people, and no test may depend on
//! it. A host test looks up each pattern in the sources of its crate, so none can go stale.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use vmc::Cause;

/// A pattern and the crate that prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The fixed part of the line.
    pub text: &'static str,
    /// The folder of the crate that prints it, from the root of the checkout.
    pub printed_by: &'static str,
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        self.text
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

macro_rules! lines {
    ($($(#[doc = $meaning:literal])+ $name:ident = $text:literal, $printed_by:literal;)+) => {
        $(
            $(#[doc = $meaning])+
            pub const $name: Line = Line { text: $text, printed_by: $printed_by };
        )+

        /// All of them.
        pub const ALL: &[Line] = &[$($name),+];
    };
}

lines! {
    /// A panic, followed by file, line and message.
    PANIC = "panic at ", "kernel";
    /// An error that ends the guest, followed by what it is.
    FATAL = "error: ", "kernel";
    /// A request to shut down, followed by which: `poweroff`, `halt`, `reboot`.
    SHUTDOWN = "shutdown: ", "kernel";
    /// A suspend with its times ([`crate::domain::lifecycle::Suspend`]).
    SUSPEND = "lifecycle: suspend ", "kernel";
    /// The reason in a panic for which the guest refuses to suspend.
    FOREIGN_PAGE = "still maps a foreign page", "kernel";
    /// One of the guest's addresses, with its prefix length.
    NET_UP = "net: up ", "netstack";
    /// The network device has been taken away, or its backend is gone.
    NET_LEFT = "net: the backend ", "netstack";
    /// The network device cannot be connected; followed by why, and when it is tried again.
    NET_WAITING = "net: no connection: ", "netstack";
    /// No DHCP server has answered; followed by how long the guest has waited.
    LEASE_WAITING = "net: no DHCP lease after ", "netstack";
    /// A lease, followed by its address and prefix length.
    LEASED = "net: leased ", "netstack";
    /// The lease ran out or was withdrawn.
    LEASE_LOST = "net: the DHCP lease is lost", "netstack";
    /// The toolstack has set another amount of memory, which follows.
    MEMORY_TARGET = "memory: target ", "kernel";
    /// The end of that line if the guest needs more.
    TARGET_REFUSED = " KiB refused: the guest needs ", "kernel";
    /// Non-maskable interrupts; their number is in front.
    NMI = " non-maskable interrupts", "kernel";
    /// A request of `xl sysrq`, followed by its letter in quotes.
    SYSRQ = "sysrq: ", "kernel";
    /// The first line of the answer to `status`: the network device.
    STATUS_LINK = "status: link ", "netstack";
    /// The guest's counts in the answer to `status` ([`crate::domain::lifecycle::Counts`]).
    STATUS_COUNTS = "status: lifecycle ", "netstack";
    /// The last line of the answer to `status` of a guest without a channel: its memory.
    STATUS_MEMORY = "status: memory ", "netstack";
    /// A line about the channel in the answer to `status` ([`crate::channel::ChannelStatus`]).
    STATUS_CHANNEL = "status: vmc ", "netstack";
    /// The rings in use, in the answer to `status` ([`crate::channel::Rings`]).
    RINGS = "rings in use ", "netstack";
    /// The answer to an unknown word on the console, after that word in quotes.
    NO_COMMAND = "is no command", "netstack";
    /// A link that came up, after the peer's address.
    LINK_UP = " is on this host", "netstack";
    /// A link that went down, followed by the peer's address and the cause.
    LINK_DOWN = "vmc: no channel to ", "netstack";
    /// A phase of a hand-over ([`crate::domain::handover::Handover`]).
    HANDOVER = "handover: peer ", "netstack";
    /// The echo guest serves.
    ECHO_READY = "echo: ready", "appliances/echo";
    /// The relay serves; followed by its port.
    RELAY_READY = "relay: listening on ", "appliances/relay";
    /// The relay takes mail from nowhere else, since its options name nobody.
    OWN_SUBNETS = "own subnets only", "appliances/relay";
    /// What became of the relay's mails, in the answer to `status`.
    STATUS_MAILS = "status: mails ", "appliances/relay";
    /// The bench guest serves.
    BENCH_READY = "bench: ready", "appliances/bench";
    /// The mail client is done; followed by `N mails sent, N failed`.
    MCLIENT_DONE = "mclient: done: ", "appliances/mclient";
    /// The kernel's own tests are done; followed by `N passed, N failed`.
    SELFTEST_DONE = "selftest: done, ", "tests/selftest";
    /// One of the kernel's own tests failed; followed by its name and why.
    SELFTEST_FAILED = "selftest: failed ", "tests/selftest";
    /// The guest holds a mapping of another domain's page, as its option says.
    SELFTEST_HOLDING = "selftest: holding a mapping", "tests/selftest";
    /// An attack begins; followed by its name. The attacker hears datagrams from then on.
    HOSTILE_BEGINS = "hostile: begins ", "tests/hostile";
    /// A link was given back that the attacker had offered and not opened; followed by the address
    /// of the guest that gave it back.
    HOSTILE_GIVEN_BACK = "hostile: given back by ", "tests/hostile";
    /// An attack is over; followed by its name and what was done.
    HOSTILE_DONE = "hostile: done ", "tests/hostile";
    /// The lab's Linux domU serves.
    LINUX_READY = "linux domU ready", "tests/lab/dom0";
}

/// The mark of errors in a guest's log (kernel/src/logger.rs).
pub const ERROR_LEVEL: &str = "] ERROR ";

/// Patterns that must not be on the console of a healthy guest.
pub const BAD: [&str; 2] = [PANIC.text, ERROR_LEVEL];

/// Returns the line about a new link with `peer`.
#[must_use]
pub fn link_up(peer: IpAddr) -> String {
    format!("vmc: {peer}{}", LINK_UP.text)
}

/// Returns the beginning of the line about a lost link with `peer`.
#[must_use]
pub fn link_down(peer: IpAddr) -> String {
    format!("{}{peer}", LINK_DOWN.text)
}

/// Returns the end of the line about a link that was lost because of `cause`.
#[must_use]
pub fn for_cause(cause: Cause) -> String {
    format!(" [{cause:?}]")
}

/// Returns the first line of a console that shows a panic or an error.
#[must_use]
pub fn first_bad(console: &str) -> Option<&str> {
    console
        .lines()
        .find(|line| BAD.iter().any(|bad| line.contains(bad)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{ALL, first_bad};

    /// Whether a file in `folder` or below holds `text`.
    fn stands_in(folder: &Path, text: &str) -> bool {
        let entries = fs::read_dir(folder).expect("a folder of the checkout");
        entries.flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return stands_in(&path, text);
            }
            fs::read_to_string(&path).is_ok_and(|source| source.contains(text))
        })
    }

    #[test]
    fn every_line_is_printed_by_its_crate() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .expect("tests/labkit is two levels below it");
        for line in ALL {
            let folder = root.join(line.printed_by);
            assert!(
                stands_in(&folder, line.text),
                "{:?} is nowhere in {}",
                line.text,
                line.printed_by
            );
        }
    }

    #[test]
    fn panics_and_errors_are_bad() {
        let good = "[ 1.0] INFO net: up 10.0.0.2/24\n[ 1.1] WARN net: no error\n";
        assert_eq!(first_bad(good), None);
        for bad in ["[ 2.0] ERROR net: lost", "panic at a.rs:7: why"] {
            assert_eq!(first_bad(&format!("{good}{bad}\n{good}")), Some(bad));
        }
    }
}
