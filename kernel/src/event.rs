//! Event channels (`xen/include/public/event_channel.h`).
//!
//! Events are never delivered as upcalls. The run loop checks the pending bits between tasks, and
//! an idle guest polls the ports that tasks wait on ([`block`]).

mod table;

pub use table::MAX_CHANNELS;
pub(crate) use table::Origin;

use crate::bug;
use crate::domain::{self, DomId, Generation};
use crate::hypercall::{Refused, event_channel_op, sched_op};
use crate::shared_info::shared_info;
use crate::vcpu_cell::VcpuCell;
use core::fmt;
use core::future::poll_fn;
use core::mem::MaybeUninit;
use core::task::{Context, Poll};
use table::{Slot, Table};
use xen_sys::abi;

/// Why an operation on an event channel failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventError {
    /// This guest has [`MAX_CHANNELS`] channels already.
    TooMany,
    /// The channel belonged to the domain that this guest was before it was restored or migrated,
    /// and ended with it.
    Stale,
    /// Xen refused.
    Refused(Refused),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "all {MAX_CHANNELS} event channels are in use"),
            Self::Stale => f.write_str("the event channel ended with a migration"),
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

/// The state of a channel as Xen reports it (`EVTCHNOP_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelStatus {
    /// Allocated; the other side has not bound it, or has closed its end.
    Unbound,
    /// Connected to a port of another domain.
    Connected,
    /// Anything else: not a channel between domains.
    Other,
}

static TABLE: VcpuCell<Table> = VcpuCell::new(Table::new());

/// One end of an event channel; closed when dropped.
///
/// A channel made by this guest ends when the guest becomes another domain: every use fails with
/// [`EventError::Stale`] from then on.
#[derive(Debug)]
pub struct EventChannel {
    slot: usize,
    /// The generation of the domain it belongs to; `None` for the channels that the domain builder
    /// makes anew.
    generation: Option<Generation>,
}

impl EventChannel {
    /// Allocates a channel that domain `remote` can bind.
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
        Self::adopt(argument.port, Origin::Own).inspect_err(|_| close(argument.port))
    }

    /// Binds the channel that domain `remote` allocated for us as its `port`.
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
        Self::adopt(argument.local_port, Origin::Own).inspect_err(|_| close(argument.local_port))
    }

    /// Takes over an open port, whether this guest or the domain builder made it.
    pub(crate) fn adopt(port: u32, origin: Origin) -> Result<Self, EventError> {
        let mut table = TABLE.borrow();
        let slot = table
            .slots
            .iter()
            .position(Option::is_none)
            .ok_or(EventError::TooMany)?;
        table.slots[slot] = Some(Slot {
            port,
            waker: None,
            origin,
        });
        Ok(Self {
            slot,
            generation: (origin == Origin::Own).then(domain::generation),
        })
    }

    /// Returns the local port number, which the other side binds.
    ///
    /// # Errors
    /// [`EventError::Stale`].
    pub fn port(&self) -> Result<u32, EventError> {
        if self
            .generation
            .is_some_and(|generation| generation != domain::generation())
        {
            return Err(EventError::Stale);
        }
        TABLE.borrow().slots[self.slot]
            .as_ref()
            .map(|slot| slot.port)
            .ok_or(EventError::Stale)
    }

    /// Notifies the other side. If its end is gone, nothing happens.
    ///
    /// # Errors
    /// [`EventError::Stale`].
    pub fn notify(&self) -> Result<(), EventError> {
        notify(self.port()?);
        Ok(())
    }

    /// Takes the pending event; returns whether there was one.
    ///
    /// # Errors
    /// [`EventError::Stale`].
    pub fn take_pending(&self) -> Result<bool, EventError> {
        Ok(shared_info().take_pending(self.port()?))
    }

    /// Waits for an event and takes it. Check the ring afterwards: anything later raises a new
    /// event. Only one task at a time may wait.
    ///
    /// # Errors
    /// [`EventError::Stale`], as soon as the channel ends.
    pub async fn wait(&self) -> Result<(), EventError> {
        poll_fn(|context| self.poll_wait(context)).await
    }

    /// Polls for an event and takes it: [`wait`](Self::wait) for a task that waits on several
    /// channels.
    ///
    /// # Errors
    /// [`EventError::Stale`].
    pub fn poll_wait(&self, context: &mut Context<'_>) -> Poll<Result<(), EventError>> {
        match self.take_pending() {
            Ok(true) => return Poll::Ready(Ok(())),
            Ok(false) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        let mut table = TABLE.borrow();
        let slot = table.slots[self.slot].as_ref();
        let waits = slot.and_then(|slot| slot.waker.as_ref());
        if !waits.is_some_and(|waker| waker.will_wake(context.waker())) {
            let former = table.replace_waker(self.slot, Some(context.waker().clone()));
            // Dropping a waker can end a task, and other channels with it.
            drop(table);
            drop(former);
        }
        Poll::Pending
    }

    /// Asks Xen for the state of the channel.
    ///
    /// # Errors
    /// [`EventError::Stale`], [`EventError::Refused`].
    pub fn status(&self) -> Result<ChannelStatus, EventError> {
        status(self.port()?)
    }
}

/// Asks Xen for the state of `port`.
pub(crate) fn status(port: u32) -> Result<ChannelStatus, EventError> {
    let mut argument = abi::evtchn_status {
        dom: abi::DOMID_SELF as DomId,
        port,
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

impl Drop for EventChannel {
    fn drop(&mut self) {
        let Ok(port) = self.port() else { return };
        let slot = TABLE.borrow().vacate(self.slot);
        close(port);
        drop(slot);
    }
}

/// Notifies the other side of `port`, for the panic path, which has no [`EventChannel`].
pub(crate) fn notify(port: u32) {
    let mut argument = abi::evtchn_send { port };
    // SAFETY: the structure of this command. An error means that the other end is gone, which the
    // owner of the channel learns by other means.
    let _ = unsafe { event_channel_op(abi::EVTCHNOP_send, &raw mut argument) };
}

fn close(port: u32) {
    let mut argument = abi::evtchn_close { port };
    // SAFETY: the structure of this command.
    let closed = unsafe { event_channel_op(abi::EVTCHNOP_close, &raw mut argument) };
    if closed.is_err() {
        // Xen refuses only a port that is not ours.
        bug::report("an event channel was closed twice");
    }
    shared_info().take_pending(port);
}

/// Wakes the tasks whose ports have a pending event.
pub(crate) fn dispatch() {
    let mut from = 0;
    loop {
        // The table is not borrowed while a task is woken, which may borrow it again.
        let waker = {
            let mut table = TABLE.borrow();
            let Some((index, slot)) = table.next_waiting(from) else {
                return;
            };
            from = index + 1;
            if !shared_info().is_pending(slot.port) {
                continue;
            }
            table.replace_waker(index, None)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Returns the number of channels in use.
#[must_use]
pub fn in_use() -> usize {
    TABLE.borrow().slots.iter().flatten().count()
}

/// Returns a port made by this guest, if there is one.
pub(crate) fn own_port() -> Option<u32> {
    let table = TABLE.borrow();
    let mut slots = table.slots.iter().flatten();
    slots
        .find(|slot| slot.origin == Origin::Own)
        .map(|slot| slot.port)
}

/// Renews the table in a new domain. The channels made by this guest are gone; tasks that wait on
/// one are woken to see that it is stale. The console's and xenstore's channels get their new
/// ports.
pub(crate) fn renew(console_port: u32, store_port: u32) {
    for index in 0..MAX_CHANNELS {
        let gone = {
            let mut table = TABLE.borrow();
            match table.slots[index].as_mut().map(|slot| (slot.origin, slot)) {
                Some((Origin::Own, _)) => table.vacate(index),
                Some((Origin::Console, slot)) => {
                    slot.port = console_port;
                    None
                }
                Some((Origin::Store, slot)) => {
                    slot.port = store_port;
                    None
                }
                None => None,
            }
        };
        if let Some(waker) = gone.and_then(|slot| slot.waker) {
            waker.wake();
        }
    }
}

/// Blocks the vCPU until an event arrives on a port that a task waits on, or until `deadline`, in
/// nanoseconds of Xen's system time.
pub(crate) fn block(deadline: Option<u64>) {
    let mut ports = [const { MaybeUninit::<u32>::uninit() }; MAX_CHANNELS];
    let mut count = 0;
    let mut from = 0;
    let table = TABLE.borrow();
    while let Some((index, slot)) = table.next_waiting(from) {
        ports[count].write(slot.port);
        count += 1;
        from = index + 1;
    }
    drop(table);
    let argument = abi::sched_poll {
        ports: abi::__guest_handle_evtchn_port_t {
            p: ports.as_mut_ptr().cast(),
        },
        nr_ports: count as u32,
        timeout: deadline.map_or(0, |nanos| nanos.max(1)),
    };
    // Xen checks the pending bits after marking this vCPU as polling, so an event between our check
    // and the call is not missed (`do_poll`). SAFETY: the structure of this command; `ports`
    // outlives the call, and its first `nr_ports` entries are written.
    let polled = unsafe { sched_op(abi::SCHEDOP_poll, &raw const argument) };
    if polled.is_err() {
        bug::report("Xen refused to poll the guest's own ports");
    }
}
