//! Pages shared with the backend: granted once, reused for as long as the connection lasts.

use alloc::rc::Rc;
use core::fmt;
use core::ops::Deref;

use kernel::DomId;
use kernel::event::EventChannel;
use kernel::grant::{Access, GrantError, GrantedPage};
use kernel::shared::{SharedMemory, SharedPage};

/// A page that the backend may use, and the name it knows the page by.
pub(crate) trait Granted: Deref<Target = SharedMemory> {
    /// The grant reference.
    fn reference(&self) -> u32;
}

impl Granted for GrantedPage {
    fn reference(&self) -> u32 {
        // A page of a former domain is no grant at all, which the backend finds by itself.
        GrantedPage::reference(self).unwrap_or(u32::MAX)
    }
}

/// The other end: whom pages are granted to, and who is told that there is work.
pub(crate) trait Backend {
    /// A page that it may use.
    type Page: Granted;

    /// A zeroed page that the backend may read, and write if `writable`.
    fn page(&mut self, writable: bool) -> Result<Self::Page, PageError>;

    /// Sends an event.
    fn notify(&self);
}

/// Why there is no further page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// No free page in the guest.
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

    /// The channel that its events come by.
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
        // A stale channel means a connection about to be replaced, whose frames are sent again.
        let _ = self.channel.notify();
    }
}
