//! Pings every few milliseconds, with the times of each request and its reply.
//!
//! ping(8) prints a time for each reply and nothing for missing ones, so this uses a raw socket
//! (raw(7)): the kernel adds the IP header and delivers every ICMP message to it too.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
    setsockopt, socket,
};
use nix::sys::time::TimeVal;

use super::outage::{LATE, Outage, Ping, outages};
use crate::net::frame::icmp_echo_numbered;

/// The interval at which the receiver checks whether to stop.
const LOOK: TimeVal = TimeVal::new(0, 50_000);

/// Bytes of data in each request, as many as ping(8) sends; the first 64 bits are the request's
/// number.
const DATA_BYTES: usize = 56;

/// A running probe.
#[derive(Debug)]
pub struct Probe {
    start: Instant,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Vec<Duration>>,
    receiver: JoinHandle<Result<Vec<(u64, Duration)>>>,
}

/// The result of a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Every request, in order.
    pub pings: Vec<Ping>,
    /// The times without replies.
    pub outages: Vec<Outage>,
}

impl Log {
    /// Returns the longest outage in milliseconds, 0 if there was none. An outage without an end is
    /// an error, and so is a log without replies.
    pub fn longest_ms(&self) -> Result<f64> {
        if self.pings.iter().all(|ping| ping.answered.is_none()) {
            bail!("none of {} pings was answered", self.pings.len());
        }
        let mut longest = 0.0_f64;
        for outage in &self.outages {
            let ms = outage.ms().with_context(|| {
                format!(
                    "no ping answered from {} ms on",
                    outage.begin.as_secs_f64() * 1000.0
                )
            })?;
            longest = longest.max(ms);
        }
        Ok(longest)
    }

    /// Returns how many requests were never answered.
    pub fn lost(&self) -> usize {
        let unanswered = self.pings.iter().filter(|ping| ping.answered.is_none());
        unanswered.count()
    }
}

impl Probe {
    /// Starts to ping `to` every `interval`.
    pub fn start(to: Ipv4Addr, interval: Duration) -> Result<Self> {
        let socket = Arc::new(icmp_socket()?);
        // Requests of several probes are told apart by their identifier.
        let identifier = fastrand::u16(..);
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let receiver = thread::spawn({
            let (socket, stop) = (socket.clone(), stop.clone());
            move || receive(&socket, to, identifier, start, &stop)
        });
        let sender = thread::spawn({
            let stop = stop.clone();
            move || send(&socket, to, identifier, start, interval, &stop)
        });
        Ok(Self {
            start,
            stop,
            sender,
            receiver,
        })
    }

    /// Stops, and waits for the replies that are still due.
    pub fn stop(self) -> Result<Log> {
        sleep(2 * LATE);
        self.stop.store(true, Ordering::Release);
        let end = self.start.elapsed();
        let panicked = |_| anyhow!("the probe panicked");
        let sent = self.sender.join().map_err(panicked)?;
        let answers = self.receiver.join().map_err(panicked)??;
        let pings = merge(sent, &answers);
        Ok(Log {
            outages: outages(&pings, end),
            pings,
        })
    }
}

/// Joins each request with its first reply.
fn merge(sent: Vec<Duration>, answers: &[(u64, Duration)]) -> Vec<Ping> {
    let mut pings: Vec<Ping> = sent
        .into_iter()
        .map(|sent| Ping {
            sent,
            answered: None,
        })
        .collect();
    for &(number, at) in answers {
        let ping = usize::try_from(number).ok().and_then(|n| pings.get_mut(n));
        if let Some(ping) = ping {
            ping.answered.get_or_insert(at);
        }
    }
    pings
}

fn icmp_socket() -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Icmp,
    )
    .context("a raw socket for ICMP")?;
    setsockopt(&socket, ReceiveTimeout, &LOOK).context("time-out")?;
    Ok(socket)
}

fn send(
    socket: &OwnedFd,
    to: Ipv4Addr,
    identifier: u16,
    start: Instant,
    interval: Duration,
    stop: &AtomicBool,
) -> Vec<Duration> {
    let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
    let mut data = [0x50; DATA_BYTES];
    let mut sent = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let number = sent.len() as u64;
        data[..8].copy_from_slice(&number.to_be_bytes());
        // The header has 16 bits for the number; the data has all 64.
        let message = icmp_echo_numbered(identifier, number as u16, &data);
        sent.push(start.elapsed());
        // A request that the kernel cannot send counts as one without a reply: while the guest
        // migrates, its interface comes and goes.
        let _ = sendto(socket.as_raw_fd(), &message, &to, MsgFlags::empty());
        sleep(interval);
    }
    sent
}

fn receive(
    socket: &OwnedFd,
    from: Ipv4Addr,
    identifier: u16,
    start: Instant,
    stop: &AtomicBool,
) -> Result<Vec<(u64, Duration)>> {
    let mut answers = Vec::new();
    let mut packet = [0; 2048];
    while !stop.load(Ordering::Acquire) {
        match recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
            Ok(count) => {
                let at = start.elapsed();
                if let Some(number) = answer(&packet[..count], from, identifier) {
                    answers.push((number, at));
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => bail!("receiving pings: {error}"),
        }
    }
    Ok(answers)
}

/// Returns the number of the request that an IPv4 packet answers; `None` if it is not a reply to
/// this probe.
fn answer(packet: &[u8], from: Ipv4Addr, identifier: u16) -> Option<u64> {
    let header = usize::from(packet.first()? & 15) * 4;
    let message = packet.get(header..)?;
    let (source, kind) = (packet.get(12..16)?, *message.first()?);
    let ours = source == from.octets()
        && kind == 0
        && message.get(4..6)? == identifier.to_be_bytes()
        && message.len() == 8 + DATA_BYTES;
    if !ours {
        return None;
    }
    Some(u64::from_be_bytes(message.get(8..16)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{DATA_BYTES, Log, answer, merge};
    use crate::net::frame::{ICMP, icmp_echo_numbered, ipv4};
    use crate::traffic::outage::outages;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const DOM0: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn reply(from: Ipv4Addr, identifier: u16, number: u64, kind: u8) -> Vec<u8> {
        let mut data = [0; DATA_BYTES];
        data[..8].copy_from_slice(&number.to_be_bytes());
        let mut message = icmp_echo_numbered(identifier, number as u16, &data);
        message[0] = kind;
        ipv4(from, DOM0, ICMP, 0, &message)
    }

    #[test]
    fn only_answers_to_this_probe_count() {
        let number = 0x1_0002;
        assert_eq!(answer(&reply(GUEST, 5, number, 0), GUEST, 5), Some(number));
        assert_eq!(answer(&reply(DOM0, 5, number, 0), GUEST, 5), None);
        assert_eq!(answer(&reply(GUEST, 6, number, 0), GUEST, 5), None);
        assert_eq!(answer(&reply(GUEST, 5, number, 8), GUEST, 5), None);
        assert_eq!(answer(&reply(GUEST, 5, number, 0)[..30], GUEST, 5), None);
        assert_eq!(answer(&[], GUEST, 5), None);
    }

    #[test]
    fn the_longest_outage_needs_an_end() {
        let ms = Duration::from_millis;
        let sent: Vec<Duration> = (0..100).map(|n| ms(n * 10)).collect();
        let log = |answers: &[(u64, Duration)]| {
            let pings = merge(sent.clone(), answers);
            Log {
                outages: outages(&pings, ms(1100)),
                pings,
            }
        };
        let all: Vec<_> = (0..100).map(|n| (n, ms(n * 10 + 1))).collect();
        assert_eq!(log(&all).longest_ms().expect("answered"), 0.0);
        let mut gap = all.clone();
        gap.drain(20..50);
        // An answer to a request that was never sent is no answer.
        gap.push((1000, ms(300)));
        assert_eq!(log(&gap).longest_ms().expect("it came back"), 301.0);
        assert_eq!(log(&gap).lost(), 30);
        assert!(log(&all[..50]).longest_ms().is_err());
        assert!(log(&[]).longest_ms().is_err());
    }
}
