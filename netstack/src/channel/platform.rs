//! What the channel needs of the world, on Xen: the kernel's grants, mappings
//! and event channels.

use alloc::vec::Vec;
use core::task::{Context, Poll};

use kernel::event::{ChannelStatus, EventChannel, EventError};
use kernel::grant::{Access, GrantError, GrantedRegion, Mapping};
use kernel::{lifecycle, random, time};
use vmc::platform::{DomId, Instant, Platform, PlatformError, PortState};

/// The hypervisor that this guest runs on.
#[derive(Debug, Default)]
pub(crate) struct Xen;

impl Xen {
    /// There is one.
    pub(crate) const fn new() -> Self {
        Self
    }
}

/// One end of an event channel.
#[derive(Debug)]
pub(crate) struct Port(EventChannel);

impl Port {
    /// Takes the event that waits on this port; where there is none, the task
    /// is woken by the next one. A stale port never has one.
    pub(crate) fn poll_event(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.0.poll_wait(context) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

fn of_grant(error: GrantError) -> PlatformError {
    match error {
        GrantError::OutOfMemory | GrantError::FrameTooHigh => PlatformError::NoMemory,
        GrantError::TableFull | GrantError::WindowFull => PlatformError::NoRoom,
        GrantError::Ending | GrantError::Stale | GrantError::Refused(_) | GrantError::Status(_) => {
            PlatformError::Refused
        }
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

    /// The run loop's time: the channel's timers are in milliseconds, and a
    /// reading of the counter can be a trap into Xen.
    fn now(&self) -> Instant {
        Instant(time::turn().as_nanos())
    }

    fn random(&mut self, bytes: &mut [u8]) {
        random::fill(bytes);
    }

    /// From the frame pool, which asks Xen for more where it may: not between
    /// an early notice and the resume.
    fn grant(&mut self, peer: DomId, pages: usize) -> Result<GrantedRegion, PlatformError> {
        GrantedRegion::new(peer, pages).map_err(of_grant)
    }

    fn references(&self, region: &GrantedRegion, into: &mut Vec<u32>) {
        // A region that is stale or half revoked has none to give.
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
