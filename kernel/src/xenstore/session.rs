//! The protocol without its ring: requests and the replies that belong to
//! them, deadlines, watch events. It takes bytes and the time, and yields
//! bytes and wakers.
//!
//! A request has two lives that end independently: on the wire (waiting,
//! in flight, gone) and with the future that asked for it. Its encoded form
//! is kept until its reply came, so that a resumed guest can send it again.

use alloc::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    string::String,
    vec::Vec,
};
use core::{
    task::{Poll, Waker},
    time::Duration,
};

use xen_sys::abi;

use super::{
    error::{ProtocolError, StoreError},
    statistics::Statistics,
    watches::{Fired, Watches},
    wire::{self, Decoder, Message, Operation},
};
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

/// The connection's state.
#[derive(Default)]
pub(super) struct Session {
    last_id: u32,
    requests: BTreeMap<u32, Request>,
    waiting: VecDeque<u32>,
    sending: Option<Sending>,
    in_flight: usize,
    decoder: Decoder,
    watches: Watches,
    broken: Option<ProtocolError>,
    wakers: Wakers,
    statistics: Statistics,
}

/// Wakers to be woken or dropped when nobody borrows the session any more:
/// either can run a task's code, which may use the session itself.
#[derive(Default)]
pub(super) struct Wakers {
    wake: Vec<Waker>,
    discard: Vec<Waker>,
}

impl Wakers {
    /// Wakes and drops all of them.
    pub(super) fn run(self) {
        drop(self.discard);
        for waker in self.wake {
            waker.wake();
        }
    }

    /// Puts `waker` into `slot`, unless one of the same task is there.
    fn keep(&mut self, slot: &mut Option<Waker>, waker: &Waker) {
        if !slot.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.discard.extend(slot.replace(waker.clone()));
        }
    }
}

struct Request {
    operation: Operation,
    message: Rc<[u8]>,
    wire: Wire,
    waiter: Waiter,
    /// When the waiter gets [`StoreError::Timeout`], or, once there is none,
    /// when the request is forgotten. `None` until the next [`Session::advance`].
    deadline: Option<Instant>,
}

impl Request {
    /// Gives the reply to who waits for it, or back where nobody does.
    fn resolve(&mut self, reply: Reply, wakers: &mut Wakers) -> Option<Reply> {
        let Waiter::Pending(waker) = &mut self.waiter else {
            return Some(reply);
        };
        wakers.wake.extend(waker.take());
        self.waiter = Waiter::Ready(reply);
        None
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Waiting,
    InFlight,
    Gone,
}

enum Waiter {
    Pending(Option<Waker>),
    Ready(Reply),
    Left,
}

/// The message that is on its way into the ring; once begun, it must be
/// finished, whatever becomes of its request.
struct Sending {
    message: Rc<[u8]>,
    sent: usize,
}

impl Session {
    /// Queues a request and returns its id.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], [`StoreError::Busy`], and
    /// [`StoreError::Protocol`] once the connection is unusable.
    pub(super) fn submit(
        &mut self,
        operation: Operation,
        transaction: u32,
        parts: &[&[u8]],
    ) -> Result<u32, StoreError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(StoreError::Busy);
        }
        self.enqueue(operation, transaction, parts, Waiter::Pending(None))
    }

    /// Queues a request whose reply nobody waits for: the end of a watch or
    /// of a transaction. Each ends something that an accepted request began,
    /// so these need no bound of their own.
    pub(super) fn submit_forgotten(
        &mut self,
        operation: Operation,
        transaction: u32,
        parts: &[&[u8]],
    ) {
        // It fails only where the connection is unusable, and then there is
        // nothing left to tidy.
        let _ = self.enqueue(operation, transaction, parts, Waiter::Left);
    }

    fn enqueue(
        &mut self,
        operation: Operation,
        transaction: u32,
        parts: &[&[u8]],
        waiter: Waiter,
    ) -> Result<u32, StoreError> {
        if let Some(error) = self.broken {
            return Err(error.into());
        }
        let id = self.free_id();
        let request = Request {
            operation,
            message: wire::encode_request(operation, id, transaction, parts)?,
            wire: Wire::Waiting,
            waiter,
            deadline: None,
        };
        self.requests.insert(id, request);
        self.waiting.push_back(id);
        Ok(id)
    }

    /// The next id that no request bears; 0 is that of watch events. Counting
    /// on through 2^32 keeps an id from coming back soon.
    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.requests.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The reply to a request, once; the request is over for its waiter then.
    pub(super) fn poll_reply(&mut self, id: u32, waker: &Waker) -> Poll<Reply> {
        let Some(request) = self.requests.get_mut(&id) else {
            return Poll::Ready(Err(ProtocolError::BadReply.into()));
        };
        match &mut request.waiter {
            Waiter::Pending(slot) => {
                self.wakers.keep(slot, waker);
                Poll::Pending
            }
            waiter => {
                let left = core::mem::replace(waiter, Waiter::Left);
                self.remove_if_over(id);
                match left {
                    Waiter::Ready(reply) => Poll::Ready(reply),
                    _ => Poll::Ready(Err(ProtocolError::BadReply.into())),
                }
            }
        }
    }

    /// The request's future is gone. What was not sent yet never will be.
    pub(super) fn abandon(&mut self, id: u32) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.deadline = None;
        let waiter = core::mem::replace(&mut request.waiter, Waiter::Left);
        let operation = request.operation;
        self.withdraw(id);
        match waiter {
            Waiter::Pending(waker) => self.wakers.discard.extend(waker),
            Waiter::Ready(reply) => self.tidy(operation, &reply),
            Waiter::Left => {}
        }
        self.remove_if_over(id);
    }

    /// Nobody wants this request any more. If it still waits it is taken
    /// back; but a transaction must end, so its commit becomes a discard.
    fn withdraw(&mut self, id: u32) {
        let Some(request) = self.requests.get_mut(&id) else {
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

    fn remove_if_over(&mut self, id: u32) {
        if let Some(request) = self.requests.get(&id)
            && request.wire == Wire::Gone
            && matches!(request.waiter, Waiter::Left)
        {
            self.requests.remove(&id);
        }
    }

    /// A reply that nobody took: a transaction that it opened must be closed,
    /// because a domain has only ten of them.
    fn tidy(&mut self, operation: Operation, reply: &Reply) {
        if operation == Operation::TransactionStart
            && let Ok(payload) = reply
            && let Ok(transaction) = parse_transaction(payload)
        {
            self.submit_forgotten(Operation::TransactionEnd, transaction, &[b"F\0"]);
        }
    }

    /// Lets deadlines pass, and gives new requests theirs.
    pub(super) fn advance(&mut self, now: Instant) {
        let mut timed_out = Vec::new();
        let mut forgotten = Vec::new();
        for (id, request) in &mut self.requests {
            let (life, over) = match request.waiter {
                Waiter::Pending(_) => (REQUEST_DEADLINE, &mut timed_out),
                _ if request.wire == Wire::InFlight => (LATE_REPLY_LIFE, &mut forgotten),
                _ => continue,
            };
            if *request.deadline.get_or_insert(now + life) <= now {
                over.push(*id);
            }
        }
        for id in timed_out {
            self.statistics.timeouts += 1;
            self.withdraw(id);
            if let Some(request) = self.requests.get_mut(&id) {
                request.deadline = Some(now + LATE_REPLY_LIFE);
                request.resolve(Err(StoreError::Timeout), &mut self.wakers);
            }
        }
        for id in forgotten {
            self.leave_wire(id);
            self.remove_if_over(id);
        }
    }

    /// Takes a request off the queue or out of flight.
    fn leave_wire(&mut self, id: u32) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        match core::mem::replace(&mut request.wire, Wire::Gone) {
            Wire::Waiting => self.waiting.retain(|waiting| *waiting != id),
            Wire::InFlight => self.in_flight -= 1,
            Wire::Gone => {}
        }
    }

    /// When [`Session::advance`] is to be called next, if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.requests
            .values()
            .filter(|request| {
                request.wire == Wire::InFlight || matches!(request.waiter, Waiter::Pending(_))
            })
            .filter_map(|request| request.deadline)
            .min()
    }

    /// The bytes to put into the ring next; [`Session::sent`] says how many went.
    pub(super) fn outgoing(&mut self) -> Option<&[u8]> {
        if self.sending.is_none() && self.in_flight < MAX_IN_FLIGHT {
            let id = self.waiting.pop_front()?;
            let request = self.requests.get_mut(&id)?;
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

    /// This many bytes of [`Session::outgoing`] are in the ring.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(sending) = &mut self.sending {
            sending.sent += bytes;
            if sending.sent >= sending.message.len() {
                self.sending = None;
            }
        }
    }

    /// Takes bytes that xenstored sent, cut anywhere.
    pub(super) fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.broken.is_none() {
            match self.decoder.feed(&mut bytes) {
                Ok(Some(message)) => self.dispatch(message),
                Ok(None) => return,
                Err(error) => self.fail(error),
            }
        }
    }

    fn dispatch(&mut self, message: Message) {
        if message.header.kind == abi::XS_WATCH_EVENT {
            return self.dispatch_event(&message.payload);
        }
        let id = message.header.request_id;
        let Some(request) = self.requests.get_mut(&id) else {
            self.statistics.unmatched += 1;
            return;
        };
        if request.wire != Wire::InFlight {
            self.statistics.unmatched += 1;
            return;
        }
        let reply = if message.header.kind == request.operation as u32 {
            Ok(message.payload)
        } else if message.header.kind == abi::XS_ERROR {
            Err(StoreError::from_reply(&message.payload))
        } else {
            Err(ProtocolError::WrongType.into())
        };
        if matches!(reply, Err(StoreError::Protocol(_))) {
            self.statistics.malformed += 1;
        }
        let operation = request.operation;
        let untaken = request.resolve(reply, &mut self.wakers);
        self.leave_wire(id);
        if let Some(reply) = untaken {
            self.statistics.late += 1;
            self.tidy(operation, &reply);
            self.remove_if_over(id);
        }
    }

    fn dispatch_event(&mut self, payload: &[u8]) {
        let strings = wire::split_strings(payload).unwrap_or_default();
        let [path, token, ..] = strings[..] else {
            self.statistics.malformed += 1;
            return;
        };
        match self.watches.fire(token, path) {
            Fired::Taken(waker) => self.wakers.wake.extend(waker),
            Fired::Strayed(waker) => {
                self.statistics.malformed += 1;
                self.wakers.wake.extend(waker);
            }
            Fired::Unknown => self.statistics.unmatched += 1,
        }
    }

    /// The connection is unusable: everybody who waits learns it, now and later.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.broken = Some(error);
        self.waiting.clear();
        self.sending = None;
        self.in_flight = 0;
        for request in self.requests.values_mut() {
            request.wire = Wire::Gone;
            request.resolve(Err(error.into()), &mut self.wakers);
        }
        self.requests
            .retain(|_, request| !matches!(request.waiter, Waiter::Left));
        self.wakers.wake.extend(self.watches.take_wakers());
    }

    /// Why the connection is unusable, if it is.
    pub(super) fn broken(&self) -> Option<ProtocolError> {
        self.broken
    }

    /// Puts a watch into the table; its token names it from here on.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: too many watches.
    pub(super) fn add_watch(&mut self, path: &str) -> Result<u32, StoreError> {
        self.watches.add(path).ok_or(StoreError::Busy)
    }

    /// Takes a watch out of the table, without a word to xenstored.
    pub(super) fn remove_watch(&mut self, token: u32) {
        self.wakers.discard.extend(self.watches.remove(token));
    }

    /// The next path that fired a watch.
    pub(super) fn poll_watch(
        &mut self,
        token: u32,
        waker: &Waker,
    ) -> Poll<Result<String, StoreError>> {
        match (self.watches.take_fired(token), self.broken) {
            (Some(path), _) => Poll::Ready(Ok(path)),
            (None, Some(error)) => Poll::Ready(Err(error.into())),
            (None, None) => {
                if let Some(slot) = self.watches.waker_slot(token) {
                    self.wakers.keep(slot, waker);
                }
                Poll::Pending
            }
        }
    }

    /// The wakers of those for whom something happened since the last call.
    pub(super) fn take_wakers(&mut self) -> Wakers {
        core::mem::take(&mut self.wakers)
    }

    /// What was counted so far.
    pub(super) fn statistics(&self) -> Statistics {
        self.statistics
    }
}

/// The id in the reply to a `TRANSACTION_START`: decimal, and not 0, which
/// means no transaction.
///
/// # Errors
/// [`ProtocolError::BadReply`].
pub(super) fn parse_transaction(payload: &[u8]) -> Result<u32, ProtocolError> {
    match wire::split_strings(payload)?[..] {
        [text] => text.parse().ok().filter(|id| *id != 0),
        _ => None,
    }
    .ok_or(ProtocolError::BadReply)
}
