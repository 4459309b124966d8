//! The end of a connection: FIN, RESET, and what is left when its user lets go.

use alloc::vec::Vec;

use super::conn::{Fin, Path};
use super::view::{Flow, NO_LINK};
use super::write::CallError;
use crate::error::Bug;
use crate::link::User;
use crate::output::Output;
use crate::platform::Platform;
use crate::stream::Tcp;
use crate::wire::Message;

impl<P: Platform> Flow<'_, P> {
    /// The application writes no more. TCP below is closed at once, or, if bytes
    /// are on the way in a ring, when those have been consumed.
    #[inline(never)]
    pub(crate) fn finish<T: Tcp>(&mut self, tcp: &mut T) -> Result<(), CallError> {
        let sender = &mut self.conn.sender;
        if sender.fin != Fin::Open {
            return Ok(());
        }
        sender.fin = Fin::Wanted;
        match sender.path {
            Path::Tcp => {
                sender.fin = Fin::Sent;
                tcp.close();
            }
            Path::Ring => {
                let number = sender.rings.last().copied();
                let number = number.ok_or(Bug("a sender on the path Ring has one"))?;
                let link = self.link.as_deref_mut();
                let link = link.ok_or(NO_LINK)?;
                let ring = link.own_ring_of(number, self.key);
                let ring = ring.ok_or(Bug("a sender's ring is in use by it"))?;
                // Behind a seal TCP brings the end.
                if !ring.producer.is_sealed() {
                    ring.producer.finish(&ring.memory);
                }
                link.note_data(number, &self.guest.platform);
            }
            // TCP brings the end, behind the residue.
            Path::Unconfirmed | Path::Residue => {}
        }
        Ok(())
    }

    /// Does what is to be done with the connection's TCP: residue goes into it,
    /// it is closed when the ring is done, and what nobody reads is thrown away.
    pub(crate) fn service<T: Tcp>(&mut self, tcp: &mut T) -> Result<(), CallError> {
        self.conn.service_wanted = false;
        if self.conn.ended {
            return Ok(());
        }
        if core::mem::take(&mut self.conn.is_orphan) && !tcp.has_heard_all() {
            // What has arrived in TCP together with its end is not in doubt.
            self.end();
            return Ok(());
        }
        // A TCP that has failed tells its user by its socket.
        let _ = self.resend(tcp);
        if self.conn.released {
            self.discard(tcp)?;
        }
        Ok(())
    }

    /// Nobody reads any more: what comes in is thrown away. What was written is
    /// still delivered.
    pub(crate) fn release(&mut self) {
        self.conn.released = true;
        self.want_service();
    }

    /// The connection ends while its link stays: its rings are let go of, and
    /// nothing is retained.
    #[inline(never)]
    pub(crate) fn drop_everything(&mut self) {
        self.drop_rings();
        self.drop_retained();
        self.conn.sender.residue = Vec::new();
        self.conn.sender.resent = 0;
        self.conn.ended = true;
    }

    #[inline(never)]
    fn drop_rings(&mut self) {
        let Self {
            key,
            conn,
            link: Some(link),
            guest,
        } = self
        else {
            return;
        };
        for number in core::mem::take(&mut conn.sender.rings) {
            if let Some(ring) = link.own_ring_of(number, *key) {
                ring.producer.reset(&ring.memory);
                ring.user = User::Over;
                link.note_data(number, &guest.platform);
            }
        }
        let offset = conn.recver.received;
        for source in core::mem::take(&mut conn.recver.rings) {
            let your = source.ring;
            link.let_go_of_ring(your, &Message::Done { your, offset });
        }
    }

    /// The peer has reset the connection, or given it up: TCP below is to go,
    /// too.
    pub(crate) fn end(&mut self) {
        self.drop_rings();
        self.lose();
    }

    /// The connection is lost. Its rings are gone already.
    #[inline(never)]
    pub(crate) fn lose(&mut self) {
        if self.conn.ended {
            return;
        }
        self.conn.ended = true;
        self.conn.sender.residue = Vec::new();
        self.conn.sender.resent = 0;
        self.drop_retained();
        self.guest.stats.failed += 1;
        self.guest.outputs.push(Output::Failed(self.key));
    }
}
