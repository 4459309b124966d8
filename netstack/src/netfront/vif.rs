//! The virtual interface in xenstore: which device is used, its connection, and its end.

use alloc::string::String;
use alloc::vec::Vec;
use core::future::pending;
use core::time::Duration;

use kernel::lifecycle::{self, Phase};
use kernel::time;
use kernel::xenbus::{BusError, Frontend, State};
use kernel::xenstore::{Watch, Xenstore};

use super::connection::Connection;
use super::handshake::{Attached, Former, attach, reattach};
use super::pages::Domain;
use crate::attend::{Departure, Vif};
use crate::error::NetError;

/// The directory of the guest's devices of this kind.
const DIRECTORY: &str = "device/vif";

/// How long a backend may take to let go of a device.
const RELEASE: Duration = Duration::from_secs(5);

/// How long to leave xenstore alone after it failed to tell the backend's state.
const UNWATCHED: Duration = Duration::from_secs(1);

/// The first of the guest's interfaces that has a backend.
pub(crate) struct XenVif {
    store: Xenstore,
    /// Pages for each direction.
    pages: usize,
    frontend: Option<Frontend>,
    /// The device of the latest connection.
    former: Option<Former>,
    /// The device that was tried last and did not connect.
    failed: Option<u32>,
    watch: Option<Watch>,
    /// The devices that were there when the last attempt began, with their backends.
    seen: Vec<(u32, Option<String>)>,
}

impl XenVif {
    /// Makes an interface without a connection, which is to have `pages` pages for each direction.
    pub(crate) fn new(store: Xenstore, pages: usize) -> Self {
        Self {
            store,
            pages,
            frontend: None,
            former: None,
            failed: None,
            watch: None,
            seen: Vec::new(),
        }
    }

    /// Connects the device that the guest had in its former domain.
    async fn connect_former(
        &mut self,
        former: Former,
    ) -> Result<Option<Attached<Connection<Domain>>>, NetError> {
        let (frontend, connected) = reattach(&self.store, former, self.pages, self.pages).await?;
        let Some(attached) = connected else {
            return Ok(None);
        };
        self.keep(frontend, former.index, &attached);
        lifecycle::reached(Phase::VifConnected);
        Ok(Some(attached))
    }

    /// Connects the first device that has a backend. One that failed is tried after the others.
    async fn connect_any(&mut self) -> Result<Attached<Connection<Domain>>, NetError> {
        self.frontend = None;
        self.seen = devices(&self.store).await?;
        let mut indices: Vec<u32> = self.seen.iter().map(|(index, _)| *index).collect();
        if let Some(failed) = self.failed {
            indices.sort_by_key(|index| (*index <= failed, *index));
        }
        let mut reason = BusError::NoDevice {
            class: "vif".into(),
            index: 0,
        };
        for index in indices {
            let mut frontend = match Frontend::open(&self.store, "vif", index).await {
                Ok(frontend) => frontend,
                Err(error) => {
                    reason = error;
                    continue;
                }
            };
            if !frontend.is_served().await? {
                reason = BusError::BackendGone;
                continue;
            }
            self.failed = Some(index);
            let attached = attach(&mut frontend, self.pages, self.pages).await?;
            self.keep(frontend, index, &attached);
            lifecycle::reached(Phase::VifConnected);
            return Ok(attached);
        }
        Err(reason.into())
    }

    fn keep(&mut self, frontend: Frontend, index: u32, attached: &Attached<Connection<Domain>>) {
        self.former = Some(Former {
            index,
            backend: frontend.backend_domid(),
            features: attached.connection.features(),
        });
        self.failed = None;
        self.frontend = Some(frontend);
    }
}

/// Returns the guest's devices, each with its backend.
async fn devices(store: &Xenstore) -> Result<Vec<(u32, Option<String>)>, BusError> {
    let mut devices = Vec::new();
    for index in Frontend::indices(store, "vif").await? {
        let node = alloc::format!("{DIRECTORY}/{index}/backend");
        devices.push((index, store.read(&node).await.ok()));
    }
    Ok(devices)
}

impl Vif for XenVif {
    type Connection = Connection<Domain>;

    async fn connect(&mut self, moved: bool) -> Result<Attached<Self::Connection>, NetError> {
        // The former frontend is let go last: its end is a request too, and a reconnection waits.
        if moved
            && let Some(former) = self.former
            && let Some(attached) = self.connect_former(former).await?
        {
            return Ok(attached);
        }
        self.connect_any().await
    }

    async fn left(&mut self) -> Departure {
        let Some(frontend) = &mut self.frontend else {
            return Departure::Gone;
        };
        loop {
            match frontend.backend_changed().await {
                Ok(State::Closing | State::Closed) => return Departure::Closing,
                // Its rings are no longer ours: it has begun again, or is another one.
                Ok(State::Unknown | State::Initialising | State::InitWait) => {
                    return Departure::Gone;
                }
                Ok(_) => {}
                Err(error) => {
                    log::warn!("net: the backend is not watched at present: {error}");
                    time::sleep(UNWATCHED).await;
                }
            }
        }
    }

    async fn release(&mut self) {
        let Some(mut frontend) = self.frontend.take() else {
            return;
        };
        let closed = async {
            frontend.set_state(State::Closed).await?;
            loop {
                match frontend.backend_state().await? {
                    State::Connected | State::Closing => frontend.backend_changed().await?,
                    _ => return Ok::<_, BusError>(()),
                };
            }
        };
        match time::timeout(RELEASE, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!("net: {error}"),
            Err(time::TimedOut) => log::warn!("net: the backend does not let go of the device"),
        }
    }

    async fn changed(&mut self, limit: Duration) {
        if self.watch.is_none() {
            self.watch = self.store.watch(DIRECTORY).await.ok();
        }
        let Some(watch) = &mut self.watch else {
            return time::sleep(limit).await;
        };
        let (store, seen) = (&self.store, &self.seen);
        let change = async {
            // The watch also reports what the guest itself writes below the directory.
            while watch.next().await.is_ok() {
                if devices(store).await.is_ok_and(|devices| devices != *seen) {
                    return;
                }
            }
            pending().await
        };
        // Without a change it is tried again all the same.
        let _ = time::timeout(limit, change).await;
    }
}
