//! Event channels (`xen/include/public/event_channel.h`).
//!
//! Events are never delivered as upcalls: the pending bits are looked at
//! between tasks, and a guest with nothing to do polls the ports that tasks
//! wait on ([`block`]).

use crate::DomId;
use crate::pv::hypercall::{Refused, event_channel_op, sched_op};
use crate::pv::window::shared_info;
use crate::vcpu_cell::VcpuCell;
use core::fmt;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use xen_sys::abi;

/// Most ports of a guest: `SCHEDOP_poll` takes no longer a list.
pub const MAX_CHANNELS: usize = 128;

/// Why an event channel could not be made or asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventError {
    /// This guest has [`MAX_CHANNELS`] channels already.
    TooMany,
    /// Xen refused.
    Refused(Refused),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "all {MAX_CHANNELS} event channels are in use"),
            Self::Refused(error) => write!(f, "Xen refused an event channel: {error}"),
        }
    }
}

impl core::error::Error for EventError {}

impl From<Refused> for EventError {
    fn from(error: Refused) -> Self {
        Self::Refused(error)
    }
}

/// State of a channel as Xen sees it (`EVTCHNOP_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelStatus {
    /// Allocated; the other side has not bound it, or has closed its end.
    Unbound,
    /// Connected to a port of another domain.
    Connected,
    /// Anything else: not a channel between domains.
    Other,
}

struct Slot {
    port: u32,
    waker: Option<Waker>,
}

struct Table {
    slots: [Option<Slot>; MAX_CHANNELS],
}

static TABLE: VcpuCell<Table> = VcpuCell::new(Table {
    slots: [const { None }; MAX_CHANNELS],
});

/// One end of an event channel; closed when dropped.
#[derive(Debug)]
pub struct EventChannel {
    port: u32,
    slot: usize,
}

impl EventChannel {
    /// Makes a channel that `remote` can bind.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn alloc_unbound(remote: DomId) -> Result<Self, EventError> {
        let mut argument = abi::evtchn_alloc_unbound {
            dom: abi::DOMID_SELF as DomId,
            remote_dom: remote,
            port: 0,
        };
        // SAFETY: the structure of this command.
        unsafe { event_channel_op(abi::EVTCHNOP_alloc_unbound, &raw mut argument) }?;
        Self::adopt(argument.port).inspect_err(|_| close(argument.port))
    }

    /// Binds the channel that `remote` made and offered us as `port`.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn bind_interdomain(remote: DomId, port: u32) -> Result<Self, EventError> {
        let mut argument = abi::evtchn_bind_interdomain {
            remote_dom: remote,
            remote_port: port,
            local_port: 0,
        };
        // SAFETY: the structure of this command.
        unsafe { event_channel_op(abi::EVTCHNOP_bind_interdomain, &raw mut argument) }?;
        Self::adopt(argument.local_port).inspect_err(|_| close(argument.local_port))
    }

    /// Takes over a port that the domain builder made.
    pub(crate) fn adopt(port: u32) -> Result<Self, EventError> {
        let mut table = TABLE.borrow();
        let slot = table
            .slots
            .iter()
            .position(Option::is_none)
            .ok_or(EventError::TooMany)?;
        table.slots[slot] = Some(Slot { port, waker: None });
        Ok(Self { port, slot })
    }

    /// The local port number, which the other side binds.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Wakes the other side. A channel whose other end is gone takes the
    /// notification and nothing happens.
    pub fn notify(&self) {
        notify(self.port);
    }

    /// Takes the event that waits, if there is one.
    pub fn take_pending(&self) -> bool {
        shared_info().take_pending(self.port)
    }

    /// Waits for an event and takes it. Look at the ring afterwards: what
    /// happens after that raises a new event. One task at a time may wait.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.take_pending() {
                return Poll::Ready(());
            }
            let waker = Some(context.waker().clone());
            let former = replace_waker(self.slot, waker);
            drop(former);
            Poll::Pending
        })
        .await;
    }

    /// Asks Xen what has become of the channel.
    ///
    /// # Errors
    /// [`EventError::Refused`].
    pub fn status(&self) -> Result<ChannelStatus, EventError> {
        let mut argument = abi::evtchn_status {
            dom: abi::DOMID_SELF as DomId,
            port: self.port,
            status: 0,
            vcpu: 0,
            u: abi::evtchn_status__bindgen_ty_1 { virq: 0 },
        };
        // SAFETY: the structure of this command.
        unsafe { event_channel_op(abi::EVTCHNOP_status, &raw mut argument) }?;
        Ok(match argument.status {
            abi::EVTCHNSTAT_unbound => ChannelStatus::Unbound,
            abi::EVTCHNSTAT_interdomain => ChannelStatus::Connected,
            _ => ChannelStatus::Other,
        })
    }
}

impl Drop for EventChannel {
    fn drop(&mut self) {
        let slot = TABLE.borrow().slots[self.slot].take();
        close(self.port);
        drop(slot);
    }
}

/// Sets the waker of a slot and returns the former one. Dropping a waker can
/// end a task and with it other channels, so that happens with the table free.
fn replace_waker(slot: usize, waker: Option<Waker>) -> Option<Waker> {
    let mut table = TABLE.borrow();
    let slot = table.slots[slot].as_mut()?;
    core::mem::replace(&mut slot.waker, waker)
}

/// Notifies `port`; the panic path has no channel at hand.
pub(crate) fn notify(port: u32) {
    let mut argument = abi::evtchn_send { port };
    // SAFETY: the structure of this command. An error means that the other
    // end is gone, which its owner finds by other means.
    let _ = unsafe { event_channel_op(abi::EVTCHNOP_send, &raw mut argument) };
}

fn close(port: u32) {
    let mut argument = abi::evtchn_close { port };
    // SAFETY: the structure of this command. Xen refuses only a port that is
    // no longer ours, and then there is nothing to close.
    let _ = unsafe { event_channel_op(abi::EVTCHNOP_close, &raw mut argument) };
    shared_info().take_pending(port);
}

/// Wakes the tasks whose events have come.
pub(crate) fn dispatch() {
    for index in 0..MAX_CHANNELS {
        let due = TABLE.borrow().slots[index]
            .as_ref()
            .is_some_and(|slot| slot.waker.is_some() && shared_info().is_pending(slot.port));
        // The table is free again: waking may end in taking it.
        if due && let Some(waker) = replace_waker(index, None) {
            waker.wake();
        }
    }
}

/// Gives the processor away until an event comes on a port that a task waits
/// on, or until `deadline` in nanoseconds of Xen's system time.
pub(crate) fn block(deadline: Option<u64>) {
    let mut ports = [0u32; MAX_CHANNELS];
    let mut count = 0;
    for slot in TABLE.borrow().slots.iter().flatten() {
        if slot.waker.is_some() {
            ports[count] = slot.port;
            count += 1;
        }
    }
    let argument = abi::sched_poll {
        ports: abi::__guest_handle_evtchn_port_t {
            p: ports.as_mut_ptr(),
        },
        nr_ports: count as u32,
        timeout: deadline.map_or(0, |nanos| nanos.max(1)),
    };
    // SAFETY: the structure of this command; `ports` outlives the call. Xen
    // looks at the pending bits after it marked this vCPU as polling, so an
    // event between our look and the call is not missed (`do_poll`).
    let polled = unsafe { sched_op(abi::SCHEDOP_poll, &raw const argument) };
    debug_assert!(polled.is_ok(), "SCHEDOP_poll refused a valid list");
}
