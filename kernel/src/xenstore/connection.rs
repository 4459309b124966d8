//! The state shared by the handles and the ring's task: the session, and the
//! means to wake the task when a handle has changed it.

use alloc::{rc::Rc, string::String};
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{
    error::StoreError, requests::Reply, session::Session, statistics::Statistics, wire::Operation,
};
use crate::domain::Generation;
use crate::time::Instant;

/// One connection to xenstored.
#[derive(Default)]
pub(super) struct Connection {
    session: RefCell<Session>,
    /// Whether a handle has changed the session since the ring's task last
    /// checked.
    kicked: Cell<bool>,
    task: Cell<Option<Waker>>,
}

impl Connection {
    /// Runs `work` on the session, then wakes the tasks concerned. Wakers run
    /// outside the borrow, so they may use the session.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Session) -> T) -> T {
        let (result, wakers) = {
            let mut session = self.session.borrow_mut();
            let result = work(&mut session);
            (result, session.take_wakers())
        };
        wakers.run();
        result
    }

    /// Wakes the ring's task, because there is something to send.
    pub(super) fn kick(&self) {
        self.kicked.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Polls, for the ring's task, whether a handle has changed the session.
    pub(super) fn poll_kicked(&self, context: &Context<'_>) -> Poll<()> {
        if self.kicked.take() {
            return Poll::Ready(());
        }
        self.task.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Waits, for the ring's task, until a handle changes the session.
    pub(super) async fn kicked(&self) {
        poll_fn(|context| self.poll_kicked(context)).await;
    }

    /// Queues a request and returns the future of its reply.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], [`StoreError::Busy`], [`StoreError::Protocol`].
    pub(super) fn request(
        self: &Rc<Self>,
        operation: Operation,
        transaction: u32,
        parts: &[&[u8]],
    ) -> Result<Pending, StoreError> {
        let id = self.with(|session| session.submit(operation, transaction, parts))?;
        self.kick();
        Ok(Pending {
            connection: Rc::clone(self),
            id,
        })
    }

    /// Queues a request whose reply is ignored.
    pub(super) fn request_forgotten(
        &self,
        operation: Operation,
        transaction: u32,
        parts: &[&[u8]],
    ) {
        self.with(|session| session.submit_forgotten(operation, transaction, parts));
        self.kick();
    }

    /// Waits for the next path that fires a watch.
    pub(super) async fn fired(&self, token: u32) -> Result<String, StoreError> {
        poll_fn(|context| self.with(|session| session.poll_watch(token, context.waker()))).await
    }

    /// Returns how many times the guest became another domain.
    pub(super) fn generation(&self) -> Generation {
        self.session.borrow().generation()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.session.borrow().next_deadline()
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.session.borrow().statistics()
    }
}

/// The future of a request's reply; dropping it abandons the request.
pub(super) struct Pending {
    connection: Rc<Connection>,
    id: u32,
}

impl Future for Pending {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        let id = self.id;
        self.connection
            .with(|session| session.poll_reply(id, context.waker()))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.connection.with(|session| session.abandon(self.id)) {
            self.connection.kick();
        }
    }
}
