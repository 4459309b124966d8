//! Which Debian packages make up the lab.

use clap::ValueEnum;

/// A release of Xen that the lab can boot, from one of Debian's suites. A later release is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum XenVersion {
    /// 4.14, whose packages can all migrate a PV guest live.
    #[value(name = "4.14")]
    V4_14,
    /// 4.17. The 4.17.5 of bookworm has shadow paging, by which Xen logs the pages that a PV guest
    /// dirties; the 4.17.7 of its security updates has none.
    #[value(name = "4.17")]
    V4_17,
    /// 4.20, built without shadow paging: it saves and restores PV guests, but cannot migrate them
    /// live.
    #[value(name = "4.20")]
    V4_20,
}

/// The program that serves the xenstore. Debian's packages contain both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// The C implementation.
    Xenstored,
    /// The OCaml implementation, whose quotas and transactions differ.
    Oxenstored,
}

/// The packages of one release of Xen.
pub(crate) struct PackageSet {
    /// The release's short name, also in file names.
    pub(crate) xen: &'static str,
    /// The suite of the hypervisor and of dom0's programs.
    pub(crate) suite: &'static str,
    /// The hypervisor with its toolstack.
    pub(crate) hypervisor: &'static [&'static str],
}

/// The suite of dom0's kernel, which is the same under every Xen.
pub(crate) const KERNEL_SUITE: &str = "bookworm";

/// What dom0 and the scenarios use besides the toolstack.
pub(crate) const USERLAND: &[&str] = &[
    // The host itself: the hotplug scripts need bash and the real iproute2.
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

/// libvirt with its Xen driver and `virsh`, for the runs that manage domains with it. Every suite
/// calls them the same.
pub(crate) const LIBVIRT: &[&str] = &[
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-xen",
];

/// QEMU, in which the machines run.
pub(crate) const QEMU: &[&str] = &["qemu-system-x86"];

/// The metapackage that depends on the kernel, and how the kernel's package name begins.
pub(crate) const KERNEL: (&str, &str) = ("linux-image-amd64", "linux-image-6");

/// Modules that dom0 and the Linux domU load. What they depend on is added.
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
    // For raw frames from dom0 in the tests of hostile traffic, and for tcpdump.
    "af_packet",
];

impl Store {
    /// The default.
    pub(crate) const DEFAULT: Store = Store::Xenstored;

    /// Returns the program's name.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Store::Xenstored => "xenstored",
            Store::Oxenstored => "oxenstored",
        }
    }
}

impl XenVersion {
    /// The default: the one release on which every scenario can run.
    pub(crate) const DEFAULT: XenVersion = XenVersion::V4_14;

    /// Returns the packages of this release.
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
