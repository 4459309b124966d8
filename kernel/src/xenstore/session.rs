//! The protocol without its ring: requests and their replies, deadlines, watch
//! events. It takes bytes and the time, and yields bytes and wakers.

use alloc::string::String;
use core::task::{Poll, Waker};

use xen_sys::abi;

use super::{
    error::{ProtocolError, StoreError},
    requests::{Reply, Requests, Untaken, Waiter},
    statistics::Statistics,
    wakers::Wakers,
    watches::{Fired, Watches},
    wire::{self, Decoder, Message, Operation},
};
use crate::bug;
use crate::domain::Generation;
use crate::time::Instant;

/// The connection's state.
#[derive(Default)]
pub(super) struct Session {
    requests: Requests,
    watches: Watches,
    decoder: Decoder,
    broken: Option<ProtocolError>,
    /// Whether the guest has become another domain, with another xenstored, and
    /// the ring's task has not seen that yet.
    renewed: bool,
    /// How many times the guest became another domain.
    generation: Generation,
    wakers: Wakers,
    statistics: Statistics,
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
        if let Some(error) = self.broken {
            return Err(error.into());
        }
        if self.requests.is_full() {
            return Err(StoreError::Busy);
        }
        self.requests
            .enqueue(operation, transaction, parts, Waiter::Pending(None))
    }

    /// Queues a request whose reply is ignored: the end of a watch or of a
    /// transaction. Each ends something that an accepted request began, so
    /// these requests need no bound of their own.
    pub(super) fn submit_forgotten(
        &mut self,
        operation: Operation,
        transaction: u32,
        parts: &[&[u8]],
    ) {
        if self.broken.is_none() {
            let queued = self
                .requests
                .enqueue(operation, transaction, parts, Waiter::Never);
            if queued.is_err() {
                bug::report("the end of a xenstore request is longer than its beginning");
            }
        }
    }

    /// Polls for the reply to a request, which is returned once.
    pub(super) fn poll_reply(&mut self, id: u32, waker: &Waker) -> Poll<Reply> {
        self.requests.poll_reply(id, waker, &mut self.wakers)
    }

    /// Abandons a request, whose future is gone. If it was not sent yet, it
    /// never will be. Returns true if there is something to send as a
    /// consequence.
    pub(super) fn abandon(&mut self, id: u32) -> bool {
        match self.requests.abandon(id, &mut self.wakers) {
            Some(untaken) => self.tidy(untaken),
            None => false,
        }
    }

    /// Cleans up after a reply that no future took: a transaction that it
    /// opened must be closed, because a domain may have only ten. Returns true
    /// if there was one.
    fn tidy(&mut self, (operation, reply): Untaken) -> bool {
        if operation == Operation::TransactionStart
            && let Ok(payload) = reply
            && let Ok(transaction) = parse_transaction(&payload)
        {
            self.submit_forgotten(Operation::TransactionEnd, transaction, &[b"F\0"]);
            return true;
        }
        false
    }

    /// Expires requests past their deadline.
    pub(super) fn advance(&mut self, now: Instant) {
        self.statistics.timeouts += self.requests.advance(now, &mut self.wakers);
    }

    /// Returns when to call [`Session::advance`] next, if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.requests.next_deadline()
    }

    /// Returns the bytes to write into the ring next; [`Session::sent`] tells
    /// how many were.
    pub(super) fn outgoing(&mut self) -> Option<&[u8]> {
        self.requests.outgoing()
    }

    /// Records that `bytes` bytes of [`Session::outgoing`] are in the ring.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.requests.sent(bytes);
    }

    /// Takes bytes from xenstored, split at any point.
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
        let Message { header, payload } = message;
        if header.kind == abi::XS_WATCH_EVENT {
            return self.dispatch_event(&payload);
        }
        let Some(operation) = self.requests.in_flight(header.request_id) else {
            self.statistics.unmatched += 1;
            return;
        };
        let reply = if header.kind == operation as u32 {
            Ok(payload)
        } else if header.kind == abi::XS_ERROR {
            Err(StoreError::from_reply(&payload))
        } else {
            Err(ProtocolError::WrongType.into())
        };
        if matches!(reply, Err(StoreError::Protocol(_))) {
            self.statistics.malformed += 1;
        }
        let id = header.request_id;
        if let Some(untaken) = self.requests.answer(id, reply, &mut self.wakers) {
            self.statistics.late += 1;
            self.tidy(untaken);
        }
    }

    fn dispatch_event(&mut self, payload: &[u8]) {
        let strings = wire::split_strings(payload).unwrap_or_default();
        let [path, token, ..] = strings[..] else {
            self.statistics.malformed += 1;
            return;
        };
        match self.watches.fire(token, path) {
            Fired::Taken(waker) => self.wakers.wake(waker),
            Fired::Strayed(waker) => {
                self.statistics.malformed += 1;
                self.wakers.wake(waker);
            }
            Fired::Unknown => self.statistics.unmatched += 1,
        }
    }

    /// Declares the connection unusable; all current and later waiters get the
    /// error.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.broken = Some(error);
        self.requests.fail(error, &mut self.wakers);
        self.wakers.wake(self.watches.take_wakers());
    }

    /// Returns why the connection is unusable, if it is.
    pub(super) fn broken(&self) -> Option<ProtocolError> {
        self.broken
    }

    /// Sends nothing more until [`Session::release`], except the rest of a
    /// message already started.
    pub(super) fn hold(&mut self) {
        self.requests.hold();
    }

    /// Returns whether no reply is outstanding and every started message is
    /// sent completely.
    pub(super) fn is_quiet(&self) -> bool {
        self.broken.is_some() || self.requests.is_quiet()
    }

    /// Ends a hold in the same domain.
    pub(super) fn release(&mut self) {
        self.requests.release();
    }

    /// Ends a hold in a new domain, whose xenstored knows neither our watches
    /// nor our transactions, and has received nothing from us. All watches are
    /// set again, and every unanswered request is sent again; requests of a
    /// transaction fail with [`StoreError::Again`]. A connection that was
    /// unusable begins anew: the fault was the former xenstored's.
    pub(super) fn renew(&mut self) {
        self.broken = None;
        self.decoder = Decoder::default();
        self.renewed = true;
        self.generation += 1;
        self.requests.renew(&mut self.wakers);
        for payload in self.watches.payloads() {
            self.requests.resend_watch(payload.as_bytes());
        }
    }

    /// Returns how many times [`Session::renew`] was called.
    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns whether [`Session::renew`] was called since the last call of
    /// this.
    pub(super) fn take_renewed(&mut self) -> bool {
        core::mem::take(&mut self.renewed)
    }

    /// Adds a watch to the table and returns its token.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if there are too many watches.
    pub(super) fn add_watch(&mut self, path: &str) -> Result<u32, StoreError> {
        self.watches.add(path).ok_or(StoreError::Busy)
    }

    /// Removes a watch from the table, without telling xenstored.
    pub(super) fn remove_watch(&mut self, token: u32) {
        self.wakers.discard(self.watches.remove(token));
    }

    /// Polls for the next path that fired a watch.
    pub(super) fn poll_watch(
        &mut self,
        token: u32,
        waker: &Waker,
    ) -> Poll<Result<String, StoreError>> {
        match (self.watches.take_fired(token), self.broken) {
            (Some(path), _) => Poll::Ready(Ok(path)),
            (None, Some(error)) => Poll::Ready(Err(error.into())),
            (None, None) => {
                match self.watches.waker_slot(token) {
                    Some(slot) => self.wakers.keep(slot, waker),
                    None => bug::report("a watch that has ended was polled"),
                }
                Poll::Pending
            }
        }
    }

    /// Takes the wakers of tasks for which something has happened since the
    /// last call.
    pub(super) fn take_wakers(&mut self) -> Wakers {
        core::mem::take(&mut self.wakers)
    }

    /// Returns the counts so far.
    pub(super) fn statistics(&self) -> Statistics {
        self.statistics
    }
}

/// Parses the id in the reply to a `TRANSACTION_START`: decimal, and not 0,
/// which means no transaction.
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
