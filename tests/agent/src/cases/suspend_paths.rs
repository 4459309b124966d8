//! The ways into a suspend: how the toolstack asks, and when a guest refuses.

use std::time::Duration;

use anyhow::{Result, bail};
use labkit::domain::lifecycle::Channel;
use labkit::lines;
use labkit::migration::SaveFile;
use labkit::net::ping::reachable;
use labkit::process::{Process, run_ok};
use labkit::survival::healthy;
use labkit::{Case, Deadline, Image, Kind, Lab, Witness};

pub(super) const CASES: &[Case] = &[
    Case::new("suspend_by_xenstore", 150, by_xenstore),
    // The guest is its own peer, which only a PV guest can be.
    Case::new("foreign_page_is_refused", 90, foreign_page).only(Kind::Pv),
];

/// The limit of the xenstore tools.
const TOOL_LIMIT: Duration = Duration::from_secs(30);

/// The node of the guest's suspend event channel, below its own directory.
const CHANNEL_NODE: &str = "device/suspend/event-channel";

/// Without the suspend event channel libxl asks through `control/shutdown`, and waits until the
/// guest has emptied that node (libxl_dom_suspend.c:domain_suspend_common_pvcontrol_suspending).
fn by_xenstore(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let mut witness = Witness::of(&domain)?;
    for checkpoint in [true, false] {
        let node = format!("/local/domain/{}/{CHANNEL_NODE}", domain.running()?.id);
        run_ok("xenstore-rm", &[&node], TOOL_LIMIT)?;
        let file = SaveFile::fresh();
        domain.save(&file, checkpoint)?;
        let suspend = if checkpoint {
            witness.stayed()?
        } else {
            domain.restore(&file)?;
            witness.moved()?
        };
        if suspend.channel != Channel::Xenstore {
            bail!("the guest says that it was asked by {:?}", suspend.channel);
        }
        reachable(guest.ip().into(), Deadline::seconds(20))?;
    }
    // In the new domain the guest announces the same as in the old one, and hears the toolstack's
    // next request.
    let domid = domain.running()?.id;
    for node in [CHANNEL_NODE, "control/feature-suspend"] {
        let path = format!("/local/domain/{domid}/{node}");
        let value = run_ok("xenstore-read", &[&path], TOOL_LIMIT)?;
        if !value.trim().parse().is_ok_and(|number: u32| number > 0) {
            bail!("{node} is {value:?}");
        }
    }
    healthy(&domain)?;
    domain.shutdown()?;
    domain.wait_gone(Deadline::seconds(20))?;
    Ok("checkpoint, save and restore, then xl shutdown".into())
}

/// A foreign page that is still mapped at the suspend would silently cost the guest a page table.
/// Instead it panics with a clear message before the hypercall.
fn foreign_page(lab: &Lab) -> Result<String> {
    let guest = lab.guest_with(Image::Selftest, 2, 16, "hold=mapping");
    let domain = guest.start()?;
    let console = domain.console();
    console.wait_for(&lines::SELFTEST_HOLDING, Deadline::seconds(20))?;
    let file = SaveFile::fresh();
    let path = file.path().to_string_lossy();
    let mut save = Process::start_group("xl", &["save", "-c", &domain.name, &path])?;
    let line = console.wait_for(&lines::FOREIGN_PAGE, Deadline::seconds(20))?;
    if !line.contains(lines::PANIC.text) {
        bail!("no panic: {line:?}");
    }
    let entry = domain.wait_ended(Deadline::seconds(20))?;
    if save.ended()?.is_some_and(|status| status.success()) {
        bail!("xl save says that it saved the guest ({})", entry.flags);
    }
    // xl would wait a minute for the crashed guest, and block its removal.
    save.kill_group();
    Ok(format!("{} ({})", line.trim(), entry.flags))
}
