//! The scenarios' table: what the host provides for each. What they do is the agent's business.

use std::time::Duration;

/// A scenario by name.
pub(crate) struct Scenario {
    /// Its name, for the agent too.
    pub(crate) name: &'static str,
    /// What it is for, in one line.
    pub(crate) about: &'static str,
    /// The packages whose images it boots; the first is the one that its figures are about.
    pub(crate) images: &'static [&'static str],
    /// How many machines: with two, their networks are joined, and the agent on the second one
    /// serves the first one's.
    pub(crate) hosts: usize,
    /// Each machine's memory in MiB.
    pub(crate) memory_mib: u32,
    /// dom0's share of it in MiB.
    pub(crate) dom0_mib: u32,
    /// The limit for everything from power-on on.
    pub(crate) limit: Duration,
    /// Whether the Linux domU is wanted.
    pub(crate) linux_domu: bool,
    /// Whether a run without figures is a failed one.
    pub(crate) result: bool,
}

const MINUTE: u64 = 60;

/// Longer than what the agent gives a part (15 minutes): the agent can tell more about a part
/// that hangs than the host can.
const LIMIT: Duration = Duration::from_secs(20 * MINUTE);

/// The scenario whose image is built from a page of the documents.
pub(crate) const APPLIANCE: &str = "appliance";

/// All scenarios that run without further arguments.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "run",
        about: "the relay as a PV domU passes real mail on; bodies are compared by hash",
        images: &["relay"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        limit: LIMIT,
        linux_domu: false,
        result: true,
    },
    Scenario {
        name: "test",
        about: "the lab's test cases",
        images: &["relay", "echo", "bench", "mclient", "selftest"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        limit: Duration::from_secs(25 * MINUTE),
        linux_domu: false,
        result: false,
    },
    Scenario {
        name: "hosts",
        about: "guests migrate live between two hosts, with traffic",
        images: &["relay", "echo", "bench"],
        hosts: 2,
        memory_mib: 1536,
        dom0_mib: 1024,
        limit: Duration::from_secs(30 * MINUTE),
        linux_domu: false,
        result: true,
    },
    Scenario {
        name: "lifecycle",
        about: "a guest is saved, restored and migrated under traffic, beside a Linux domU",
        images: &["echo", "relay"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        // A hundred migrations take their time; the agent's own limit is a little shorter.
        limit: Duration::from_secs(55 * MINUTE),
        linux_domu: true,
        result: true,
    },
    Scenario {
        name: "bench",
        about: "figures, beside those of a Linux domU",
        images: &["relay", "echo"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        limit: Duration::from_secs(25 * MINUTE),
        linux_domu: true,
        result: true,
    },
    Scenario {
        name: "channel",
        about: "traffic between two guests, with and without the channel, beside two Linux domUs",
        images: &["bench"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        limit: Duration::from_secs(55 * MINUTE),
        linux_domu: true,
        result: true,
    },
    Scenario {
        name: "advance",
        about: "a guest migrates under a saturating stream, with and without the channel",
        images: &["bench"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        // A hundred migrations take a second hour; the agent's own limit is a little shorter.
        limit: Duration::from_secs(180 * MINUTE),
        linux_domu: false,
        result: true,
    },
    Scenario {
        name: "hostile",
        about: "a guest attacks another by the channel's protocol, attack by attack",
        images: &["echo", "bench", "hostile"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        limit: LIMIT,
        linux_domu: false,
        result: false,
    },
    Scenario {
        name: APPLIANCE,
        about: "docs/appliance.md, followed word by word",
        images: &[],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        limit: LIMIT,
        linux_domu: false,
        result: false,
    },
    Scenario {
        name: "idle",
        about: "the CPU time of guests that have nothing to do",
        images: &["relay", "echo"],
        hosts: 1,
        memory_mib: 2048,
        dom0_mib: 1024,
        limit: LIMIT,
        linux_domu: false,
        result: true,
    },
];

/// `boot`: any PV image, given on the command line.
pub(crate) const BOOT: Scenario = Scenario {
    name: "boot",
    about: "any PV image as a domU, with its console",
    images: &[],
    hosts: 1,
    memory_mib: 2048,
    dom0_mib: 1024,
    limit: LIMIT,
    linux_domu: false,
    result: false,
};

/// The scenario named `name`.
pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
