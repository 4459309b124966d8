//! `boot`: runs one domU from an image for some seconds, with its console in the log.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use labkit::addresses::{self, DOM0};
use labkit::domain::config::{Config, OnEnd};
use labkit::domain::list::Entry;
use labkit::parameters::ParameterTable;
use labkit::protocol::IMAGE_FOLDER;
use labkit::scenario::Work;
use labkit::{Deadline, Domain, Lab, Scenario};

/// The interval at which new console text is passed on and the domain looked at.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) const SCENARIO: Scenario = Scenario {
    figures: false,
    ..Scenario::new(
        "boot",
        "any image as a domU, with its console (its own command: cargo lab boot --help)",
        ParameterTable::of::<Parameters>(),
        Work::Once(run),
    )
};

labkit::parameters! {
    /// What `boot` can be told.
    struct Parameters {
        /// The image's name in the image folder.
        image: String = "echo".into();
        /// The initial ramdisk's name there.
        ramdisk: Option<String> = None;
        /// Memory in MiB.
        memory_mib: u64 = 16, in 1..=16384;
        /// The command line.
        cmdline: String = format!("ip={}/24 gw={DOM0}", addresses::ipv4(2));
        /// How long to watch it, in seconds of dom0.
        seconds: u64 = 20, in 1..=900;
        /// Whether a domain that has crashed is kept until the end.
        preserve: bool = true;
    }
}

fn run(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    let config = Config {
        kind: lab.job.guest,
        name: "boot".into(),
        kernel: format!("{IMAGE_FOLDER}/{}", params.image),
        ramdisk: params.ramdisk.map(|name| format!("{IMAGE_FOLDER}/{name}")),
        memory_mib: params.memory_mib,
        cmdline: params.cmdline,
        bridge: labkit::addresses::BRIDGE,
        mac: Some(2),
        on_poweroff: OnEnd::Destroy,
        on_reboot: OnEnd::Restart,
        on_crash: if params.preserve {
            OnEnd::Preserve
        } else {
            OnEnd::Destroy
        },
    };
    lab.report.phase(format!("xl create {}", params.image));
    let domain = Domain::create(&config)?;
    lab.report.log(format!(
        "xl create took {} ms",
        domain.create_took.as_millis()
    ));
    let deadline = Deadline::seconds(params.seconds);
    let mut shown = 0;
    let end = loop {
        let over = deadline.passed();
        let entry = domain.entry()?;
        // The row was read first, so the console of a domain that has ended is complete.
        let last = over || entry.as_ref().is_none_or(Entry::ended);
        let (text, next) = domain.console().since(shown, last);
        shown = next;
        for line in text.lines() {
            lab.report.log(format!("boot| {line}"));
        }
        match entry {
            None => break "the domain is gone".to_owned(),
            Some(entry) if entry.ended() => break format!("the domain has ended: {}", entry.flags),
            Some(entry) if over => break format!("the domain runs: {}", entry.flags),
            Some(_) => sleep(PAUSE.min(deadline.socket_timeout())),
        }
    };
    let dmesg = labkit::process::run_ok("xl", &["dmesg"], Duration::from_secs(30))?;
    for line in labkit::process::tail(&dmesg, 30).lines() {
        lab.report.log(format!("xen| {line}"));
    }
    Ok(end)
}
