//! Requests of the toolstack through xenstore (`control/shutdown`,
//! docs/misc/xenstore-paths.pandoc).

use core::fmt;

use crate::domain::{self, Generation};
use crate::xenstore::{StoreError, Watch, Xenstore};

/// The node that the toolstack writes, and that the guest empties in reply.
const NODE: &str = "control/shutdown";
/// Nodes that tell the toolstack which requests the guest supports.
const FEATURES: [&str; 3] = [
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
];

/// A request of the toolstack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// `xl shutdown`: stop in an orderly way.
    Poweroff,
    /// `xl reboot`: stop in an orderly way, to be started again.
    Reboot,
    /// Stop; the toolstack treats it like [`Request::Poweroff`].
    Halt,
    /// `xl save`, `xl migrate`: suspend.
    Suspend,
}

impl Request {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "poweroff" => Some(Self::Poweroff),
            "reboot" => Some(Self::Reboot),
            "halt" => Some(Self::Halt),
            "suspend" => Some(Self::Suspend),
            _ => None,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
            Self::Suspend => "suspend",
        })
    }
}

/// The stream of requests.
pub(super) struct Requests {
    store: Xenstore,
    watch: Watch,
    /// The generation in which the features were announced.
    generation: Generation,
}

impl Requests {
    /// Announces the requests that this guest supports and begins to listen.
    ///
    /// # Errors
    /// Those of [`Xenstore::watch`]. A refused announcement is not an error:
    /// not every toolstack makes these nodes writable.
    pub(super) async fn listen(store: &Xenstore) -> Result<Self, StoreError> {
        let mut requests = Self {
            store: store.clone(),
            watch: store.watch(NODE).await?,
            generation: 0,
        };
        requests.announce().await;
        Ok(requests)
    }

    /// Announces the supported requests, which has to be repeated in each new
    /// domain.
    async fn announce(&mut self) {
        self.generation = domain::generation();
        for feature in FEATURES {
            if let Err(error) = self.store.write(feature, "1").await {
                log::debug!("{feature} not announced: {error}");
            }
        }
    }

    /// Waits for the next request and acknowledges it. Unknown requests are
    /// acknowledged and logged.
    ///
    /// # Errors
    /// Those of xenstore; [`StoreError::Protocol`] if its connection is
    /// unusable, so no further request can be received.
    pub(super) async fn next(&mut self) -> Result<Request, StoreError> {
        loop {
            // The watch also fires in a new domain.
            self.watch.next().await?;
            if self.generation != domain::generation() {
                self.announce().await;
            }
            let text = match self.take().await {
                // Not written yet: a watch fires once when it is set.
                Err(StoreError::NotFound) => continue,
                other => other?,
            };
            match Request::parse(&text) {
                Some(request) => return Ok(request),
                None if text.is_empty() => {}
                None => log::warn!("{NODE}: unknown request {text:?} ignored"),
            }
        }
    }

    /// Reads the request and empties the node in one transaction. The toolstack
    /// may withdraw its request by emptying the node itself, and then the guest
    /// must not act on it (`libxl_dom_suspend.c`).
    async fn take(&self) -> Result<alloc::string::String, StoreError> {
        self.store
            .transaction(async |transaction| {
                let text = transaction.read(NODE).await?;
                if !text.is_empty() {
                    transaction.write(NODE, "").await?;
                }
                Ok(text)
            })
            .await
    }
}

#[cfg(test)]
mod tests;
