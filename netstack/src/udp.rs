//! UDP sockets. Both queues are bounded: a full receive queue drops datagrams, a full send queue
//! makes the sender wait.

use alloc::vec;
use core::fmt;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpEndpoint, UDP_HEADER_LEN};
use vmc::Platform;

use crate::channel::Xen;
use crate::error::{BindError, DatagramError};
use crate::memory::{OutOfMemory, add_socket, zeroed};
use crate::stack::{Shared, Stack};

/// Datagrams in each queue.
const QUEUE_DATAGRAMS: usize = 32;
/// Bytes in each queue.
const QUEUE_BYTES: usize = 16 * 1024;

/// A UDP port. Datagrams keep their boundaries. Dropping it closes the port; datagrams still
/// queued for sending are then lost.
pub struct UdpSocket<P: Platform = Xen> {
    shared: Shared<P>,
    handle: SocketHandle,
    port: u16,
}

impl<P: Platform> Shared<P> {
    /// Binds `port` of every address; 0 picks a free ephemeral port.
    pub(crate) fn bind_udp(&self, port: u16) -> Result<UdpSocket<P>, BindError> {
        self.with(|stack| {
            let port = match port {
                0 => stack.free_udp_port().ok_or(BindError::NoFreePort)?,
                _ if stack.udp_port_in_use(port) => return Err(BindError::InUse),
                _ => port,
            };
            let buffer = || {
                let bytes = zeroed(QUEUE_BYTES)?;
                let datagrams = vec![PacketMetadata::EMPTY; QUEUE_DATAGRAMS];
                Ok(PacketBuffer::new(datagrams, bytes))
            };
            let no_memory = |OutOfMemory| BindError::OutOfMemory;
            let receive = buffer().map_err(no_memory)?;
            let mut socket = Socket::new(receive, buffer().map_err(no_memory)?);
            // smoltcp refuses port 0, and a socket that is bound.
            socket.bind(port).map_err(|_| BindError::InvalidPort)?;
            Ok(UdpSocket {
                shared: self.clone(),
                handle: add_socket(&mut stack.sockets, socket).map_err(no_memory)?,
                port,
            })
        })
    }
}

impl<P: Platform> Stack<P> {
    fn udp_port_in_use(&self, port: u16) -> bool {
        self.sockets.iter().any(|(_, socket)| {
            matches!(socket, smoltcp::socket::Socket::Udp(udp) if udp.endpoint().port == port)
        })
    }

    fn free_udp_port(&self) -> Option<u16> {
        (49152..=u16::MAX).find(|port| !self.udp_port_in_use(*port))
    }
}

impl<P: Platform> UdpSocket<P> {
    /// Returns the bound port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends `data` to `peer` as one datagram, which is never fragmented; waits while the queue is
    /// full.
    ///
    /// # Errors
    /// The destination cannot be reached, or the datagram does not fit into one packet.
    pub async fn send_to(&self, data: &[u8], peer: SocketAddr) -> Result<(), DatagramError> {
        if peer.port() == 0 || peer.ip().is_unspecified() {
            return Err(DatagramError::InvalidAddress);
        }
        poll_fn(|cx| self.poll_send(cx, data, peer)).await
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        peer: SocketAddr,
    ) -> Poll<Result<(), DatagramError>> {
        self.shared.with(|stack| {
            let ip_header = match peer.ip() {
                IpAddr::V4(_) => IPV4_HEADER_LEN,
                IpAddr::V6(_) => IPV6_HEADER_LEN,
            };
            let longest = (stack.ip_mtu - ip_header - UDP_HEADER_LEN).min(QUEUE_BYTES);
            if data.len() > longest {
                return Poll::Ready(Err(DatagramError::TooLong(longest)));
            }
            let multicast = peer.ip().is_multicast();
            let broadcast = matches!(peer.ip(), IpAddr::V4(ipv4) if ipv4.is_broadcast());
            if !multicast && !broadcast && !stack.reachable(peer.ip()) {
                return Poll::Ready(Err(DatagramError::Unreachable));
            }
            let socket = stack.sockets.get_mut::<Socket<'_>>(self.handle);
            match socket.send_slice(data, IpEndpoint::from(peer)) {
                Ok(()) => {
                    stack.kick();
                    Poll::Ready(Ok(()))
                }
                // The address was checked above: the queue is full.
                Err(_) => {
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                }
            }
        })
    }

    /// Receives one datagram into `buf`. Returns its length in bytes and its sender.
    ///
    /// # Errors
    /// [`DatagramError::Truncated`] if `buf` is too small; the datagram is then lost.
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), DatagramError> {
        poll_fn(|cx| {
            self.shared.with(|stack| {
                let socket = stack.sockets.get_mut::<Socket<'_>>(self.handle);
                match socket.recv() {
                    Ok((data, meta)) => Poll::Ready(match buf.get_mut(..data.len()) {
                        Some(place) => {
                            place.copy_from_slice(data);
                            Ok((data.len(), meta.endpoint.into()))
                        }
                        None => Err(DatagramError::Truncated(data.len())),
                    }),
                    Err(_) => {
                        socket.register_recv_waker(cx.waker());
                        Poll::Pending
                    }
                }
            })
        })
        .await
    }
}

impl<P: Platform> Drop for UdpSocket<P> {
    fn drop(&mut self) {
        self.shared.with(|stack| {
            stack.sockets.remove(self.handle);
        });
    }
}

impl<P: Platform> fmt::Debug for UdpSocket<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({})", self.port)
    }
}
