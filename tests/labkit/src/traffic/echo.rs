//! A TCP connection to an echo server that carries random bytes both ways until it is stopped.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::net::pattern::{Pattern, Tally};
use crate::net::stream::connect;

/// The interval at which a thread that waits for its socket checks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// How long the server has to close its side after ours.
const CLOSE: Duration = Duration::from_secs(10);

/// How fast the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Up to 2 KiB every 20 ms, about 50 KB/s: some bytes are always under way, and an emulated
    /// machine still has time for the migration itself.
    Modest,
    /// As fast as the window opens.
    Saturating,
}

impl Pace {
    fn largest_write(self) -> usize {
        match self {
            Self::Modest => 2 * 1024,
            Self::Saturating => 32 * 1024,
        }
    }

    fn pause(self) {
        match self {
            Self::Modest => sleep(Duration::from_millis(20)),
            Self::Saturating => {}
        }
    }
}

/// A running echo client. It connects once, and counts whatever happens to that connection.
#[derive(Debug)]
pub struct EchoClient {
    shared: Arc<Shared>,
    local_port: u16,
    writer: JoinHandle<()>,
    reader: JoinHandle<Received>,
}

/// What an echo client saw from its connection to its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// The client's port, which shows that it was one connection.
    pub local_port: u16,
    /// Bytes that the socket took.
    pub sent_bytes: u64,
    /// Bytes that came back.
    pub received_bytes: u64,
    /// Bytes that were sent and had not come back when the drain's deadline passed.
    pub lost_bytes: u64,
    /// Bytes that came back with another value, or that were never sent.
    pub corrupt_bytes: u64,
    /// 1 if the connection was reset or closed by the other side, otherwise 0.
    pub resets: u64,
    /// The longest time between two arrivals, in milliseconds.
    pub longest_gap_ms: f64,
    /// The first fault, in words.
    pub fault: Option<String>,
}

impl Traffic {
    /// Fails unless every byte came back unchanged on a connection that ended in order.
    pub fn check(&self) -> Result<()> {
        let clean = self.lost_bytes + self.corrupt_bytes + self.resets == 0;
        match &self.fault {
            None if clean && self.sent_bytes == 0 => bail!("nothing was sent"),
            None if clean => Ok(()),
            fault => bail!(
                "port {}: {} bytes sent, {} lost, {} corrupt, {} resets{}{}",
                self.local_port,
                self.sent_bytes,
                self.lost_bytes,
                self.corrupt_bytes,
                self.resets,
                if fault.is_some() { ": " } else { "" },
                fault.as_deref().unwrap_or_default()
            ),
        }
    }
}

/// What the two threads of a client share.
#[derive(Debug, Default)]
struct Shared {
    /// The end of the drain, set once, when the client is to stop.
    stop: OnceLock<Deadline>,
    sent: AtomicU64,
    received: AtomicU64,
    writer_done: AtomicBool,
    broken: AtomicBool,
    held: AtomicBool,
    fault: Mutex<Option<String>>,
}

/// What the reader saw.
#[derive(Debug, Default)]
struct Received {
    corrupt: u64,
    resets: u64,
    longest_gap: Duration,
}

impl EchoClient {
    /// Connects and starts to send the bytes of `seed`.
    pub fn start(server: SocketAddr, seed: u64, pace: Pace) -> Result<Self> {
        let stream = connect(server, Deadline::seconds(20))?;
        // Writes are small, and each must go out at once.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
        let local_port = stream.local_addr().context("the client's port")?.port();
        let shared = Arc::new(Shared::default());
        let writer = thread::spawn({
            let (shared, stream) = (shared.clone(), stream.try_clone().context("a handle")?);
            move || {
                shared.write(stream, seed, pace);
                shared.writer_done.store(true, Ordering::Release);
            }
        });
        let reader = thread::spawn({
            let shared = shared.clone();
            move || shared.read(stream, seed)
        });
        Ok(Self {
            shared,
            local_port,
            writer,
            reader,
        })
    }

    /// Waits until bytes sent from now on have come back.
    pub fn flows(&self, deadline: Deadline) -> Result<()> {
        let shared = &self.shared;
        let sent = shared.sent.load(Ordering::Acquire);
        let what = format!("an echo beyond byte {sent} on port {}", self.local_port);
        deadline.poll(Duration::from_millis(20), &what, || {
            if let Some(fault) = shared.fault() {
                bail!("port {}: {fault}", self.local_port);
            }
            Ok((shared.received.load(Ordering::Acquire) > sent).then_some(()))
        })
    }

    /// Pauses or resumes the sending.
    pub fn hold(&self, hold: bool) {
        self.shared.held.store(hold, Ordering::Release);
    }

    /// Waits until all sent bytes have come back, on a client that is on hold.
    pub fn at_rest(&self, deadline: Deadline) -> Result<()> {
        let shared = &self.shared;
        // The write under way when the hold began ends first.
        sleep(LOOK);
        deadline.poll(Duration::from_millis(20), "the echo of all bytes", || {
            let sent = shared.sent.load(Ordering::Acquire);
            Ok((shared.received.load(Ordering::Acquire) == sent).then_some(()))
        })
    }

    /// Stops sending, waits at most `drain` for the bytes under way, and closes.
    pub fn stop(self, drain: Duration) -> Result<Traffic> {
        // This is the only place that sets it.
        let _ = self.shared.stop.set(Deadline::after(drain));
        let panicked = |_| anyhow::anyhow!("an echo client panicked");
        self.writer.join().map_err(panicked)?;
        let seen = self.reader.join().map_err(panicked)?;
        let sent = self.shared.sent.load(Ordering::Acquire);
        let received = self.shared.received.load(Ordering::Acquire);
        Ok(Traffic {
            local_port: self.local_port,
            sent_bytes: sent,
            received_bytes: received,
            lost_bytes: sent.saturating_sub(received),
            corrupt_bytes: seen.corrupt + received.saturating_sub(sent),
            resets: seen.resets,
            longest_gap_ms: seen.longest_gap.as_secs_f64() * 1000.0,
            fault: self.shared.fault(),
        })
    }
}

impl Shared {
    fn write(&self, mut stream: TcpStream, seed: u64, pace: Pace) {
        let mut pattern = Pattern::new(seed);
        // Sizes come from a different random stream than the bytes.
        let mut sizes = fastrand::Rng::with_seed(!seed);
        let mut buffer = vec![0; pace.largest_write()];
        while !self.over() {
            if self.held.load(Ordering::Acquire) {
                sleep(LOOK);
                continue;
            }
            let size = sizes.usize(1..=buffer.len());
            pattern.fill(&mut buffer[..size]);
            let mut rest = &buffer[..size];
            // A write that is cut short by the end leaves bytes unsent, which do not count.
            while !rest.is_empty() && !self.over() {
                match stream.write(rest) {
                    Ok(count) => {
                        self.sent.fetch_add(count as u64, Ordering::AcqRel);
                        rest = &rest[count..];
                    }
                    Err(error) if is_pause(error.kind()) => {}
                    Err(error) => {
                        self.complain(format!("writing: {error}"));
                        self.broken.store(true, Ordering::Release);
                    }
                }
            }
            pace.pause();
        }
    }

    fn read(&self, mut stream: TcpStream, seed: u64) -> Received {
        let mut tally = Tally::new(seed);
        let mut seen = Received::default();
        let mut buffer = vec![0; 64 * 1024];
        let mut last = Instant::now();
        while !self.drained() {
            match stream.read(&mut buffer) {
                Ok(0) => {
                    seen.resets = 1;
                    self.complain("the guest closed the connection".into());
                    self.broken.store(true, Ordering::Release);
                    return seen;
                }
                Ok(count) => {
                    let now = Instant::now();
                    seen.longest_gap = seen.longest_gap.max(now - last);
                    last = now;
                    seen.corrupt += tally.count(&buffer[..count]);
                    if let Some(first) = tally.first() {
                        self.complain(first.to_string());
                    }
                    self.received.fetch_add(count as u64, Ordering::AcqRel);
                }
                Err(error) if is_pause(error.kind()) => {}
                Err(error) => {
                    seen.resets = 1;
                    self.complain(format!("reading: {error}"));
                    self.broken.store(true, Ordering::Release);
                    return seen;
                }
            }
        }
        if self.broken.load(Ordering::Acquire) {
            // The writer saw the end first.
            seen.resets = 1;
            return seen;
        }
        self.close(stream, &mut seen);
        seen
    }

    /// Closes our side and expects the other side to close, with no byte before it.
    fn close(&self, mut stream: TcpStream, seen: &mut Received) {
        let deadline = Deadline::after(CLOSE);
        // If the connection is gone already, the read shows it.
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = [0; 4096];
        loop {
            match stream.read(&mut rest) {
                Ok(0) => return,
                // Missing bytes, or bytes that were never sent: the sums show which.
                Ok(count) => {
                    self.received.fetch_add(count as u64, Ordering::AcqRel);
                }
                Err(error) if is_pause(error.kind()) => {}
                Err(error) => {
                    seen.resets = 1;
                    self.complain(format!("closing: {error}"));
                    return;
                }
            }
            if deadline.passed() {
                self.complain("the guest did not close the connection".into());
                return;
            }
        }
    }

    /// Whether nothing more is to be sent.
    fn over(&self) -> bool {
        self.stop.get().is_some() || self.broken.load(Ordering::Acquire)
    }

    /// Whether nothing more is to be waited for.
    fn drained(&self) -> bool {
        let Some(deadline) = self.stop.get() else {
            return self.broken.load(Ordering::Acquire);
        };
        let complete = self.writer_done.load(Ordering::Acquire)
            && self.received.load(Ordering::Acquire) >= self.sent.load(Ordering::Acquire);
        complete || deadline.passed() || self.broken.load(Ordering::Acquire)
    }

    /// Keeps the first fault.
    fn complain(&self, fault: String) {
        let mut first = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(fault);
    }

    fn fault(&self) -> Option<String> {
        let first = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone()
    }
}

/// Whether the error is only a socket's time-out without data.
fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::{EchoClient, Pace, Traffic};
    use crate::deadline::Deadline;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    /// A server of one connection that passes what it read, and where in the stream it is, to
    /// `answer`, which says what goes back; `None` closes the connection.
    fn server(answer: fn(&[u8], usize) -> Option<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            let (mut stream, _): (TcpStream, _) = listener.accept().expect("one client");
            let mut buffer = [0; 5000];
            let mut offset = 0;
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let Some(bytes) = answer(&buffer[..count], offset) else {
                    return;
                };
                offset += count;
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        address
    }

    fn traffic(pace: Pace, answer: fn(&[u8], usize) -> Option<Vec<u8>>, flows: bool) -> Traffic {
        let client = EchoClient::start(server(answer), 3, pace).expect("connected");
        let port = client.local_port;
        assert_eq!(client.flows(Deadline::seconds(5)).is_ok(), flows);
        let traffic = client
            .stop(Duration::from_millis(300))
            .expect("no thread panics");
        assert_eq!(traffic.local_port, port);
        traffic
    }

    #[test]
    fn a_faithful_echo_is_clean() {
        for pace in [Pace::Modest, Pace::Saturating] {
            let seen = traffic(pace, |bytes, _| Some(bytes.to_vec()), true);
            seen.check().expect("nothing is wrong");
            assert_eq!(seen.sent_bytes, seen.received_bytes);
        }
    }

    #[test]
    fn what_never_comes_back_is_lost() {
        let silent =
            EchoClient::start(server(|_, _| Some(vec![])), 3, Pace::Modest).expect("connected");
        thread::sleep(Duration::from_millis(100));
        let seen = silent.stop(Duration::from_millis(50)).expect("no panic");
        assert_eq!(seen.lost_bytes, seen.sent_bytes);
        assert!(seen.check().is_err() && seen.lost_bytes > 0);
    }

    #[test]
    fn changed_and_missing_pieces_are_corrupt() {
        let bent = traffic(
            Pace::Saturating,
            |bytes, offset| {
                let mut bytes = bytes.to_vec();
                if offset == 0 {
                    bytes[0] ^= 4;
                }
                Some(bytes)
            },
            false,
        );
        assert_eq!((bent.corrupt_bytes, bent.lost_bytes), (1, 0));
        assert!(bent.check().is_err());
        let cut = traffic(
            Pace::Saturating,
            |bytes, offset| Some(bytes[usize::from(offset == 0)..].to_vec()),
            false,
        );
        assert_eq!(cut.lost_bytes, 1);
        assert!(cut.corrupt_bytes > 0 && cut.check().is_err());
    }

    #[test]
    fn a_connection_that_ends_early_is_a_reset() {
        let seen = traffic(Pace::Modest, |_, _| None, false);
        assert_eq!(seen.resets, 1);
        assert!(seen.check().is_err());
    }
}
