//! Opening a connection.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::task::Poll;
use core::time::Duration;

use smoltcp::socket::tcp::{self, Socket, State};
use vmc::Platform;

use super::connection::Connection;
use super::record::Record;
use super::stream::TcpStream;
use crate::channel::{Stage, TcpSocket};
use crate::error::{ConnectError, StreamError};
use crate::options::TcpOptions;
use crate::stack::{Shared, Stack};

impl<P: Platform> Shared<P> {
    /// Opens a connection to `peer`; the handshake may take `timeout`. Dropping the future gives
    /// up.
    pub(crate) async fn connect(
        &self,
        peer: SocketAddr,
        options: TcpOptions,
        timeout: Duration,
    ) -> Result<TcpStream<P>, ConnectError> {
        let record = self.with(|stack| stack.start_connect(peer, options, timeout))?;
        let attempt = Attempt {
            shared: self,
            record,
            is_over: false,
        };
        attempt.finish().await
    }
}

impl<P: Platform> Stack<P> {
    fn start_connect(
        &mut self,
        peer: SocketAddr,
        options: TcpOptions,
        timeout: Duration,
    ) -> Result<Rc<Record>, ConnectError> {
        let ip = peer.ip();
        let broadcast = matches!(ip, IpAddr::V4(ipv4) if ipv4.is_broadcast());
        if peer.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(ConnectError::InvalidAddress);
        }
        if self.is_own(ip) {
            return Err(ConnectError::InvalidAddress);
        }
        if !self.reachable(ip) {
            return Err(ConnectError::Unreachable);
        }
        let port = self
            .tcp
            .ephemeral_port(&self.sockets)
            .ok_or(ConnectError::NoFreePort)?;
        let record = self
            .tcp
            .open(&mut self.sockets, options)
            .map_err(|_| ConnectError::OutOfMemory)?;
        let socket = self.sockets.get_mut::<Socket<'_>>(record.handle);
        socket.set_timeout(Some(timeout.into()));
        let started = socket.connect(self.iface.context(), peer, port);
        record.state.set(socket.state());
        if let (Ok(()), Some(channel)) = (&started, &mut self.channel) {
            let socket = TcpSocket(socket);
            if let Some(ends) = socket.four_tuple() {
                channel.greet(ends.pair());
            }
            channel.consider(&record, &socket, Stage::New);
        }
        if let Err(error) = started {
            self.tcp.remove(&mut self.sockets, &record);
            return Err(match error {
                tcp::ConnectError::InvalidState | tcp::ConnectError::Unaddressable => {
                    ConnectError::Unreachable
                }
            });
        }
        self.kick();
        Ok(record)
    }
}

/// A handshake under way. Dropping it gives up.
struct Attempt<'a, P: Platform> {
    shared: &'a Shared<P>,
    record: Rc<Record>,
    is_over: bool,
}

impl<P: Platform> Attempt<'_, P> {
    async fn finish(mut self) -> Result<TcpStream<P>, ConnectError> {
        poll_fn(|cx| {
            self.shared.with(|stack| {
                let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
                match socket.state() {
                    State::SynSent | State::SynReceived => {
                        socket.register_send_waker(cx.waker());
                        Poll::Pending
                    }
                    _ => Poll::Ready(()),
                }
            })
        })
        .await;
        self.is_over = true;
        match Connection::new(self.shared, self.record.clone()) {
            Some(connection) => {
                self.shared.with(|stack| stack.tcp.counters.connected += 1);
                Ok(TcpStream::new(connection))
            }
            None => Err(match self.record.error() {
                StreamError::TimedOut => ConnectError::TimedOut,
                StreamError::AddressLost => ConnectError::Unreachable,
                StreamError::Reset | StreamError::Aborted | StreamError::WriteClosed => {
                    ConnectError::Refused
                }
            }),
        }
    }
}

impl<P: Platform> Drop for Attempt<'_, P> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.with(|stack| {
                stack.release(&self.record);
                stack.kick();
            });
        }
    }
}
