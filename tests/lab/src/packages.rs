//! Which Debian packages make up the lab.

use clap::ValueEnum;

/// A release of Xen that the lab can boot: the ones that Debian's suites carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum XenVersion {
    /// 4.14, the last Debian Xen that can migrate a PV guest live.
    #[value(name = "4.14")]
    V4_14,
    /// 4.17, built without shadow paging: it saves and restores PV guests, but nothing can log
    /// which pages they dirty.
    #[value(name = "4.17")]
    V4_17,
    /// 4.20, built without shadow paging as well.
    #[value(name = "4.20")]
    V4_20,
}

/// Which program serves the xenstore. Debian's packages bring both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// The one in C.
    Xenstored,
    /// The one in OCaml, with its quotas and transactions of its own.
    Oxenstored,
}

/// The packages of one lab: a hypervisor, its toolstack, a dom0 kernel.
pub(crate) struct PackageSet {
    /// The release's short name, as in file names.
    pub(crate) xen: &'static str,
    /// The suite that carries the hypervisor and dom0's programs.
    pub(crate) suite: &'static str,
    /// The hypervisor with its toolstack.
    pub(crate) hypervisor: &'static [&'static str],
}

/// The suite that carries dom0's kernel, the same one under every Xen.
pub(crate) const KERNEL_SUITE: &str = "bookworm";

/// What dom0 and the scenarios use beside the toolstack.
pub(crate) const USERLAND: &[&str] = &[
    // The host itself: the hotplug scripts want bash and real iproute2.
    "bash",
    "bridge-utils",
    "busybox-static",
    "ethtool",
    "iproute2",
    "procps",
    "xenstore-utils",
    // Clients, servers and tools of the scenarios.
    "dnsmasq-base",
    "iperf3",
    "iputils-ping",
    "postfix",
    "socat",
    "swaks",
    "tcpdump",
];

/// The metapackage that names the kernel, and how its dependency begins.
pub(crate) const KERNEL: (&str, &str) = ("linux-image-amd64", "linux-image-6");

/// Modules that dom0 and the Linux domU load; what they depend on comes with them.
pub(crate) const MODULES: &[&str] = &[
    "bridge",
    "e1000",
    "loop",
    "tun",
    "virtio_console",
    "virtio_net",
    "virtio_pci",
    "xen-blkback",
    "xen-evtchn",
    "xen-gntalloc",
    "xen-gntdev",
    "xen-netback",
    "xen-netfront",
    "xen-privcmd",
    "xenfs",
    // Raw frames from dom0 in the tests of hostile traffic, and tcpdump.
    "af_packet",
];

impl Store {
    /// What serves where nothing else is asked for.
    pub(crate) const DEFAULT: Store = Store::Xenstored;

    /// The program's name.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Store::Xenstored => "xenstored",
            Store::Oxenstored => "oxenstored",
        }
    }
}

impl XenVersion {
    /// What a scenario runs on where nothing else is asked for: the one release on which all of
    /// them can run.
    pub(crate) const DEFAULT: XenVersion = XenVersion::V4_14;

    /// The packages of this release.
    pub(crate) fn packages(self) -> PackageSet {
        match self {
            XenVersion::V4_14 => PackageSet {
                xen: "4.14",
                suite: "bullseye",
                hypervisor: &["xen-hypervisor-4.14-amd64", "xen-utils-4.14"],
            },
            XenVersion::V4_17 => PackageSet {
                xen: "4.17",
                suite: "bookworm",
                hypervisor: &["xen-hypervisor-4.17-amd64", "xen-utils-4.17"],
            },
            XenVersion::V4_20 => PackageSet {
                xen: "4.20",
                suite: "trixie",
                hypervisor: &["xen-hypervisor-4.20-amd64", "xen-utils-4.20"],
            },
        }
    }
}
