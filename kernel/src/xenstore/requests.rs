//! The table of requests: their order, their deadlines, and the tasks that wait for them.
//!
//! A request has two lives that end independently: on the wire (waiting, in flight, gone) and with
//! the future that made it. Its encoded form is kept until its reply has arrived, so that a resumed
//! guest can send it again.

use alloc::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    vec::Vec,
};
use core::{
    task::{Poll, Waker},
    time::Duration,
};

use super::{
    error::{ProtocolError, StoreError},
    wakers::Wakers,
    wire::{self, Operation},
};
use crate::bug;
use crate::time::Instant;

/// How long a request may take before it fails with [`StoreError::Timeout`].
pub(super) const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// How long the reply to an abandoned request is still recognised, to clean up after it.
pub(super) const LATE_REPLY_LIFE: Duration = Duration::from_secs(60);
/// Most requests in flight. xenstored stops reading from a domain that has 20 replies outstanding
/// (its `quota-req-outstanding`).
pub(super) const MAX_IN_FLIGHT: usize = 16;
/// Most requests that wait to be sent.
pub(super) const MAX_WAITING: usize = 256;

/// The result of a request's future: the reply's payload.
pub(super) type Reply = Result<Vec<u8>, StoreError>;

/// All requests of which at least one life has not ended.
#[derive(Default)]
pub(super) struct Requests {
    last_id: u32,
    table: BTreeMap<u32, Request>,
    waiting: VecDeque<u32>,
    sending: Option<Sending>,
    in_flight: usize,
    /// Whether no further message is started.
    held: bool,
}

struct Request {
    operation: Operation,
    /// 0 for none.
    transaction: u32,
    message: Rc<[u8]>,
    wire: Wire,
    waiter: Waiter,
    /// When the waiter gets [`StoreError::Timeout`], or, if there is no waiter any more, when the
    /// request is forgotten. `None` until the next [`Requests::advance`].
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Waiting,
    InFlight,
    Gone,
}

/// The party that waits for a reply.
pub(super) enum Waiter {
    /// A future, with its waker once it was polled.
    Pending(Option<Waker>),
    /// A future that has not taken its reply yet.
    Ready(Reply),
    /// None any more: the future is done or gone.
    Left,
    /// None from the start.
    Never,
}

/// The message that is being written into the ring; once started, it must be finished, whatever
/// becomes of its request.
struct Sending {
    message: Rc<[u8]>,
    sent: usize,
}

/// A reply that no future waits for any more, with the operation that it answers.
pub(super) type Untaken = (Operation, Reply);

impl Request {
    /// Passes the reply to its future, or returns it if the future is gone.
    fn resolve(&mut self, reply: Reply, wakers: &mut Wakers) -> Option<Untaken> {
        match &mut self.waiter {
            Waiter::Pending(waker) => {
                wakers.wake(waker.take());
                self.waiter = Waiter::Ready(reply);
                None
            }
            Waiter::Ready(_) | Waiter::Left => Some((self.operation, reply)),
            Waiter::Never => None,
        }
    }

    /// Returns whether both lives have ended.
    fn is_over(&self) -> bool {
        self.wire == Wire::Gone && matches!(self.waiter, Waiter::Left | Waiter::Never)
    }
}

impl Requests {
    /// Returns whether the queue of waiting requests is full.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// Queues a request and returns its id.
    ///
    /// # Errors
    /// [`StoreError::TooLong`].
    pub(super) fn enqueue(
        &mut self,
        operation: Operation,
        transaction: u32,
        parts: &[&[u8]],
        waiter: Waiter,
    ) -> Result<u32, StoreError> {
        let id = self.free_id();
        let request = Request {
            operation,
            transaction,
            message: wire::encode_request(operation, id, transaction, parts)?,
            wire: Wire::Waiting,
            waiter,
            deadline: None,
        };
        self.table.insert(id, request);
        self.waiting.push_back(id);
        Ok(id)
    }

    /// Returns the next id that no request has; 0 is the id of watch events. Counting through all
    /// of 2^32 keeps an id from coming back soon.
    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.table.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Polls for the reply to a request, which is returned once.
    pub(super) fn poll_reply(
        &mut self,
        id: u32,
        waker: &Waker,
        wakers: &mut Wakers,
    ) -> Poll<Reply> {
        let Some(request) = self.table.get_mut(&id) else {
            // Polled again after it was ready: a future need not answer then.
            return Poll::Pending;
        };
        match core::mem::replace(&mut request.waiter, Waiter::Left) {
            Waiter::Pending(mut slot) => {
                wakers.keep(&mut slot, waker);
                request.waiter = Waiter::Pending(slot);
                Poll::Pending
            }
            Waiter::Ready(reply) => {
                self.remove_if_over(id);
                Poll::Ready(reply)
            }
            // Polled again after a timeout: as above.
            Waiter::Left | Waiter::Never => Poll::Pending,
        }
    }

    /// Abandons a request, whose future is gone. If it was not sent yet, it never will be. Returns
    /// the reply if it has arrived and was not taken.
    pub(super) fn abandon(&mut self, id: u32, wakers: &mut Wakers) -> Option<Untaken> {
        let request = self.table.get_mut(&id)?;
        request.deadline = None;
        let operation = request.operation;
        let waiter = core::mem::replace(&mut request.waiter, Waiter::Left);
        self.withdraw(id);
        self.remove_if_over(id);
        match waiter {
            Waiter::Pending(waker) => {
                wakers.discard(waker);
                None
            }
            Waiter::Ready(reply) => Some((operation, reply)),
            Waiter::Left | Waiter::Never => None,
        }
    }

    /// Withdraws an abandoned request if it still waits. A transaction must end, so its commit
    /// becomes a discard instead.
    fn withdraw(&mut self, id: u32) {
        let Some(request) = self.table.get_mut(&id) else {
            return;
        };
        if request.wire != Wire::Waiting {
            return;
        }
        if request.operation == Operation::TransactionEnd {
            request.message = wire::as_discard(&request.message);
        } else {
            self.leave_wire(id);
        }
    }

    /// Ends a request's life on the wire.
    fn leave_wire(&mut self, id: u32) {
        let Some(request) = self.table.get_mut(&id) else {
            bug::report("a xenstore request that is over left the wire");
            return;
        };
        match core::mem::replace(&mut request.wire, Wire::Gone) {
            Wire::Waiting => self.waiting.retain(|waiting| *waiting != id),
            Wire::InFlight => self.in_flight -= 1,
            Wire::Gone => {}
        }
    }

    fn remove_if_over(&mut self, id: u32) {
        if let Some(request) = self.table.get(&id)
            && request.is_over()
        {
            self.table.remove(&id);
        }
    }

    /// Expires requests past their deadline, and sets the deadlines of new ones. Returns how many
    /// requests timed out.
    pub(super) fn advance(&mut self, now: Instant, wakers: &mut Wakers) -> u64 {
        let mut timed_out = Vec::new();
        let mut forgotten = Vec::new();
        for (id, request) in &mut self.table {
            let (life, over) = match request.waiter {
                Waiter::Pending(_) => (REQUEST_DEADLINE, &mut timed_out),
                _ if request.wire == Wire::InFlight => (LATE_REPLY_LIFE, &mut forgotten),
                _ => continue,
            };
            if *request.deadline.get_or_insert(now + life) <= now {
                over.push(*id);
            }
        }
        for id in &timed_out {
            self.withdraw(*id);
            if let Some(request) = self.table.get_mut(id) {
                request.deadline = Some(now + LATE_REPLY_LIFE);
                request.resolve(Err(StoreError::Timeout), wakers);
            }
        }
        for id in forgotten {
            self.leave_wire(id);
            self.remove_if_over(id);
        }
        timed_out.len() as u64
    }

    /// Returns when to call [`Requests::advance`] next, if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.table
            .values()
            .filter(|request| {
                request.wire == Wire::InFlight || matches!(request.waiter, Waiter::Pending(_))
            })
            .filter_map(|request| request.deadline)
            .min()
    }

    /// Returns the bytes to write into the ring next; [`Requests::sent`] tells how many were.
    pub(super) fn outgoing(&mut self) -> Option<&[u8]> {
        if self.sending.is_none() && self.in_flight < MAX_IN_FLIGHT && !self.held {
            let id = self.waiting.pop_front()?;
            let request = self.table.get_mut(&id);
            let request = request.expect("a request leaves the queue before the table");
            request.wire = Wire::InFlight;
            self.in_flight += 1;
            self.sending = Some(Sending {
                message: Rc::clone(&request.message),
                sent: 0,
            });
        }
        let sending = self.sending.as_ref()?;
        Some(&sending.message[sending.sent..])
    }

    /// Records that `bytes` bytes of [`Requests::outgoing`] are in the ring.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(sending) = &mut self.sending {
            sending.sent += bytes;
            if sending.sent >= sending.message.len() {
                self.sending = None;
            }
        }
    }

    /// Starts no further message, until [`Requests::release`].
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Ends [`Requests::hold`].
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Returns whether no message is being sent and no reply is outstanding.
    pub(super) fn is_quiet(&self) -> bool {
        self.sending.is_none() && self.in_flight == 0
    }

    /// Starts over with another xenstored. Requests sent and not answered are queued again, in the
    /// old order and before the rest, with new deadlines. Requests of a transaction, which the new
    /// xenstored does not know, are answered with [`StoreError::Again`]; those that only end
    /// something are dropped, together with what they would end.
    pub(super) fn renew(&mut self, wakers: &mut Wakers) {
        self.held = false;
        self.sending = None;
        self.in_flight = 0;
        let mut again: VecDeque<u32> = VecDeque::new();
        let mut refused = Vec::new();
        let mut order: Vec<u32> = self
            .table
            .iter()
            .filter(|(_, request)| request.wire == Wire::InFlight)
            .map(|(id, _)| *id)
            .collect();
        // Requests in flight are in the order in which they were queued: the order of their ids,
        // counted back from the last one because ids wrap.
        order.sort_unstable_by_key(|id| self.last_id.wrapping_sub(*id));
        order.reverse();
        order.extend(self.waiting.drain(..));
        for id in order {
            let Some(request) = self.table.get_mut(&id) else {
                continue;
            };
            request.deadline = None;
            if matches!(request.waiter, Waiter::Pending(_))
                && request.operation != Operation::Watch
                && request.transaction == 0
            {
                request.wire = Wire::Waiting;
                again.push_back(id);
            } else {
                refused.push(id);
            }
        }
        self.waiting = again;
        for id in refused {
            if let Some(request) = self.table.get_mut(&id) {
                request.wire = Wire::Gone;
                // All watches in the table are set again anyway.
                let reply = if request.operation == Operation::Watch {
                    Ok(b"OK\0".to_vec())
                } else {
                    Err(StoreError::Again)
                };
                request.resolve(reply, wakers);
            }
            self.remove_if_over(id);
        }
    }

    /// Queues the `WATCH` of a watch set before a [`Requests::renew`], ahead of everything else.
    pub(super) fn resend_watch(&mut self, payload: &[u8]) {
        match self.enqueue(Operation::Watch, 0, &[payload], Waiter::Never) {
            // The newest request is last in the queue.
            Ok(_) => self.waiting.rotate_right(1),
            Err(_) => bug::report("a watch that was set before is too long now"),
        }
    }

    /// Returns the operation of request `id`, if it is in flight.
    pub(super) fn in_flight(&self, id: u32) -> Option<Operation> {
        let request = self.table.get(&id)?;
        (request.wire == Wire::InFlight).then_some(request.operation)
    }

    /// Takes the reply to a request in flight; returns it if no future waits for it any more.
    pub(super) fn answer(&mut self, id: u32, reply: Reply, wakers: &mut Wakers) -> Option<Untaken> {
        let untaken = self.table.get_mut(&id)?.resolve(reply, wakers);
        self.leave_wire(id);
        self.remove_if_over(id);
        untaken
    }

    /// Fails all requests: nothing can be sent or answered any more.
    pub(super) fn fail(&mut self, error: ProtocolError, wakers: &mut Wakers) {
        self.waiting.clear();
        self.sending = None;
        self.in_flight = 0;
        for request in self.table.values_mut() {
            request.wire = Wire::Gone;
            request.resolve(Err(error.into()), wakers);
        }
        self.table.retain(|_, request| !request.is_over());
    }
}
