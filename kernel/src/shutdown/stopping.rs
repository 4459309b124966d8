//! Orderly shutdown at the toolstack's request.

use super::requests::{Request, Requests};
use crate::backoff::persist;
use crate::phase::Asked;
use crate::power::{self, Reason};
use crate::suspend;
use crate::time;
use crate::xenstore::Xenstore;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

/// Longest time that an appliance gets to finish its work: half of the minute
/// after which the toolstack gives up (`libxl_domain.c`).
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to check whether that work has finished.
const INTERVAL: Duration = Duration::from_millis(10);

/// The toolstack's request that the guest stop, shared by all tasks.
///
/// An appliance with work to finish takes a [`Hold`], waits for
/// [`requested`](Self::requested), finishes, and drops the hold. The domain
/// stops when the last hold is dropped, or after 30 s at the latest; without a
/// hold it stops at once.
#[derive(Clone, Default)]
pub struct Stopping(Rc<State>);

#[derive(Default)]
struct State {
    requested: Cell<bool>,
    /// Wakers of waiting tasks, by number.
    wakers: RefCell<BTreeMap<u64, Waker>>,
    next: Cell<u64>,
    holds: Cell<usize>,
}

/// The future of [`Stopping::requested`].
#[must_use = "a future does nothing unless awaited"]
pub struct Requested {
    state: Rc<State>,
    number: Option<u64>,
}

/// Keeps the domain from stopping until it is dropped.
pub struct Hold(Rc<State>);

impl Stopping {
    /// Postpones any requested stop until the hold is dropped.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.0.holds.set(self.0.holds.get() + 1);
        Hold(self.0.clone())
    }

    /// Waits until the guest is asked to stop.
    pub fn requested(&self) -> Requested {
        Requested {
            state: self.0.clone(),
            number: None,
        }
    }

    /// Serves the toolstack's requests, until the first one to stop ends the
    /// guest.
    pub(crate) async fn serve(self, store: Xenstore) -> Infallible {
        let request = loop {
            let listen = async || Requests::listen(&store).await?.next().await;
            match persist("shutdown", time::sleep, listen).await {
                Request::Suspend => suspend::suspend(Asked::Xenstore).await,
                request => break request,
            }
        };
        self.0.requested.set(true);
        let wakers = self.0.wakers.take();
        wakers.into_values().for_each(Waker::wake);
        let deadline = time::now() + PATIENCE;
        while self.0.holds.get() > 0 && time::now() < deadline {
            time::sleep(INTERVAL).await;
        }
        if self.0.holds.get() > 0 {
            log::warn!("shutdown: work was left unfinished after {PATIENCE:?}");
        }
        log::info!("shutdown: {request}");
        suspend::end().await;
        power::stop(match request {
            Request::Reboot => Reason::Reboot,
            Request::Poweroff | Request::Halt | Request::Suspend => Reason::Poweroff,
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.set(self.0.holds.get() - 1);
    }
}

impl Future for Requested {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.state.requested.get() {
            return Poll::Ready(());
        }
        let next = self.state.next.get();
        let number = *self.number.get_or_insert(next);
        if number == next {
            self.state.next.set(next + 1);
        }
        let waker = context.waker().clone();
        let former = self.state.wakers.borrow_mut().insert(number, waker);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Requested {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.state.wakers.borrow_mut().remove(&number);
            drop(waker);
        }
    }
}
