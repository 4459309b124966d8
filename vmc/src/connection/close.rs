//! The end of a connection: FIN, RESET, and what is left when its user lets go.

use super::{Conn, ConnId, Fin, Path};
use crate::channel::Vmc;
use crate::message::Message;
use crate::output::Output;
use crate::platform::Platform;
use crate::statistics::ConnStatistics;
use crate::stream::Tcp;
use crate::vms::rings::User;

impl<P: Platform> Vmc<P> {
    /// The application writes no more. TCP below is closed at once, or, where
    /// bytes are on the way in a ring, when those have been consumed.
    pub fn finish<T: Tcp>(&mut self, conn: ConnId, tcp: &mut T) {
        let Ok(at) = self.live(conn) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        if conn.sender.fin != Fin::Open {
            return;
        }
        conn.sender.fin = Fin::Wanted;
        match conn.sender.path {
            Path::Tcp => {
                conn.sender.fin = Fin::Sent;
                tcp.close();
            }
            Path::Ring => {
                let link = conn.link.and_then(|key| self.links.named_mut(key));
                if let Some((link, &number)) = link.zip(conn.sender.rings.last())
                    && let Some(ring) = link.own_of(number, at)
                {
                    // Behind a seal TCP brings the end.
                    if !ring.producer.is_sealed() {
                        ring.producer.finish(&ring.memory);
                    }
                    link.note_data(number, &self.platform);
                }
                if conn.sender.sunk {
                    conn.sender.fin = Fin::Sent;
                    tcp.close();
                }
            }
            Path::Unconfirmed | Path::Residue => {}
        }
    }

    /// Moves a connection on: residue goes into TCP, TCP is closed when the
    /// ring is done, and what nobody reads is thrown away. To be called after
    /// [`Output::Advance`], and when TCP has made room or brought something.
    pub fn advance<T: Tcp>(&mut self, conn: ConnId, tcp: &mut T) {
        if let Some(at) = self.conns.find(conn.0)
            && let Some(conn) = self.conns.get_mut(at)
        {
            conn.advancing = false;
        }
        let Ok(at) = self.live(conn) else {
            return;
        };
        // Where TCP has failed its user finds out by its socket.
        let _ = self.resend(at, tcp);
        if self.conns.get(at).is_some_and(|conn| conn.released) {
            self.throw_away(conn, at, tcp);
        }
    }

    /// Resets a connection: what was written and not yet consumed is lost.
    pub fn abort<T: Tcp>(&mut self, conn: ConnId, tcp: &mut T) {
        if let Some(at) = self.conns.find(conn.0) {
            self.drop_rings(at);
            self.drop_kept(at);
            if let Some(conn) = self.conns.get_mut(at) {
                conn.ended = true;
                conn.sender.residue = alloc::vec::Vec::new();
            }
        }
        tcp.abort();
    }

    /// Nobody reads any more: what comes in is thrown away. What was written
    /// is still delivered.
    pub fn release(&mut self, conn: ConnId) {
        let Ok(at) = self.live(conn) else {
            return;
        };
        if let Some(conn) = self.conns.get_mut(at) {
            conn.released = true;
        }
        self.want_advance(at);
    }

    /// The TCP socket is gone. Rings that are still in use are reset.
    pub fn forget(&mut self, conn: ConnId) {
        let Some(at) = self.conns.find(conn.0) else {
            return;
        };
        self.drop_rings(at);
        self.drop_kept(at);
        if let Some(gone) = self.conns.remove(at)
            && self.tuples.get(&gone.tuple) == Some(&conn)
        {
            self.tuples.remove(&gone.tuple);
        }
    }

    /// Bytes written that are neither consumed by the peer nor in TCP.
    pub fn unconsumed(&self, conn: ConnId) -> u64 {
        let Some(conn) = self.conns.find(conn.0).and_then(|at| self.conns.get(at)) else {
            return 0;
        };
        let link = conn.link.and_then(|key| self.links.named(key));
        let in_ring = |number: &u16| {
            let ring = link?.own.get(usize::from(*number))?.as_ref()?;
            Some(ring.producer.unconsumed(&ring.memory))
        };
        let in_rings: u64 = conn.sender.rings.iter().filter_map(in_ring).sum();
        in_rings + conn.unconsumed_kept() + (conn.sender.residue.len() - conn.sender.resent) as u64
    }

    /// A connection ends while its link stays: its rings are let go of.
    fn drop_rings(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let Some(link) = conn.link.and_then(|key| self.links.named_mut(key)) else {
            return;
        };
        for number in core::mem::take(&mut conn.sender.rings) {
            if let Some(ring) = link.own_of(number, at) {
                ring.producer.reset(&ring.memory);
                ring.user = User::Over;
                link.note_data(number, &self.platform);
            }
        }
        let offset = conn.recver.received;
        for source in core::mem::take(&mut conn.recver.rings) {
            link.let_go(
                source.ring,
                &Message::Done {
                    your: source.ring,
                    offset,
                },
            );
        }
    }

    /// The peer has reset a connection, or given it up: TCP below is to go, too.
    pub(crate) fn end_conn(&mut self, at: usize) {
        self.drop_rings(at);
        self.lose(at);
    }

    /// A connection is lost. Its rings are gone already.
    pub(crate) fn lose(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        if conn.ended {
            return;
        }
        conn.ended = true;
        conn.sender.residue = alloc::vec::Vec::new();
        self.drop_kept(at);
        self.stats.failed += 1;
        if let Some(id) = self.conn_id(at) {
            self.emit(Output::Failed(id));
        }
    }

    /// A read that found nothing may find something.
    pub(crate) fn wake_reader(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        if conn.released {
            self.want_advance(at);
        } else if core::mem::take(&mut conn.recver.blocked)
            && let Some(id) = self.conn_id(at)
        {
            self.emit(Output::Readable(id));
        }
    }

    /// A write that found no room may find some.
    pub(crate) fn wake_writer(&mut self, at: usize) {
        if let Some(conn) = self.conns.get_mut(at)
            && core::mem::take(&mut conn.sender.blocked)
            && let Some(id) = self.conn_id(at)
        {
            self.emit(Output::Writable(id));
        }
    }

    /// Asks for a call of `advance`.
    pub(crate) fn want_advance(&mut self, at: usize) {
        if let Some(conn) = self.conns.get_mut(at)
            && !core::mem::replace(&mut conn.advancing, true)
            && let Some(id) = self.conn_id(at)
        {
            self.emit(Output::Advance(id));
        }
    }
}

impl<P: Platform> Conn<P> {
    pub(crate) fn statistics(&self) -> ConnStatistics {
        ConnStatistics {
            tuple: self.tuple,
            written: self.sender.written,
            read: self.recver.received,
            written_to_ring: self.sender.by_ring,
            read_from_ring: self.recver.by_ring,
            waits: self.sender.all_waits,
            sends_by_ring: self.sender.path == Path::Ring,
            receives_by_ring: self
                .recver
                .rings
                .first()
                .is_some_and(|source| self.recver.received >= source.base),
        }
    }
}
