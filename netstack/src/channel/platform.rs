//! What the channel needs of the world: on Xen, the kernel's grants, mappings, event channels and
//! timers.

use alloc::vec::Vec;
use core::future::Future;
use core::task::{Context, Poll};

use kernel::event::{ChannelStatus, EventChannel, EventError};
use kernel::grant::{Access, GrantError, GrantedRegion, Mapping};
use kernel::{lifecycle, random, time};
use vmc::platform::{DomId, Instant, Platform, PlatformError, PortState};

/// What wakes the channel's task: event channels and timers.
pub(crate) trait WakeSources<P: Platform> {
    /// A timer; dropping it gives it up.
    type Sleep: Future<Output = ()> + Unpin;

    /// Takes the event that is pending on `port`. If there is none, the next one wakes the task. A
    /// stale port never has one.
    fn poll_event(&self, port: &P::Port, context: &mut Context<'_>) -> Poll<()>;

    /// Returns a timer that completes at `deadline`, on the clock of [`Platform::now`].
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;
}

/// The hypervisor that this guest runs on.
#[derive(Clone, Copy, Debug)]
pub struct Xen;

/// One end of an event channel.
#[derive(Debug)]
pub struct Port(EventChannel);

impl WakeSources<Self> for Xen {
    type Sleep = time::Sleep;

    fn poll_event(&self, port: &Port, context: &mut Context<'_>) -> Poll<()> {
        match port.0.poll_wait(context) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    fn sleep_until(&self, deadline: Instant) -> time::Sleep {
        time::sleep_until(time::Instant::from_nanos(deadline.0))
    }
}

fn of_grant(error: GrantError) -> PlatformError {
    match error {
        GrantError::OutOfMemory | GrantError::FrameTooHigh => PlatformError::NoMemory,
        GrantError::TableFull | GrantError::WindowFull => PlatformError::NoRoom,
        GrantError::Own
        | GrantError::Ending
        | GrantError::Stale
        | GrantError::Refused(_)
        | GrantError::Status(_) => PlatformError::Refused,
    }
}

fn of_event(error: EventError) -> PlatformError {
    match error {
        EventError::TooMany => PlatformError::NoRoom,
        EventError::Stale | EventError::Refused(_) => PlatformError::Refused,
    }
}

impl Platform for Xen {
    type Region = GrantedRegion;
    type Mapping = Mapping;
    type Port = Port;

    fn domid(&self) -> DomId {
        lifecycle::domid()
    }

    /// The run loop's time: the channel's timers are in milliseconds, and reading the counter can
    /// trap into Xen.
    fn now(&self) -> Instant {
        Instant(time::turn().as_nanos())
    }

    fn random(&mut self, bytes: &mut [u8]) {
        random::fill(bytes);
    }

    /// Takes the pages from the frame pool, which may ask Xen for more, except between an early
    /// notice and the resume.
    fn grant(&mut self, peer: DomId, pages: usize) -> Result<GrantedRegion, PlatformError> {
        GrantedRegion::new(peer, pages).map_err(of_grant)
    }

    fn references(&self, region: &GrantedRegion, into: &mut Vec<u32>) {
        // A region that is stale or half revoked has no references.
        into.extend_from_slice(region.references().unwrap_or_default());
    }

    fn is_stale(&self, region: &GrantedRegion) -> bool {
        region.is_stale()
    }

    fn revoke(&mut self, region: GrantedRegion) -> Result<(), GrantedRegion> {
        region.revoke()
    }

    fn map(&mut self, peer: DomId, references: &[u32]) -> Result<Mapping, PlatformError> {
        Mapping::new(peer, references, Access::ReadWrite).map_err(of_grant)
    }

    fn open_port(&mut self, peer: DomId) -> Result<Port, PlatformError> {
        EventChannel::alloc_unbound(peer)
            .map(Port)
            .map_err(of_event)
    }

    fn bind_port(&mut self, peer: DomId, port: u32) -> Result<Port, PlatformError> {
        EventChannel::bind_interdomain(peer, port)
            .map(Port)
            .map_err(of_event)
    }

    fn port_number(&self, port: &Port) -> u32 {
        port.0.port().unwrap_or(0)
    }

    fn notify(&self, port: &Port) {
        // A stale port has no other end to wake.
        let _ = port.0.notify();
    }

    fn port_state(&self, port: &Port) -> PortState {
        match port.0.status() {
            Ok(ChannelStatus::Connected) => PortState::Connected,
            Ok(ChannelStatus::Unbound) => PortState::Unbound,
            Ok(ChannelStatus::Other) | Err(_) => PortState::Stale,
        }
    }
}
