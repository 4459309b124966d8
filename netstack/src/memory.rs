//! Memory that may run out while the guest runs: the toolstack can take it away at any time
//! (`xl mem-set`). A large allocation that the guest cannot go without would end it, so whoever
//! makes one here asks first.

use alloc::vec::Vec;

use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::AnySocket;

/// There is no memory for something, or the limits forbid it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

/// Returns `len` zero bytes.
pub(crate) fn zeroed(len: usize) -> Result<Vec<u8>, OutOfMemory> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| OutOfMemory)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Returns a copy of `bytes`.
pub(crate) fn copied(bytes: &[u8]) -> Result<Vec<u8>, OutOfMemory> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())
        .map_err(|_| OutOfMemory)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Adds a socket, whose buffers are there.
pub(crate) fn add_socket(
    sockets: &mut SocketSet<'static>,
    socket: impl AnySocket<'static>,
) -> Result<SocketHandle, OutOfMemory> {
    // The set grows by pushing to a list, which doubles when it is full.
    let count = sockets.iter().count();
    if count.is_power_of_two() {
        let mut grown = Vec::<SocketStorage<'_>>::new();
        let room = grown.try_reserve_exact(2 * count);
        room.map_err(|_| OutOfMemory)?;
    }
    Ok(sockets.add(socket))
}
