//! QEMU's command line: Xen as the multiboot kernel, dom0's kernel and root as its modules.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use labkit::protocol::REPORT_DEVICE;

use crate::base::Base;
use crate::packages::Store;

/// Xen's own options.
///
/// `eager-fpu`: QEMU's software emulation (seen with 7.2) does not raise #NM for every SSE
/// instruction while CR0.TS is set. Xen's lazy switching, its default on AMD processors, then leaks
/// vector registers from one domain into another: 16-byte runs of wrong data in dom0's programs and
/// in guests.
const XEN_OPTIONS: &str = "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=all \
    noreboot=1 spec-ctrl=eager-fpu";

const DOM0_OPTIONS: &str = "console=hvc0 panic=-1 quiet";

/// Destination of the first serial port, which is Xen's and dom0's console.
pub(crate) enum Console {
    /// A file, which gets everything.
    File(PathBuf),
    /// The terminal, for input too.
    Terminal,
}

/// QEMU's name for the network between two machines.
const NETWORK: &str = "between";

/// The kernel option that tells dom0's init on which of two hosts it runs.
const HOST_OPTION: &str = "lab_host";

/// The kernel option that tells dom0's init which xenstored to start.
const STORE_OPTION: &str = "lab_store";

/// A machine's end of a network of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The machine's name, by which dom0's init and the agent know it.
    pub(crate) host: &'static str,
    /// The last byte of its card's MAC address.
    pub(crate) mac: u8,
}

/// One virtual machine.
pub(crate) struct Machine<'a> {
    /// QEMU, hypervisor and kernel.
    pub(crate) base: &'a Base,
    /// dom0's root.
    pub(crate) root: &'a Path,
    /// The machine's memory in MiB.
    pub(crate) memory_mib: u32,
    /// dom0's share of it in MiB.
    pub(crate) dom0_mib: u32,
    /// Whether to count each instruction as a nanosecond and to skip idle time.
    pub(crate) virtual_time: bool,
    /// The program that serves the xenstore.
    pub(crate) store: Store,
    /// The first serial port.
    pub(crate) console: Console,
    /// The file for the agent's report.
    pub(crate) report: Option<&'a Path>,
    /// The wire to another machine: a connected socket, which is QEMU's standard input.
    pub(crate) link: Option<Link>,
}

impl Machine<'_> {
    /// Returns the command that runs the machine until it powers off.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.base.emulator().command();
        command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
        command.args(["-display", "none", "-smp", "1"]);
        command.args(["-cpu", self.base.emulator().processor()]);
        if self.virtual_time {
            command.args([
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=off",
            ]);
        } else {
            command.args(["-accel", "tcg,thread=multi"]);
        }
        command.arg("-m").arg(self.memory_mib.to_string());
        match &self.console {
            Console::File(path) => {
                command.arg("-serial").arg(option("file:", path));
            }
            Console::Terminal => {
                command.args(["-serial", "mon:stdio"]);
            }
        }
        if let Some(path) = self.report {
            let name = REPORT_DEVICE.trim_start_matches("/dev/");
            command
                .arg("-chardev")
                .arg(option("file,id=report,path=", path));
            command.args(["-device", "virtio-serial-pci", "-device"]);
            command.arg(format!("virtserialport,chardev=report,name={name}"));
        }
        if let Some(link) = self.link {
            // An inherited socket has no name that could be too long, stale or missing.
            command.arg("-netdev").arg(format!(
                "stream,id={NETWORK},server=off,addr.type=fd,addr.str=0"
            ));
            // No boot ROM: nothing is booted from the other machine.
            command.arg("-device").arg(format!(
                "virtio-net-pci,netdev={NETWORK},mac=52:54:00:ca:00:{:02x},romfile=",
                link.mac
            ));
        }
        command.arg("-kernel").arg(self.base.xen());
        command.arg("-append").arg(format!(
            "{XEN_OPTIONS} dom0_mem={0}M,max:{0}M",
            self.dom0_mib
        ));
        let mut modules = escaped(&self.base.kernel());
        modules.push(" ");
        modules.push(DOM0_OPTIONS);
        modules.push(format!(" {STORE_OPTION}={}", self.store.program()));
        if let Some(link) = self.link {
            modules.push(format!(" {HOST_OPTION}={}", link.host));
        }
        modules.push(",");
        modules.push(escaped(self.root));
        command.arg("-initrd").arg(modules);
        command
    }
}

/// Returns `prefix` followed by `path`, with commas escaped for QEMU.
fn option(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(escaped(path));
    text
}

fn escaped(path: &Path) -> OsString {
    path.to_string_lossy().replace(',', ",,").into()
}
