//! Drives one client and the fake xenstored under a virtual clock.

use alloc::{rc::Rc, sync::Arc, task::Wake};
use core::{
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{page::Page, server::Server};
use crate::{
    time::Instant,
    xenstore::{Xenstore, connection::Connection, driver::Driver},
};

/// A client, its xenstored, and the time.
pub(crate) struct Harness {
    pub(crate) store: Xenstore,
    pub(crate) server: Server,
    pub(crate) page: Page,
    pub(crate) now: Instant,
    connection: Rc<Connection>,
    driver: Driver<Page>,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::starting_at(0)
    }

    /// Starts with ring indices at `index`, so that they can be made to wrap.
    pub(crate) fn starting_at(index: u32) -> Self {
        let page = Page::starting_at(index);
        let connection = Rc::new(Connection::default());
        Self {
            store: Xenstore::over(Rc::clone(&connection)),
            server: Server::new(page.clone()),
            driver: Driver::new(page.clone()),
            page,
            now: Instant::from_nanos(0),
            connection,
        }
    }

    /// Moves bytes until there are none left to move; time stands still.
    pub(crate) fn exchange(&mut self) {
        loop {
            let pumped = self.driver.pump(&self.connection, self.now);
            if pumped.broken {
                return;
            }
            self.server.notified |= pumped.notify;
            let served = self.server.step();
            if !pumped.moved && !pumped.again && !served {
                return;
            }
        }
    }

    /// Drives a future until it is done, or waits for time to pass or for
    /// another domain. It is polled again only after it was woken, so a lost
    /// wake-up shows.
    pub(crate) fn settle<F: Future>(&mut self, mut future: Pin<&mut F>) -> Poll<F::Output> {
        let (waker, woken) = Woken::new();
        let mut context = Context::from_waker(&waker);
        loop {
            let outcome = future.as_mut().poll(&mut context);
            self.exchange();
            if outcome.is_ready() || !woken.take() {
                return outcome;
            }
        }
    }

    /// Drives a future to its end, letting time pass as needed.
    pub(crate) fn run<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = self.settle(future.as_mut()) {
                return output;
            }
            let deadline = self.connection.next_deadline();
            self.now = deadline.expect("the future waits, and no deadline will wake it");
        }
    }

    /// Makes the guest another domain, with the same page but another
    /// xenstored.
    pub(crate) fn migrate(&mut self) {
        self.server = Server::new(self.page.clone());
        self.connection.with(|session| session.renew());
    }

    /// Lets only the client move bytes.
    pub(crate) fn pump(&mut self) {
        self.driver.pump(&self.connection, self.now);
    }

    pub(crate) fn hold(&mut self) {
        self.connection.with(|session| session.hold());
    }

    pub(crate) fn release(&mut self) {
        self.connection.with(|session| session.release());
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.connection.with(|session| session.is_quiet())
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.exchange();
    }
}

/// A waker that remembers that it was woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    pub(crate) fn new() -> (Waker, Arc<Self>) {
        let woken = Arc::new(Self::default());
        (Waker::from(Arc::clone(&woken)), woken)
    }

    /// Returns whether it was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
