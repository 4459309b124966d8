//! What the channel needs of the world, on Xen: the kernel's grants, mappings
//! and event channels in types of this crate's own, because neither they nor
//! the traits are.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};

use kernel::event::{ChannelStatus, EventChannel, EventError};
use kernel::grant::{self, Access, GrantError, GrantedRegion};
use kernel::{lifecycle, random, time};
use vmc::memory::Memory;
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

/// Pages of this guest that a peer may map.
#[derive(Debug)]
pub(crate) struct Region(GrantedRegion);

/// Pages of a peer, mapped here.
#[derive(Debug)]
pub(crate) struct Mapping(grant::Mapping);

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

macro_rules! memory {
    ($($type:ty),+) => {
        $(impl Memory for $type {
            fn len(&self) -> usize {
                self.0.len()
            }

            fn read(&self, offset: usize, into: &mut [u8]) {
                self.0.read(offset, into);
            }

            fn write(&self, offset: usize, from: &[u8]) {
                self.0.write(offset, from);
            }

            fn load(&self, offset: usize) -> u64 {
                self.0.load_u64(offset, Ordering::Acquire)
            }

            fn store(&self, offset: usize, value: u64) {
                self.0.store_u64(offset, value, Ordering::Release);
            }

            fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
                self.0.fetch_or_u64(offset, bits)
            }

            fn swap(&self, offset: usize, value: u64) -> u64 {
                self.0.swap_u64(offset, value)
            }

            fn fence(&self) {
                self.0.fence();
            }
        })+
    };
}

memory!(Region, Mapping);

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
    type Region = Region;
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
    fn grant(&mut self, peer: DomId, pages: usize) -> Result<Region, PlatformError> {
        GrantedRegion::new(peer, pages)
            .map(Region)
            .map_err(of_grant)
    }

    fn references(&self, region: &Region, into: &mut Vec<u32>) {
        // A region that is stale or half revoked has none to give.
        into.extend_from_slice(region.0.references().unwrap_or_default());
    }

    fn revoke(&mut self, region: Region) -> Result<(), Region> {
        region.0.revoke().map_err(Region)
    }

    fn map(&mut self, peer: DomId, references: &[u32]) -> Result<Mapping, PlatformError> {
        grant::Mapping::new(peer, references, Access::ReadWrite)
            .map(Mapping)
            .map_err(of_grant)
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
