//! The table of requests: their order, their deadlines, and who waits.
//!
//! A request has two lives that end independently: on the wire (waiting,
//! in flight, gone) and with the future that asked for it. Its encoded form
//! is kept until its reply came, so that a resumed guest can send it again.

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
/// How long the reply to a request that nobody waits for any more is still
/// recognised, to tidy up after it.
pub(super) const LATE_REPLY_LIFE: Duration = Duration::from_secs(60);
/// Requests sent and not answered. xenstored stops reading from a domain that
/// has 20 replies outstanding (its `quota-req-outstanding`).
pub(super) const MAX_IN_FLIGHT: usize = 16;
/// Requests that wait to be sent.
pub(super) const MAX_WAITING: usize = 256;

/// What a request's future gets: the reply's payload.
pub(super) type Reply = Result<Vec<u8>, StoreError>;

/// All requests whose two lives have not both ended.
#[derive(Default)]
pub(super) struct Requests {
    last_id: u32,
    table: BTreeMap<u32, Request>,
    waiting: VecDeque<u32>,
    sending: Option<Sending>,
    in_flight: usize,
    /// No further message is begun.
    held: bool,
}

struct Request {
    operation: Operation,
    /// 0 for none.
    transaction: u32,
    message: Rc<[u8]>,
    wire: Wire,
    waiter: Waiter,
    /// When the waiter gets [`StoreError::Timeout`], or, once there is none,
    /// when the request is forgotten. `None` until the next [`Requests::advance`].
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Waiting,
    InFlight,
    Gone,
}

/// Who waits for a reply.
pub(super) enum Waiter {
    /// A future; its waker once it was polled.
    Pending(Option<Waker>),
    /// A future that has not looked yet.
    Ready(Reply),
    /// Nobody any more.
    Left,
    /// Nobody from the beginning.
    Never,
}

/// The message that is on its way into the ring; once begun, it must be
/// finished, whatever becomes of its request.
struct Sending {
    message: Rc<[u8]>,
    sent: usize,
}

/// A reply that nobody waits for any more, and the operation that it answers.
pub(super) type Untaken = (Operation, Reply);

impl Request {
    /// Gives the reply to who waits for it, or back where nobody does any more.
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

    /// Whether both of its lives have ended.
    fn is_over(&self) -> bool {
        self.wire == Wire::Gone && matches!(self.waiter, Waiter::Left | Waiter::Never)
    }
}

impl Requests {
    /// Whether as many requests wait as may.
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

    /// The next id that no request bears; 0 is that of watch events. Counting
    /// on through 2^32 keeps an id from coming back soon.
    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.table.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The reply to a request, once; the request is over for its waiter then.
    pub(super) fn poll_reply(
        &mut self,
        id: u32,
        waker: &Waker,
        wakers: &mut Wakers,
    ) -> Poll<Reply> {
        let Some(request) = self.table.get_mut(&id) else {
            // Polled again after it was ready: a future may stay silent then.
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
            // Left by a time-out: as above.
            Waiter::Left | Waiter::Never => Poll::Pending,
        }
    }

    /// The request's future is gone. What was not sent yet never will be. A
    /// reply that was there and not taken comes back.
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

    /// Nobody wants this request any more. If it still waits it is taken
    /// back; but a transaction must end, so its commit becomes a discard.
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

    /// Takes a request off the queue or out of flight.
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

    /// Lets deadlines pass, and gives new requests theirs. Returns how many
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

    /// When [`Requests::advance`] is to be called next, if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.table
            .values()
            .filter(|request| {
                request.wire == Wire::InFlight || matches!(request.waiter, Waiter::Pending(_))
            })
            .filter_map(|request| request.deadline)
            .min()
    }

    /// The bytes to put into the ring next; [`Requests::sent`] says how many went.
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

    /// This many bytes of [`Requests::outgoing`] are in the ring.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(sending) = &mut self.sending {
            sending.sent += bytes;
            if sending.sent >= sending.message.len() {
                self.sending = None;
            }
        }
    }

    /// Begins no further message.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Ends [`Requests::hold`].
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Whether nothing is being sent and nothing unanswered that anybody
    /// waits for.
    pub(super) fn is_quiet(&self) -> bool {
        self.sending.is_none() && self.in_flight == 0
    }

    /// Everything begins anew with another xenstored: what was sent and not
    /// answered waits to be sent again, in the old order and before the rest.
    /// The deadlines begin anew too. Requests of a transaction, which the new
    /// xenstored does not know, are answered with [`StoreError::Again`]; those
    /// that only end something are dropped with what they would end.
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
        // In flight they have the order in which they were queued, which is
        // that of their ids as long as those do not wrap.
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
                // The table of watches is sent as a whole.
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

    /// Queues a `WATCH` that was there before a [`Requests::renew`], ahead of
    /// everything else.
    pub(super) fn resend_watch(&mut self, payload: &[u8]) {
        match self.enqueue(Operation::Watch, 0, &[payload], Waiter::Never) {
            // The newest is the last.
            Ok(_) => self.waiting.rotate_right(1),
            Err(_) => bug::report("a watch that was set before is too long now"),
        }
    }

    /// What the request with this id asked for, while its reply may come.
    pub(super) fn in_flight(&self, id: u32) -> Option<Operation> {
        let request = self.table.get(&id)?;
        (request.wire == Wire::InFlight).then_some(request.operation)
    }

    /// The reply to a request in flight; it comes back where nobody waits for
    /// it any more.
    pub(super) fn answer(&mut self, id: u32, reply: Reply, wakers: &mut Wakers) -> Option<Untaken> {
        let untaken = self.table.get_mut(&id)?.resolve(reply, wakers);
        self.leave_wire(id);
        self.remove_if_over(id);
        untaken
    }

    /// Nothing can be sent or answered any more.
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
