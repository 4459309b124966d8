//! The protocol without its ring: requests and the replies that belong to
//! them, deadlines, watch events. It takes bytes and the time, and yields
//! bytes and wakers.

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
    /// The domain, and with it xenstored, is a new one; the ring's task has
    /// not seen it yet.
    renewed: bool,
    /// How often the domain became a new one.
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

    /// Queues a request whose reply nobody waits for: the end of a watch or
    /// of a transaction. Each ends something that an accepted request began,
    /// so these need no bound of their own.
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

    /// The reply to a request, once.
    pub(super) fn poll_reply(&mut self, id: u32, waker: &Waker) -> Poll<Reply> {
        self.requests.poll_reply(id, waker, &mut self.wakers)
    }

    /// The request's future is gone. What was not sent yet never will be.
    /// True when there is something to send because of it.
    pub(super) fn abandon(&mut self, id: u32) -> bool {
        match self.requests.abandon(id, &mut self.wakers) {
            Some(untaken) => self.tidy(untaken),
            None => false,
        }
    }

    /// A reply that nobody took: a transaction that it opened must be closed,
    /// because a domain has only ten of them. True when it had to be.
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

    /// Lets deadlines pass.
    pub(super) fn advance(&mut self, now: Instant) {
        self.statistics.timeouts += self.requests.advance(now, &mut self.wakers);
    }

    /// When [`Session::advance`] is to be called next, if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.requests.next_deadline()
    }

    /// The bytes to put into the ring next; [`Session::sent`] says how many went.
    pub(super) fn outgoing(&mut self) -> Option<&[u8]> {
        self.requests.outgoing()
    }

    /// This many bytes of [`Session::outgoing`] are in the ring.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.requests.sent(bytes);
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

    /// The connection is unusable: everybody who waits learns it, now and later.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.broken = Some(error);
        self.requests.fail(error, &mut self.wakers);
        self.wakers.wake(self.watches.take_wakers());
    }

    /// Why the connection is unusable, if it is.
    pub(super) fn broken(&self) -> Option<ProtocolError> {
        self.broken
    }

    /// Sends nothing more, but for the rest of a message that is begun, until
    /// [`Session::release`].
    pub(super) fn hold(&mut self) {
        self.requests.hold();
    }

    /// Whether xenstored owes us nothing, and has all of what it was sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.broken.is_some() || self.requests.is_quiet()
    }

    /// Ends a hold in the same domain.
    pub(super) fn release(&mut self) {
        self.requests.release();
    }

    /// Ends a hold in a new domain: a new xenstored, which knows neither our
    /// watches nor our transactions, and has heard nothing from us. All
    /// watches are set again, and every request that was not answered is sent
    /// again; what belonged to a transaction fails with [`StoreError::Again`].
    pub(super) fn renew(&mut self) {
        if self.broken.is_some() {
            return;
        }
        self.decoder = Decoder::default();
        self.renewed = true;
        self.generation += 1;
        self.requests.renew(&mut self.wakers);
        for payload in self.watches.payloads() {
            self.requests.resend_watch(payload.as_bytes());
        }
    }

    /// How often [`Session::renew`] was called.
    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether [`Session::renew`] was called since the last time.
    pub(super) fn take_renewed(&mut self) -> bool {
        core::mem::take(&mut self.renewed)
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
        self.wakers.discard(self.watches.remove(token));
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
                match self.watches.waker_slot(token) {
                    Some(slot) => self.wakers.keep(slot, waker),
                    None => bug::report("a watch that has ended was polled"),
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
