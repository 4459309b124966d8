//! The task that keeps the device connected: to another backend after a migration, to another
//! device once the toolstack has taken one away and given one, and again whenever that fails, for
//! as long as the guest lives (design rule R21).

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use kernel::backoff::Backoff;
use kernel::lifecycle::{Lifecycle, Outcome};
use vmc::Platform;

use crate::channel::Xen;
use crate::error::NetError;
use crate::netfront::{Attached, Connection, Domain, LinkStatistics};
use crate::stack::Shared;

/// The pauses between attempts to connect. An attempt itself waits up to 30 s for each step of the
/// backend.
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// The place of the guest's device in xenstore, and the clock to wait by.
pub(crate) trait Vif {
    /// What a connected device is.
    type Connection;

    /// Tries once to connect, within bounded time. `moved` says that the guest has just become
    /// another domain, in which the device of the latest connection waits.
    async fn connect(&mut self, moved: bool) -> Result<Attached<Self::Connection>, NetError>;

    /// Waits until the backend leaves the connected device.
    async fn left(&mut self) -> Departure;

    /// Tells the backend that this end is done with the device, and waits, within bounded time,
    /// until it has let go of the pages.
    async fn release(&mut self);

    /// Waits until there are other devices than at the latest attempt to connect, for at most
    /// `limit`.
    async fn changed(&mut self, limit: Duration);
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "closes the device",
            Self::Gone => "is gone",
        })
    }
}

/// How a backend left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It closes the device, as in `xl network-detach`.
    Closing,
    /// It is gone, or has begun anew: its domain ended or started again.
    Gone,
}

/// Whether there is a device at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is connected.
    #[default]
    Connected,
    /// It is away.
    Away {
        /// How many attempts to connect one have failed.
        failed: u32,
        /// Why the latest failed.
        reason: Option<String>,
    },
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Away { failed, reason } => {
                write!(f, "away, {failed} attempts failed")?;
                match reason {
                    Some(reason) => write!(f, ", the latest: {reason}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What the driving task, the attendant and the network's handles share about the device. `C` is
/// the device's connection.
pub(crate) struct Link<C = Connection<Domain>> {
    pub(crate) statistics: Cell<LinkStatistics>,
    pub(crate) condition: RefCell<Condition>,
    /// Whether a suspend is near and the driving task has not settled the device yet.
    pub(crate) settling: Cell<bool>,
    /// The driving task's next order.
    pub(crate) order: RefCell<Option<Order<C>>>,
    /// Whether the guest has become another domain and the attendant has not noticed yet.
    moved: Cell<bool>,
    /// Whether the backend has broken the protocol and the attendant has not noticed yet.
    broken: Cell<bool>,
    attendant: Cell<Option<Waker>>,
}

impl<C> Default for Link<C> {
    fn default() -> Self {
        Self {
            statistics: Cell::default(),
            condition: RefCell::default(),
            settling: Cell::default(),
            order: RefCell::default(),
            moved: Cell::default(),
            broken: Cell::default(),
            attendant: Cell::default(),
        }
    }
}

/// An order for the driving task about the device's connection.
pub(crate) enum Order<C> {
    /// End it: the backend has closed it.
    Disconnect,
    /// Let go of it: it ended with the former domain.
    Lose,
    /// Go on with this one.
    Connect(Box<Attached<C>>),
}

/// The network's part in a suspend. Nothing is closed for a suspend: the device stays connected, so
/// that a cancelled suspend costs nothing.
pub(crate) struct Part<P: Platform = Xen, C = Connection<Domain>> {
    pub(crate) shared: Shared<P>,
    pub(crate) link: Rc<Link<C>>,
}

impl<P: Platform, C> Lifecycle for Part<P, C> {
    fn name(&self) -> &'static str {
        "network"
    }

    fn settle(&self) {
        self.link.settling.set(true);
        self.shared.with(|stack| stack.kick());
    }

    fn is_settled(&self) -> bool {
        !self.link.settling.get()
    }

    fn resume(&self, outcome: Outcome) {
        if outcome == Outcome::NewDomain {
            self.link.moved.set(true);
            self.link.wake_attendant();
            self.link.tell(&self.shared, Order::Lose);
        }
        // The driving task looks how long the guest was away.
        self.shared.with(|stack| stack.kick());
    }
}

/// What ended a wait.
enum Waited<T> {
    /// The guest has become another domain, which makes the rest useless.
    Moved,
    /// The backend has broken the protocol.
    Broken,
    /// What was waited for has come.
    Done(T),
}

impl<C> Link<C> {
    /// Gives the driving task an order, in place of one that it has not carried out. A connection
    /// that is dropped before it was used leaves nothing behind.
    fn tell<P: Platform>(&self, shared: &Shared<P>, order: Order<C>) {
        let former = self.order.replace(Some(order));
        drop(former);
        shared.with(|stack| stack.kick());
    }

    /// Tells the attendant that the backend has broken the protocol.
    pub(crate) fn give_up(&self) {
        self.broken.set(true);
        self.wake_attendant();
    }

    fn wake_attendant(&self) {
        if let Some(attendant) = self.attendant.take() {
            attendant.wake();
        }
    }

    /// Completes once the guest has become another domain or the backend has broken the protocol.
    fn poll_ended<T>(&self, context: &Context<'_>) -> Poll<Waited<T>> {
        if self.moved.take() {
            self.broken.set(false);
            return Poll::Ready(Waited::Moved);
        }
        if self.broken.take() {
            return Poll::Ready(Waited::Broken);
        }
        let former = self.attendant.replace(Some(context.waker().clone()));
        drop(former);
        Poll::Pending
    }

    /// Waits for `work`, unless the connection ends otherwise.
    async fn wait<T>(&self, work: impl Future<Output = T>) -> Waited<T> {
        let mut work = pin!(work);
        poll_fn(|context| match self.poll_ended(context) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => work.as_mut().poll(context).map(Waited::Done),
        })
        .await
    }
}

/// Connects the device, and tries again with growing pauses until that succeeds. `moved` says that
/// the guest has just become another domain.
pub(crate) async fn connect<V: Vif>(
    vif: &mut V,
    link: &Link<V::Connection>,
    mut moved: bool,
) -> Attached<V::Connection> {
    let mut backoff = RETRY;
    let mut reason = None;
    loop {
        *link.condition.borrow_mut() = Condition::Away {
            failed: backoff.failed(),
            reason: reason.take(),
        };
        match link.wait(vif.connect(moved)).await {
            Waited::Moved => {
                moved = true;
                backoff.reset();
                continue;
            }
            // Of the connection that was there before.
            Waited::Broken => continue,
            Waited::Done(Ok(attached)) => {
                *link.condition.borrow_mut() = Condition::Connected;
                if backoff.failed() > 0 {
                    log::info!("net: connected after {} failures", backoff.failed());
                }
                return attached;
            }
            Waited::Done(Err(error)) => {
                moved = false;
                let pause = backoff.pause();
                log::warn!("net: no connection: {error}; the next try follows in {pause:?}");
                reason = Some(error.to_string());
                *link.condition.borrow_mut() = Condition::Away {
                    failed: backoff.failed(),
                    reason: reason.clone(),
                };
                if let Waited::Moved = link.wait(vif.changed(pause)).await {
                    moved = true;
                    backoff.reset();
                }
            }
        }
    }
}

/// The task that keeps the device connected.
pub(crate) struct Attendant<V: Vif, P: Platform = Xen> {
    pub(crate) shared: Shared<P>,
    pub(crate) link: Rc<Link<V::Connection>>,
    /// With a connected device.
    pub(crate) vif: V,
}

impl<V: Vif, P: Platform> Attendant<V, P> {
    /// Keeps the device connected, from its first connection on.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            let moved = match self.link.wait(self.vif.left()).await {
                Waited::Moved => true,
                Waited::Broken => self.disconnect().await,
                Waited::Done(departure) => {
                    log::warn!("net: the backend {departure}");
                    self.disconnect().await
                }
            };
            let attached = connect(&mut self.vif, &self.link, moved).await;
            self.link
                .tell(&self.shared, Order::Connect(Box::new(attached)));
        }
    }

    /// Ends the connection; returns whether the guest has become another domain meanwhile. The
    /// pages are taken back only when the backend is done with them: they would be lost otherwise,
    /// until the guest is another domain.
    async fn disconnect(&mut self) -> bool {
        if let Waited::Moved = self.link.wait(self.vif.release()).await {
            return true;
        }
        self.link.tell(&self.shared, Order::Disconnect);
        false
    }
}
