//! The view of one connection that lasts for one call.

use super::conn::Conn;
use crate::error::Bug;
use crate::guest::Guest;
use crate::keys::ConnKey;
use crate::link::Link;
use crate::output::Output;
use crate::platform::Platform;

/// One connection over its link.
pub(crate) struct Flow<'a, P: Platform> {
    pub(crate) key: ConnKey,
    pub(crate) conn: &'a mut Conn<P>,
    /// The link with the peer, if there is one.
    pub(crate) link: Option<&'a mut Link<P>>,
    pub(crate) guest: &'a mut Guest<P>,
}

/// A [`Flow`] whose link stands.
pub(super) struct Parts<'a, P: Platform> {
    pub(super) key: ConnKey,
    pub(super) conn: &'a mut Conn<P>,
    pub(super) link: &'a mut Link<P>,
    pub(super) guest: &'a mut Guest<P>,
}

/// A connection that has rings is on a link.
pub(super) const NO_LINK: Bug = Bug("a connection with rings has a link");

impl<P: Platform> Flow<'_, P> {
    /// Returns the link of a connection that has rings on it.
    pub(super) fn link(&mut self) -> Result<&mut Link<P>, Bug> {
        let link = self.link.as_deref_mut();
        link.ok_or(NO_LINK)
    }

    /// Returns the parts of a view whose connection has rings, and so a link.
    pub(super) fn parts(&mut self) -> Result<Parts<'_, P>, Bug> {
        let link = self.link.as_deref_mut();
        Ok(Parts {
            key: self.key,
            conn: self.conn,
            link: link.ok_or(NO_LINK)?,
            guest: self.guest,
        })
    }

    /// A read that found nothing may find something.
    pub(crate) fn wake_reader(&mut self) {
        if self.conn.released {
            self.want_service();
        } else if core::mem::take(&mut self.conn.recver.blocked) {
            self.guest.outputs.push(Output::Readable(self.key));
        }
    }

    /// A write that found no room may find some.
    pub(crate) fn wake_writer(&mut self) {
        if core::mem::take(&mut self.conn.sender.blocked) {
            self.guest.outputs.push(Output::Writable(self.key));
        }
    }

    /// Asks for a call of `service`.
    pub(crate) fn want_service(&mut self) {
        if !core::mem::replace(&mut self.conn.service_wanted, true) {
            self.guest.outputs.push(Output::Service(self.key));
        }
    }
}
