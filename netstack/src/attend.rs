//! The task that keeps the device connected: to another backend after a migration, and to no
//! backend once the toolstack has taken the device away.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use kernel::lifecycle::{self, Lifecycle, Outcome, Phase};
use kernel::task;
use kernel::xenbus::{BusError, Frontend, State};
use kernel::xenstore::Xenstore;

use crate::error::NetError;
use crate::netfront::{
    Connection, Domain, Features, Former, LinkStatistics, reattach, wait_connected,
};
use crate::stack::Shared;

/// What the driving task, the attendant and the network's handles share about the device.
#[derive(Default)]
pub(crate) struct Link {
    pub(crate) statistics: Cell<LinkStatistics>,
    /// Whether a suspend is near and the driving task has not settled the device yet.
    pub(crate) settling: Cell<bool>,
    /// The driving task's next order.
    pub(crate) order: RefCell<Option<Order>>,
    /// Whether the guest has become another domain and the attendant has not noticed yet.
    moved: Cell<bool>,
    attendant: Cell<Option<Waker>>,
}

/// An order for the driving task about the device's connection.
pub(crate) enum Order {
    /// End it: the backend has closed it.
    Disconnect,
    /// Let go of it: it ended with the former domain.
    Lose,
    /// Go on with this one.
    Connect(Box<Connection<Domain>>),
}

/// The network's part in a suspend. Nothing is closed for a suspend: the device stays connected, so
/// that a cancelled suspend costs nothing.
pub(crate) struct Part {
    pub(crate) shared: Shared,
    pub(crate) link: Rc<Link>,
}

impl Lifecycle for Part {
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
            if let Some(attendant) = self.link.attendant.take() {
                attendant.wake();
            }
            self.link.tell(&self.shared, Order::Lose);
        }
    }
}

impl Link {
    /// Gives the driving task an order, in place of one that it has not carried out. A connection
    /// that is dropped before it was used leaves nothing behind.
    fn tell(&self, shared: &Shared, order: Order) {
        let former = self.order.replace(Some(order));
        drop(former);
        shared.with(|stack| stack.kick());
    }

    /// Completes once the guest has become another domain.
    fn poll_moved(&self, context: &Context<'_>) -> Poll<()> {
        if self.moved.take() {
            return Poll::Ready(());
        }
        let former = self.attendant.replace(Some(context.waker().clone()));
        drop(former);
        Poll::Pending
    }
}

/// The task that keeps the device connected.
pub(crate) struct Attendant {
    pub(crate) shared: Shared,
    pub(crate) store: Xenstore,
    pub(crate) link: Rc<Link>,
    pub(crate) former: Former,
    /// Pages for each direction.
    pub(crate) device_pages: usize,
}

/// Why the attendant's watch over a backend ended.
enum End {
    /// The guest has become another domain.
    Moved,
    /// The backend closes the device, as after `xl network-detach`.
    Closed,
    /// The backend cannot be watched.
    Failed(BusError),
}

impl Attendant {
    /// Keeps the device connected, from its first connection on; never completes.
    pub(crate) async fn run(mut self, mut frontend: Frontend) {
        loop {
            match self.watch(&mut frontend).await {
                End::Moved => {}
                End::Closed => {
                    log::warn!("net: the backend has closed the device");
                    self.link.tell(&self.shared, Order::Disconnect);
                    // The driving task takes the pages back before the toolstack hears that the
                    // guest is done with them.
                    task::yield_now().await;
                    if let Err(error) = frontend.set_state(State::Closed).await {
                        log::warn!("net: {error}");
                    }
                    self.moved().await;
                }
                End::Failed(error) => {
                    log::error!("net: the backend is not watched any more: {error}");
                    self.moved().await;
                }
            }
            frontend = self.reconnect().await;
        }
    }

    /// Waits until the guest has become another domain.
    async fn moved(&self) {
        poll_fn(|context| self.link.poll_moved(context)).await;
    }

    /// Waits for `work`. Returns `None` once the guest has become another domain, which makes
    /// `work` useless.
    async fn unless_moved<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.link.poll_moved(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Watches the backend; returns why the watch ended.
    async fn watch(&self, frontend: &mut Frontend) -> End {
        let closing = async {
            loop {
                match frontend.backend_changed().await {
                    Ok(State::Closing | State::Closed | State::Unknown) => return End::Closed,
                    Ok(_) => {}
                    Err(error) => return End::Failed(error),
                }
            }
        };
        self.unless_moved(closing).await.unwrap_or(End::Moved)
    }

    /// Connects the device of the new domain, and begins again if the guest moves on meanwhile. If
    /// the device cannot be connected, the guest stays without a network until it is moved again.
    async fn reconnect(&mut self) -> Frontend {
        loop {
            match self.unless_moved(self.connect()).await {
                None => {}
                Some(Ok((frontend, features))) => {
                    self.former = Former {
                        backend: frontend.backend_domid(),
                        features,
                    };
                    return frontend;
                }
                Some(Err(error)) => {
                    log::error!("net: not reconnected: {error}");
                    self.link.tell(&self.shared, Order::Disconnect);
                    self.moved().await;
                }
            }
        }
    }

    /// Connects once.
    async fn connect(&self) -> Result<(Frontend, Features), NetError> {
        let pages = self.device_pages;
        let (mut frontend, connection) =
            reattach(&self.store, 0, self.former, pages, pages).await?;
        let features = connection.features();
        // Not earlier: a netback (Linux 6.1) that found frames in the ring while it connected went
        // deaf some seconds later.
        wait_connected(&mut frontend).await?;
        lifecycle::reached(Phase::VifConnected);
        let order = Order::Connect(Box::new(connection));
        self.link.tell(&self.shared, order);
        Ok((frontend, features))
    }
}
