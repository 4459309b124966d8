//! Pages shared with the backend: granted once, and reused as long as the connection lasts.

use alloc::rc::Rc;
use core::fmt;
use core::ops::Deref;

use kernel::DomId;
use kernel::event::EventChannel;
use kernel::grant::{Access, GrantError, GrantedPage};
use kernel::shared::{SharedMemory, SharedPage};

/// A page that the backend may use, by its grant reference.
pub(crate) trait Granted: Deref<Target = SharedMemory> {
    /// Returns the grant reference.
    fn reference(&self) -> u32;
}

impl Granted for GrantedPage {
    fn reference(&self) -> u32 {
        // The grant of a former domain does not exist any more; the backend finds that out.
        GrantedPage::reference(self).unwrap_or(u32::MAX)
    }
}

/// The other end of a connection: it is granted pages, and notified of work.
pub(crate) trait Backend {
    /// A page granted to the backend.
    type Page: Granted;

    /// Grants a zeroed page, which the backend may read and, if `writable`, write.
    fn page(&mut self, writable: bool) -> Result<Self::Page, PageError>;

    /// Sends the backend an event.
    fn notify(&self);
}

/// Why there is no further page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The guest has no free page.
    OutOfMemory,
    /// The page cannot be granted.
    Grant(GrantError),
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("no free page"),
            Self::Grant(error) => error.fmt(f),
        }
    }
}

/// A backend in another domain.
pub(crate) struct Domain {
    domid: DomId,
    channel: Rc<EventChannel>,
}

impl Domain {
    pub(super) fn new(domid: DomId, channel: Rc<EventChannel>) -> Self {
        Self { domid, channel }
    }

    /// Returns the event channel to the backend.
    pub(crate) fn channel(&self) -> Rc<EventChannel> {
        self.channel.clone()
    }
}

impl Backend for Domain {
    type Page = GrantedPage;

    fn page(&mut self, writable: bool) -> Result<GrantedPage, PageError> {
        let page = SharedPage::new().map_err(|_| PageError::OutOfMemory)?;
        let access = if writable {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        GrantedPage::new(self.domid, page, access).map_err(PageError::Grant)
    }

    fn notify(&self) {
        // A stale channel's connection is about to be replaced, and its frames are sent again.
        let _ = self.channel.notify();
    }
}
