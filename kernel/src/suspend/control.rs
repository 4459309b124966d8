//! Receives the request for a suspend and carries it out.

use super::notice;
use super::witness::Witness;
use crate::backoff::persist;
use crate::domain::{self, DomId};
use crate::event::{self, ChannelStatus, EventChannel, EventError};
use crate::lifecycle::{Asked, Lifecycle, Outcome, Phase, parts, timing};
use crate::platform::{self, Returned};
use crate::trace::{self, Event};
use crate::xenstore::{StoreError, Xenstore};
use crate::{grant, task, time};
use alloc::rc::Rc;
use core::convert::Infallible;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

/// The node that names the suspend event channel
/// (docs/misc/xenstore-paths.pandoc).
const CHANNEL_NODE: &str = "device/suspend/event-channel";

/// How long the parts may take to settle. The toolstack waits for a minute (`libxl_dom_suspend.c`);
/// a suspend after that would stop the domain with no toolstack left to resume it. A suspend whose
/// parts take longer than this limit is therefore abandoned.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// How often to check whether the parts have settled.
const SETTLE_INTERVAL: Duration = Duration::from_micros(500);

/// Whether a suspend is in progress.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Returns whether the domain's memory, and with it the p2m, may change. It must not between the
/// early notice and the resume, while the toolstack reads it.
pub(crate) fn may_change_memory() -> bool {
    !BUSY.load(Ordering::Relaxed) && !notice::is_given()
}

/// Offers the suspend event channel and serves it, anew in each new domain, for ever.
pub(crate) async fn serve(store: Xenstore) -> Infallible {
    loop {
        let offered = persist("lifecycle", time::sleep, async || offer(&store).await);
        serve_channel(&offered.await).await;
    }
}

/// Why the suspend event channel cannot be offered yet.
enum Unoffered {
    /// xenstore fails, or does not tell the domain's number.
    Store(StoreError),
    /// There is no channel.
    Event(EventError),
}

impl fmt::Display for Unoffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the suspend event channel is not offered: {error}"),
            Self::Event(error) => error.fmt(f),
        }
    }
}

/// Learns the domain's number, allocates the channel and publishes its port in xenstore.
async fn offer(store: &Xenstore) -> Result<EventChannel, Unoffered> {
    /// The domain that the toolstack runs in.
    const TOOLSTACK: DomId = 0;
    let domid = read_domid(store).await.map_err(Unoffered::Store)?;
    if domain::domid() != domid {
        domain::identify(domid);
        trace::record(Event::Domain(domid));
        for part in parts() {
            part.identified();
        }
    }
    timing::reached(Phase::StoreUp);
    let channel = EventChannel::alloc_unbound(TOOLSTACK).map_err(Unoffered::Event)?;
    let port = channel.port().map_err(Unoffered::Event)?;
    match store.write(CHANNEL_NODE, alloc::format!("{port}")).await {
        Ok(()) => notice::watch(port),
        // The request will come through `control/shutdown` instead.
        Err(error @ (StoreError::Denied | StoreError::NotFound)) => {
            log::info!("lifecycle: {CHANNEL_NODE} not set: {error}");
        }
        Err(error) => return Err(Unoffered::Store(error)),
    }
    Ok(channel)
}

/// Reads the domain's own number.
async fn read_domid(store: &Xenstore) -> Result<DomId, StoreError> {
    let text = store.read("domid").await?;
    text.parse().map_err(|_| StoreError::Invalid)
}

/// Serves the channel until it ends with its domain.
async fn serve_channel(channel: &EventChannel) {
    while channel.wait().await.is_ok() {
        // Only a toolstack that has bound the channel waits for the suspend; without one, nothing
        // would resume the domain.
        match channel.status() {
            Ok(ChannelStatus::Connected) => suspend(Asked::EventChannel).await,
            Ok(_) => log::warn!("lifecycle: an event without a toolstack was ignored"),
            Err(_) => return,
        }
    }
}

/// Suspends the domain; returns when it continues, here or elsewhere.
pub(crate) async fn suspend(asked: Asked) {
    if BUSY.swap(true, Ordering::Relaxed) {
        log::warn!("lifecycle: a second request, by {asked}, was ignored");
        return;
    }
    timing::begin(asked);
    if settle().await {
        timing::reached(Phase::Settled);
        stop_and_go_on();
    } else {
        trace::record(Event::Abandoned);
        resume(Outcome::Cancelled);
        timing::end(Outcome::Cancelled, Duration::ZERO);
    }
    BUSY.store(false, Ordering::Relaxed);
}

/// Lets every part say goodbye to its peers before the domain ends, for a second at most.
pub(crate) async fn end() {
    for part in parts().iter().rev() {
        part.end();
    }
    if let Err(part) = settled().await {
        log::warn!(
            "lifecycle: {} was not done when the domain ended",
            part.name()
        );
    }
}

/// Lets every part finish what is in progress; returns false if one does not in time.
async fn settle() -> bool {
    for part in parts().iter().rev() {
        part.settle();
    }
    match settled().await {
        Ok(()) => true,
        Err(part) => {
            log::error!(
                "lifecycle: not suspended, {} did not settle within {SETTLE_LIMIT:?}",
                part.name()
            );
            false
        }
    }
}

/// Waits until all parts have settled.
///
/// # Errors
/// A part that has not settled in time.
async fn settled() -> Result<(), Rc<dyn Lifecycle>> {
    let deadline = time::now() + SETTLE_LIMIT;
    // Bytes in transit need at least one turn of the ring's task.
    loop {
        let Some(part) = parts().into_iter().find(|part| !part.is_settled()) else {
            return Ok(());
        };
        if time::now() >= deadline {
            return Err(part);
        }
        task::yield_now().await;
        if !part.is_settled() {
            time::sleep(SETTLE_INTERVAL).await;
        }
    }
}

/// Does everything between the last task before the suspend and the first one after it.
fn stop_and_go_on() {
    grant::gather_mappings();
    for part in parts().iter().rev() {
        part.quiesce();
    }
    timing::reached(Phase::Quiesced);
    let left = time::unix_time();
    timing::leave();
    let witness = Witness::choose();
    let returned = platform::suspend(|builder| witness.exists_beside(builder));
    timing::come_back();
    let away = time::unix_time().saturating_sub(left);
    time::add_away(away);
    let outcome = match returned {
        Returned::Cancelled => Outcome::Cancelled,
        Returned::NewDomain(ports) => {
            domain::become_another();
            notice::forget_channel();
            event::renew(ports.console, ports.store);
            Outcome::NewDomain
        }
    };
    resume(outcome);
    timing::end(outcome, away);
}

/// Resumes the clock, and then every part.
fn resume(outcome: Outcome) {
    time::resume();
    timing::reached(Phase::Return);
    for part in parts() {
        part.resume(outcome);
    }
}
