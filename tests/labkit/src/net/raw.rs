//! Sends and captures frames on a network interface, past dom0's own stack (packet(7)).

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    setsockopt, socket,
};
use nix::sys::time::TimeVal;

use super::frame::{ACK, Link, PSH, Segment};
use super::parse;
use super::stream::echo_once;
use crate::addresses::{self, BRIDGE};
use crate::deadline::Deadline;

/// A packet socket on one interface.
#[derive(Debug)]
pub struct Raw {
    socket: OwnedFd,
    address: LinkAddr,
}

impl Raw {
    /// Opens the interface called `name`.
    pub fn open(name: &str) -> Result<Self> {
        let address = getifaddrs()
            .context("the list of interfaces")?
            .filter(|interface| interface.interface_name == name)
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .with_context(|| format!("no interface is called {name}"))?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("a packet socket")?;
        bind(socket.as_raw_fd(), &address).with_context(|| format!("binding to {name}"))?;
        Ok(Self { socket, address })
    }

    /// Returns the MAC address of the interface.
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.address.addr()
    }

    /// Sends one frame, and waits until `deadline` if the queue is full. Returns false if the
    /// kernel refuses the frame itself: it is too short for its header, or too long.
    pub fn send(&self, frame: &[u8], deadline: Deadline) -> Result<bool> {
        loop {
            let sent = sendto(
                self.socket.as_raw_fd(),
                frame,
                &self.address,
                MsgFlags::empty(),
            );
            match sent {
                Ok(_) => return Ok(true),
                Err(Errno::EINVAL | Errno::EMSGSIZE) => return Ok(false),
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) if !deadline.passed() => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => bail!("a frame of {} bytes: {error}", frame.len()),
            }
        }
    }

    /// Returns what dom0 would send next on an echo connection that passes the interface, learnt by
    /// watching a round trip.
    ///
    /// # Errors
    /// The echo does not come back, or is not seen.
    pub fn next_segment(&self, stream: &mut TcpStream) -> Result<Segment> {
        let SocketAddr::V4(local) = stream.local_addr()? else {
            bail!("not an IPv4 connection");
        };
        let port = local.port();
        echo_once(stream, b"sequence").context("before watching")?;
        let mut next = None;
        // To the end of what was captured: the last answer names both positions.
        self.find(Deadline::after(Duration::from_millis(400)), |frame| {
            let seen = parse::tcp(frame)?;
            if seen.from.1 == 7 && seen.to.1 == port {
                next = Some((seen.ack, seen.seq.wrapping_add(seen.payload.len() as u32)));
            }
            None::<()>
        })?;
        let (seq, ack) = next.context("no segment of the connection was seen")?;
        Ok(Segment {
            from: port,
            to: 7,
            seq,
            ack,
            flags: ACK | PSH,
            window: 500,
        })
    }

    /// Returns what `wanted` makes of the first frame that it picks, of those that pass the
    /// interface in either direction.
    pub fn find<T>(
        &self,
        deadline: Deadline,
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut buffer = vec![0; 65536];
        while !deadline.passed() {
            let left = deadline.socket_timeout();
            let left = TimeVal::new(
                left.as_secs() as i64,
                i64::from(left.subsec_micros().max(1)),
            );
            setsockopt(&self.socket, ReceiveTimeout, &left).context("time-out")?;
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(count) => {
                    if let Some(value) = wanted(&buffer[..count]) {
                        return Ok(Some(value));
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => bail!("receiving frames: {error}"),
            }
        }
        Ok(None)
    }
}

/// Returns the link between dom0's bridge and the guest with this number.
///
/// # Errors
/// The bridge is not there.
pub fn link_to(number: u8) -> Result<Link> {
    let from = Raw::open(BRIDGE)?
        .mac()
        .context("the bridge has no MAC address")?;
    Ok(Link {
        to: addresses::mac(number),
        from,
    })
}

#[cfg(test)]
mod tests {
    use super::Raw;

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let error = Raw::open("none0").expect_err("no such interface");
        assert!(error.to_string().contains("none0"));
    }
}
