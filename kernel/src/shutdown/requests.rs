//! Requests of the toolstack to shut down (`control/shutdown`,
//! docs/misc/xenstore-paths.pandoc).

use core::fmt;

use crate::domain::{self, Generation};
use crate::xenstore::{StoreError, Watch, Xenstore};

/// The node that the toolstack writes and the guest answers by emptying it.
const NODE: &str = "control/shutdown";
/// What tells the toolstack that a request of this kind will be heard.
const FEATURES: [&str; 3] = [
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
];

/// What the toolstack asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// `xl shutdown`: stop in order.
    Poweroff,
    /// `xl reboot`: stop in order, to be started again.
    Reboot,
    /// Stop; the toolstack treats it as [`Request::Poweroff`].
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
    /// In which the features were announced.
    generation: Generation,
}

impl Requests {
    /// Announces what this guest can do and begins to listen.
    ///
    /// # Errors
    /// Those of [`Xenstore::watch`]. A refused announcement is none: not every
    /// toolstack makes these nodes writable.
    pub(super) async fn listen(store: &Xenstore) -> Result<Self, StoreError> {
        let mut requests = Self {
            store: store.clone(),
            watch: store.watch(NODE).await?,
            generation: 0,
        };
        requests.announce().await;
        Ok(requests)
    }

    /// Tells the toolstack what will be heard, in each new domain again.
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
    /// Those of xenstore; [`StoreError::Protocol`] when its connection is
    /// unusable, and no request will be heard any more.
    pub(super) async fn next(&mut self) -> Result<Request, StoreError> {
        loop {
            // The watch fires in a new domain, too.
            self.watch.next().await?;
            if self.generation != domain::generation() {
                self.announce().await;
            }
            let text = match self.take().await {
                // Not written yet: the watch fires once when it is set.
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

    /// Reads the request and empties the node in one transaction: the
    /// toolstack may withdraw its request by emptying the node itself, and
    /// then no one may act on it (`libxl_dom_suspend.c`).
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
