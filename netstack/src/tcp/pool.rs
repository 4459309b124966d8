//! The sockets themselves, and the memory in their buffers.

use alloc::rc::Rc;
use alloc::vec::Vec;

use smoltcp::iface::SocketSet;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use vmc::ConnKey;

use super::record::Record;
use crate::memory::{OutOfMemory, add_socket, zeroed};
use crate::options::TcpOptions;

/// All TCP sockets of a stack, in no order.
#[derive(Default)]
pub(super) struct Pool {
    records: Vec<Rc<Record>>,
    /// Bytes in the buffers of `records`.
    bytes: usize,
    /// Connections whose sockets are gone, until the channel is told.
    gone: Vec<ConnKey>,
}

impl Pool {
    /// Makes a closed socket with the buffers that `options` ask for.
    pub(super) fn add(
        &mut self,
        sockets: &mut SocketSet<'static>,
        options: TcpOptions,
    ) -> Result<Rc<Record>, OutOfMemory> {
        let receive = zeroed(options.buffers.receive)?;
        let transmit = zeroed(options.buffers.transmit)?;
        let mut socket = Socket::new(SocketBuffer::new(receive), SocketBuffer::new(transmit));
        Record::configure(&options, &mut socket);
        let handle = add_socket(sockets, socket)?;
        let record = Rc::new(Record::new(handle, options));
        self.records.push(record.clone());
        self.bytes += options.buffers.total();
        Ok(record)
    }

    /// Takes a socket out, whatever its state.
    pub(super) fn remove(&mut self, sockets: &mut SocketSet<'static>, record: &Rc<Record>) {
        let Some(index) = self.records.iter().position(|r| Rc::ptr_eq(r, record)) else {
            debug_assert!(false, "a socket is removed twice");
            log::error!("net: a socket was removed twice");
            return;
        };
        self.records.swap_remove(index);
        self.bytes -= record.options.buffers.total();
        self.gone.extend(record.channel.take());
        sockets.remove(record.handle);
    }

    pub(super) fn records(&self) -> &[Rc<Record>] {
        &self.records
    }

    /// Bytes in the buffers of all sockets.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns a connection whose socket is gone, for the channel to forget.
    pub(super) fn take_gone(&mut self) -> Option<ConnKey> {
        self.gone.pop()
    }
}

/// Whether smoltcp will neither send nor receive on the socket any more.
pub(super) fn is_dead(socket: &Socket<'_>) -> bool {
    // A closed socket with a peer still owes it a reset.
    socket.state() == State::Closed && socket.remote_endpoint().is_none()
}
