//! The handle that the guest's tasks use.

use alloc::{rc::Rc, string::String};
use core::ops::Deref;

use super::{
    connection::{Connection, Pending},
    driver,
    error::StoreError,
    statistics::Statistics,
    tree::{Tree, acknowledgement},
    watches,
    wire::{self, Operation},
};
use crate::lifecycle::{self, Lifecycle, Outcome};
use crate::task::{self, Role};
use crate::{event::EventChannel, shared::SharedMemory};

/// This guest's connection to xenstored; clones are cheap and share it.
///
/// Reads and writes are those of [`Tree`]. Many may be in progress at once;
/// each takes at most five seconds, then fails with [`StoreError::Timeout`].
/// Dropping a request's future abandons it: if it was not sent yet, it never
/// will be; otherwise it may still take effect.
#[derive(Clone)]
pub struct Xenstore {
    tree: Tree,
}

impl Deref for Xenstore {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl Xenstore {
    /// Connects through the ring in `page` and its event channel, and spawns
    /// the task that serves them.
    pub fn start<P>(page: P, channel: EventChannel) -> Self
    where
        P: Deref<Target = SharedMemory> + 'static,
    {
        let connection = Rc::new(Connection::default());
        let driver = driver::run(page, channel, Rc::clone(&connection));
        task::spawn_as(Role::Lifecycle, driver).detach();
        lifecycle::register(Rc::new(Part(Rc::clone(&connection))));
        Self::over(connection)
    }

    /// Makes a handle of a connection that the caller drives.
    pub(super) fn over(connection: Rc<Connection>) -> Self {
        Self {
            tree: Tree {
                connection,
                transaction: 0,
                generation: 0,
            },
        }
    }

    /// Reads this guest's UUID, which a migration does not change: the domain's
    /// node `vm` has the value `/vm/UUID` (docs/misc/xenstore-paths.pandoc).
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the node has another value.
    pub async fn uuid(&self) -> Result<[u8; 16], StoreError> {
        let path = self.read("vm").await?;
        path.strip_prefix("/vm/")
            .and_then(parse_uuid)
            .ok_or(StoreError::Invalid)
    }

    /// Watches a path and everything below it. The watch fires once when it is
    /// set, whether or not the path exists.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if there are 64 watches already; those of
    /// xenstored.
    pub async fn watch(&self, path: &str) -> Result<Watch, StoreError> {
        let (watch, set) = self.begin_watch(path)?;
        set.wait().await?;
        Ok(watch)
    }

    /// Watches a path like [`Xenstore::watch`], but does not wait until the
    /// watch is set. Requests made after this call find it set, because
    /// xenstored serves a domain's requests in order.
    ///
    /// # Errors
    /// [`StoreError::Busy`]; those of xenstored come with the acknowledgement.
    pub fn begin_watch(&self, path: &str) -> Result<(Watch, Acknowledgement), StoreError> {
        wire::check_path(path)?;
        let token = self.connection.with(|session| session.add_watch(path))?;
        let payload = watches::payload(path, token);
        let request = self
            .connection
            .request(Operation::Watch, 0, &[payload.as_bytes()])
            .inspect_err(|_| self.connection.with(|session| session.remove_watch(token)))?;
        // From here on dropping the watch cleans up, even if the request fails
        // or its future is dropped.
        let watch = Watch {
            connection: Rc::clone(&self.connection),
            payload,
            token,
        };
        Ok((watch, Acknowledgement(request)))
    }

    /// Returns the counts of failures so far.
    pub fn statistics(&self) -> Statistics {
        self.connection.statistics()
    }
}

/// xenstore's part in a suspend.
struct Part(Rc<Connection>);

impl Lifecycle for Part {
    fn name(&self) -> &'static str {
        "xenstore"
    }

    fn settle(&self) {
        self.0.with(|session| session.hold());
    }

    fn is_settled(&self) -> bool {
        self.0.with(|session| session.is_quiet())
    }

    fn resume(&self, outcome: Outcome) {
        self.0.with(|session| match outcome {
            Outcome::Cancelled => session.release(),
            Outcome::NewDomain => session.renew(),
        });
        self.0.kick();
    }
}

/// The pending acknowledgement of a request without a result.
#[must_use = "without it nobody knows whether the request succeeded"]
pub struct Acknowledgement(Pending);

impl Acknowledgement {
    /// Waits for the acknowledgement.
    ///
    /// # Errors
    /// Those of xenstored.
    pub async fn wait(self) -> Result<(), StoreError> {
        acknowledgement(&self.0.await?)
    }
}

/// A watch on a path; dropping it ends it. When the guest has become another
/// domain, the watch is set again automatically, and so fires once more.
pub struct Watch {
    connection: Rc<Connection>,
    /// The payload of both `WATCH` and `UNWATCH`: path and token.
    payload: String,
    token: u32,
}

impl Watch {
    /// Waits for a change and returns its path: the watched path or one below
    /// it, relative if the watch was set with a relative path.
    ///
    /// The path tells that something may have changed there, not what or how
    /// often: changes to a path are merged until its event is taken, and more
    /// than 16 different paths are reported as the watched path alone.
    ///
    /// # Errors
    /// [`StoreError::Protocol`] if the connection has become unusable.
    pub async fn next(&mut self) -> Result<String, StoreError> {
        self.connection.fired(self.token).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection
            .with(|session| session.remove_watch(self.token));
        self.connection
            .request_forgotten(Operation::Unwatch, 0, &[self.payload.as_bytes()]);
    }
}

/// Parses a UUID in its usual form: 8-4-4-4-12 hexadecimal digits.
pub(super) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    let mut rest = text;
    for (index, byte) in uuid.iter_mut().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            rest = rest.strip_prefix('-')?;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(digits, 16).ok()?;
        rest = after;
    }
    rest.is_empty().then_some(uuid)
}
