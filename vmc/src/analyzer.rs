//! System Call Analyzer (M4): decides which path a socket's bytes take. Its
//! other half is the socket layer, `netstack/src/channel`.

use crate::channel::Vmc;
use crate::config::Mode;
use crate::connection::{Conn, ConnId, Fin, Path};
use crate::platform::Platform;
use crate::stream::FourTuple;
use crate::vms::control::OPEN;

impl<P: Platform> Vmc<P> {
    /// Takes a connection into care, after `sent` bytes were put into its TCP
    /// and `received` were taken out. None: there is no room, or `vmc=off`.
    ///
    /// To be called for every connection whose peer is
    /// [`Linked`](crate::PeerState::Linked), from before SYN-ACK is sent or
    /// when `connect` starts; and at [`Output::LinkUp`](crate::Output::LinkUp)
    /// for all others with this peer.
    pub fn track(&mut self, tuple: FourTuple, sent: u64, received: u64) -> Option<ConnId> {
        if self.config.mode == Mode::Off {
            return None;
        }
        let mut conn = Conn::new(tuple, sent, received);
        let index = self.vms.link(tuple.remote.ip());
        conn.link = index.and_then(|index| self.links.key(index));
        let id = ConnId(self.conns.insert(conn)?);
        // A predecessor of the same name has lost its socket.
        self.tuples.insert(tuple, id);
        Some(id)
    }

    /// Where the next byte of a connection goes. The first write that finds a
    /// link moves the direction to a ring.
    pub(crate) fn choose(&mut self, at: usize) -> Path {
        let Some(conn) = self.conns.get_mut(at) else {
            return Path::Tcp;
        };
        let sender = &mut conn.sender;
        if sender.path != Path::Tcp || sender.refused || sender.fin != Fin::Open {
            return sender.path;
        }
        let Some(link) = conn.link.and_then(|key| self.links.named(key)) else {
            return Path::Tcp;
        };
        if link.peer_migrates && link.peer_state() != OPEN {
            // It stopped without an event, and another guest may have its address by now.
            return Path::Tcp;
        }
        if !link.is_open() || link.fault.is_some() || link.outbox.is_behind() {
            return Path::Tcp;
        }
        if sender.hold > 0 {
            sender.hold -= 1;
            return Path::Tcp;
        }
        if self.upgrade(at) {
            Path::Ring
        } else {
            Path::Tcp
        }
    }
}
