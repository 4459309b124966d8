//! `boot`: one domU from an image, its console in the log, for a number of seconds.

use std::thread::sleep;
use std::time::Duration;

use agent::protocol::IMAGE_FOLDER;
use anyhow::Result;
use serde::Deserialize;

use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::config::{Config, OnEnd};
use crate::domain::list::Entry;
use crate::lab::Lab;

/// How often new console text is passed on and the domain looked for.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// The image's name in the image folder.
    image: String,
    /// The initial ramdisk's name there, or none.
    ramdisk: Option<String>,
    /// Memory in MiB.
    memory_mib: u64,
    /// The command line.
    cmdline: String,
    /// How long to watch, in seconds of dom0.
    seconds: u64,
    /// Whether a crashed domain is kept until the end.
    preserve: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            image: "echo".into(),
            ramdisk: None,
            memory_mib: 16,
            cmdline: "ip=10.0.0.2/24 gw=10.0.0.1".into(),
            seconds: 20,
            preserve: true,
        }
    }
}

pub(super) fn run(lab: &Lab) -> Result<String> {
    let params: Params = lab.params()?;
    let config = Config {
        name: "boot".into(),
        kernel: format!("{IMAGE_FOLDER}/{}", params.image),
        ramdisk: params.ramdisk.map(|name| format!("{IMAGE_FOLDER}/{name}")),
        memory_mib: params.memory_mib,
        cmdline: params.cmdline,
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
        // The row was read first, so the console of an ended domain is complete.
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
    let dmesg = crate::process::run_ok("xl", &["dmesg"], Duration::from_secs(30))?;
    for line in crate::process::tail(&dmesg, 30).lines() {
        lab.report.log(format!("xen| {line}"));
    }
    Ok(end)
}
