//! The frontend's side of one device.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use super::{error::BusError, state::State};
use crate::domain::{self, DomId, Generation};
use crate::time;
use crate::xenstore::{Acknowledgement, StoreError, Watch, Xenstore};
use embassy_futures::join::{join, join_array};

/// One device of this domain, `device/<class>/<index>` in xenstore, with a
/// watch on its backend's state.
///
/// It changes no state by itself: dropping it leaves both states as they are.
/// After the guest has become another domain, the paths name another domain's
/// device: everything fails with [`BusError::Stale`], and the device has to be
/// opened again.
pub struct Frontend {
    store: Xenstore,
    path: String,
    backend_path: String,
    backend_domid: DomId,
    state_watch: Watch,
    /// The acknowledgement of the watch, until it was waited for.
    watch_set: Option<Acknowledgement>,
    generation: Generation,
}

impl Frontend {
    /// Finds a device and watches the state of its backend.
    ///
    /// # Errors
    /// [`BusError::NoDevice`], [`BusError::Malformed`], [`BusError::Store`].
    pub async fn open(store: &Xenstore, class: &str, index: u32) -> Result<Self, BusError> {
        let generation = domain::generation();
        let path = format!("device/{class}/{index}");
        let (node, domid_node) = (format!("{path}/backend"), format!("{path}/backend-id"));
        let (backend_path, domid) = join(store.read(&node), store.read(&domid_node)).await;
        let backend_path = match backend_path {
            Ok(path) => path,
            Err(StoreError::NotFound) => {
                return Err(BusError::NoDevice {
                    class: class.into(),
                    index,
                });
            }
            Err(error) => return Err(BusError::at(&node)(error)),
        };
        let text = domid.map_err(BusError::at(&domid_node))?;
        let Ok(backend_domid) = text.parse() else {
            return Err(BusError::Malformed {
                path: domid_node,
                value: text,
            });
        };
        let node = format!("{backend_path}/state");
        let (state_watch, watch_set) = store.begin_watch(&node).map_err(BusError::at(&node))?;
        Ok(Self {
            store: store.clone(),
            path,
            backend_path,
            backend_domid,
            state_watch,
            watch_set: Some(watch_set),
            generation,
        })
    }

    /// Returns the numbers of this domain's devices of `class`, in ascending order. There may be
    /// devices that are being taken away.
    ///
    /// # Errors
    /// [`BusError::Store`].
    pub async fn indices(store: &Xenstore, class: &str) -> Result<Vec<u32>, BusError> {
        let path = format!("device/{class}");
        let names = match store.list(&path).await {
            Ok(names) => names,
            Err(StoreError::NotFound) => Vec::new(),
            Err(error) => return Err(BusError::at(&path)(error)),
        };
        let mut indices: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        indices.sort_unstable();
        Ok(indices)
    }

    /// Whether the backend can come to serve this device: it is there and does not leave. A backend
    /// that has closed begins again only if the toolstack wants the device online
    /// (`drivers/net/xen-netback/xenbus.c:frontend_changed`).
    ///
    /// # Errors
    /// [`BusError::Malformed`], [`BusError::Store`].
    pub async fn is_served(&self) -> Result<bool, BusError> {
        Ok(match self.backend_state().await? {
            State::Unknown | State::Closing => false,
            State::Closed => self.read_backend("online").await?.as_deref() == Some("1"),
            _ => true,
        })
    }

    /// Returns the device's own directory, relative to the domain's.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the backend's directory.
    #[must_use]
    pub fn backend_path(&self) -> &str {
        &self.backend_path
    }

    /// Returns the domain in which the backend runs, to which pages have to be
    /// granted.
    #[must_use]
    pub fn backend_domid(&self) -> DomId {
        self.backend_domid
    }

    fn check(&self) -> Result<(), BusError> {
        if self.generation == domain::generation() {
            Ok(())
        } else {
            Err(BusError::Stale)
        }
    }

    /// Reads a key in the backend's directory, if it exists. Once that directory is gone, the
    /// nearest one that is left is not ours to read, and xenstored says so instead of that there is
    /// no such node (`tools/xenstore/xenstored_core.c:errno_from_parents`).
    ///
    /// # Errors
    /// [`BusError::Store`].
    pub async fn read_backend(&self, key: &str) -> Result<Option<String>, BusError> {
        self.check()?;
        let path = format!("{}/{key}", self.backend_path);
        match read_optional(&self.store, &path).await {
            Err(BusError::Store {
                error: StoreError::Denied,
                ..
            }) => Ok(None),
            other => other,
        }
    }

    /// Reads several keys in the backend's directory, with concurrent requests.
    ///
    /// # Errors
    /// [`BusError::Store`], [`BusError::Stale`].
    pub async fn read_backend_all<const N: usize>(
        &self,
        keys: [&str; N],
    ) -> Result<[Option<String>; N], BusError> {
        let mut values = [const { None }; N];
        let answers = join_array(keys.map(|key| self.read_backend(key))).await;
        for (value, answer) in values.iter_mut().zip(answers) {
            *value = answer?;
        }
        Ok(values)
    }

    /// Reads a key in the device's own directory, such as `mac`, if it exists.
    ///
    /// # Errors
    /// [`BusError::Store`].
    pub async fn read(&self, key: &str) -> Result<Option<String>, BusError> {
        self.check()?;
        read_optional(&self.store, &format!("{}/{key}", self.path)).await
    }

    /// Writes a key into the device's own directory.
    ///
    /// # Errors
    /// [`BusError::Store`].
    pub async fn write(&self, key: &str, value: impl ToString) -> Result<(), BusError> {
        self.check()?;
        let node = format!("{}/{key}", self.path);
        self.store
            .write(&node, value.to_string())
            .await
            .map_err(BusError::at(&node))
    }

    /// Writes several keys into the device's own directory and then this end's
    /// state, with concurrent requests. xenstored serves a domain's requests in
    /// order, so a backend that sees the state finds all keys.
    ///
    /// # Errors
    /// [`BusError::Store`] if a key cannot be written; the state is then set to
    /// [`State::Closing`].
    pub async fn publish<const N: usize>(
        &self,
        keys: [(&str, &str); N],
        state: State,
    ) -> Result<(), BusError> {
        self.check()?;
        publish(&self.store, &self.path, keys, state).await
    }

    /// Opens a device and publishes at once ([`Frontend::open`],
    /// [`Frontend::publish`]), without checking the backend first: for a device
    /// that the guest knows from a former domain, and whose backend is waiting.
    ///
    /// # Errors
    /// Those of both.
    pub async fn open_and_publish<const N: usize>(
        store: &Xenstore,
        class: &str,
        index: u32,
        keys: [(&str, &str); N],
        state: State,
    ) -> Result<Self, BusError> {
        let path = format!("device/{class}/{index}");
        // Requests are sent in this order.
        let published = publish(store, &path, keys, state);
        let (published, opened) = join(published, Self::open(store, class, index)).await;
        published?;
        opened
    }

    /// Publishes this end's state.
    ///
    /// # Errors
    /// [`BusError::Store`].
    pub async fn set_state(&self, state: State) -> Result<(), BusError> {
        self.write("state", state.number()).await
    }

    /// Returns the backend's current state, or [`State::Unknown`] if its node
    /// is gone.
    ///
    /// # Errors
    /// [`BusError::Malformed`], [`BusError::Store`].
    pub async fn backend_state(&self) -> Result<State, BusError> {
        let Some(text) = self.read_backend("state").await? else {
            return Ok(State::Unknown);
        };
        State::parse(&text).ok_or_else(|| BusError::Malformed {
            path: format!("{}/state", self.backend_path),
            value: text,
        })
    }

    /// Waits until the backend is in one of the `wanted` states, and returns
    /// that state.
    ///
    /// # Errors
    /// [`BusError::Timeout`] after `limit`; [`BusError::BackendGone`] and
    /// [`BusError::BackendClosing`] at once, unless [`State::Unknown`],
    /// [`State::Closing`] or [`State::Closed`] is wanted;
    /// [`BusError::Malformed`], [`BusError::Store`].
    pub async fn wait_backend(
        &mut self,
        wanted: &[State],
        limit: Duration,
    ) -> Result<State, BusError> {
        let mut last = State::Unknown;
        let arrival = self.arrival(wanted, &mut last);
        match time::timeout(limit, arrival).await {
            Ok(outcome) => outcome,
            Err(time::TimedOut) => Err(BusError::Timeout {
                last,
                waited: limit,
            }),
        }
    }

    /// Begins again with a backend that may still be connected to earlier rings: says that this
    /// end initialises, and waits until the backend has left what was and waits in turn.
    ///
    /// # Errors
    /// [`BusError::Timeout`] after `limit`; [`BusError::BackendGone`],
    /// [`BusError::Malformed`], [`BusError::Store`].
    pub async fn begin_again(&mut self, limit: Duration) -> Result<(), BusError> {
        self.set_state(State::Initialising).await?;
        let mut last = State::Unknown;
        let arrival = self.arrival_after_closing(&mut last);
        time::timeout(limit, arrival)
            .await
            .unwrap_or(Err(BusError::Timeout {
                last,
                waited: limit,
            }))
    }

    /// Waits until the backend waits for this end, which may follow upon its closing.
    pub(super) async fn arrival_after_closing(&mut self, last: &mut State) -> Result<(), BusError> {
        loop {
            *last = self.backend_state().await?;
            match *last {
                State::InitWait => return Ok(()),
                State::Unknown => return Err(BusError::BackendGone),
                _ => self.next_change().await?,
            }
        }
    }

    /// Waits for any change of the backend's state and returns the new one. The
    /// first call after [`Frontend::open`] or a wait may return at once with a
    /// state that is already known.
    ///
    /// # Errors
    /// [`BusError::Malformed`], [`BusError::Store`].
    pub async fn backend_changed(&mut self) -> Result<State, BusError> {
        self.next_change().await?;
        self.backend_state().await
    }

    async fn next_change(&mut self) -> Result<(), BusError> {
        let error = BusError::at(&self.backend_path);
        if let Some(set) = self.watch_set.take() {
            set.wait().await.map_err(&error)?;
        }
        self.state_watch.next().await.map(drop).map_err(error)
    }

    /// Waits without a time limit, and stores each state seen in `last`.
    pub(super) async fn arrival(
        &mut self,
        wanted: &[State],
        last: &mut State,
    ) -> Result<State, BusError> {
        loop {
            // Check before waiting: an earlier wait may have consumed the event
            // for the current state.
            *last = self.backend_state().await?;
            if satisfies(*last, wanted)? {
                return Ok(*last);
            }
            self.next_change().await?;
        }
    }
}

/// Decides what `state` of the backend means to a frontend that waits for one
/// of `wanted`: true if it is one of them, false if the backend may still get
/// there.
///
/// # Errors
/// [`BusError::BackendGone`], [`BusError::BackendClosing`] if it never will.
fn satisfies(state: State, wanted: &[State]) -> Result<bool, BusError> {
    if wanted.contains(&state) {
        return Ok(true);
    }
    match state {
        State::Unknown => Err(BusError::BackendGone),
        State::Closing | State::Closed => Err(BusError::BackendClosing),
        _ => Ok(false),
    }
}

/// Implements [`Frontend::publish`].
async fn publish<const N: usize>(
    store: &Xenstore,
    path: &str,
    keys: [(&str, &str); N],
    state: State,
) -> Result<(), BusError> {
    let write = async |key: &str, value: &str| {
        let node = format!("{path}/{key}");
        let written = store.write(&node, value).await;
        written.map_err(BusError::at(&node))
    };
    let writes = join_array(keys.map(|(key, value)| write(key, value)));
    let number = state.number().to_string();
    let (written, published) = join(writes, write("state", &number)).await;
    if let Some(error) = written.into_iter().find_map(Result::err) {
        write("state", &State::Closing.number().to_string()).await?;
        return Err(error);
    }
    published
}

/// Reads a node that need not exist.
async fn read_optional(store: &Xenstore, path: &str) -> Result<Option<String>, BusError> {
    match store.read(path).await {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(BusError::at(path)(error)),
    }
}
