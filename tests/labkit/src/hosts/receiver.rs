//! One `xl migrate-receive` or `xl restore` behind a TCP port.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::TimeVal;

use super::CARD;
use super::protocol::{Fault, FaultKind, Receipt, bounded};
use super::transport::watch_for_silence;
use crate::deadline::Deadline;
use crate::domain;
use crate::migration::SaveFile;
use crate::process::{pid_of, run_ok, scratch_file, tail};

/// The interval between two looks for the end of `xl migrate-receive`.
const PAUSE: Duration = Duration::from_millis(50);

/// How soon the source must connect. `xl migrate` starts its transport first of all.
const ACCEPT_LIMIT: Duration = Duration::from_secs(60);

/// Runs `xl migrate-receive` with a lock folder of its own. xl builds one domain at a time
/// (xl_utils.c:acquire_lock), restored ones included; other toolstacks receive several at once.
const ALONE: &str = "mount -t tmpfs tmpfs /run/lock && exec xl migrate-receive";

/// The limit of `ip link set`.
const IP_LIMIT: Duration = Duration::from_secs(20);

/// What comes to a receiver.
#[derive(Clone, Copy, Debug)]
pub(super) enum Incoming {
    /// The stream of a live migration, perhaps with a fault.
    Migration(Option<Fault>),
    /// A save file of this many bytes.
    Saved(u64),
}

/// A receiver that waits for its domain or builds it.
pub(super) struct Receiver {
    port: u16,
    work: JoinHandle<Result<Receipt>>,
}

impl Receiver {
    /// Listens on a free port of `address`. The receiver ends at `deadline`, whatever the source
    /// does.
    pub(super) fn start(address: Ipv4Addr, incoming: Incoming, deadline: Deadline) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).context("a port for the receiver")?;
        let port = listener.local_addr()?.port();
        let work = thread::spawn(move || {
            let socket = accept(&listener, ACCEPT_LIMIT.min(deadline.remaining()))?;
            watch_for_silence(&socket).context("socket options")?;
            match incoming {
                Incoming::Migration(fault) => receive(socket, fault, deadline),
                Incoming::Saved(bytes) => restore(socket, bytes, deadline),
            }
        });
        Ok(Self { port, work })
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address on which it listens, given the host's.
    pub(super) fn at(&self, address: Ipv4Addr) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(address), self.port)
    }

    /// Waits for its end, at its deadline at the latest.
    pub(super) fn finish(self) -> Result<Receipt> {
        let ended = self.work.join();
        ended.map_err(|_| anyhow!("the receiver panicked"))?
    }
}

/// Takes a save file of `bytes` bytes and restores its domain.
fn restore(socket: TcpStream, bytes: u64, deadline: Deadline) -> Result<Receipt> {
    socket.set_read_timeout(Some(deadline.socket_timeout()))?;
    let file = SaveFile::fresh();
    let path = file.path().display().to_string();
    let mut copy = File::create(file.path()).with_context(|| path.clone())?;
    // One byte more would be too long a file.
    let came = io::copy(&mut socket.take(bytes.saturating_add(1)), &mut copy).context(path)?;
    drop(copy);
    let restored = if came == bytes {
        file.restore().map(|output| output.text)
    } else {
        Err(anyhow!("{came} bytes of a save file of {bytes} have come"))
    };
    let ok = restored.is_ok();
    let text = restored.unwrap_or_else(|error| format!("{error:#}"));
    Ok(Receipt {
        ok,
        bytes: came,
        text: bounded(&tail(&text, 12)),
    })
}

fn receive(socket: TcpStream, fault: Option<Fault>, deadline: Deadline) -> Result<Receipt> {
    let log = scratch_file("migrate-receive");
    let mut target = Target::start(&socket, &log)?;
    let mut input = target.child.stdin.take().context("xl's standard input")?;
    let bytes = Arc::new(AtomicU64::new(0));
    let struck = Arc::new(AtomicBool::new(false));
    let feeder = {
        let (bytes, struck) = (Arc::clone(&bytes), Arc::clone(&struck));
        let socket = socket.try_clone().context("second handle")?;
        let at = fault.map_or(u64::MAX, |fault| fault.after_bytes);
        thread::spawn(move || {
            feed(socket, &mut input, at, &bytes, &struck);
            // xl must not see an end of the stream if a host falls silent; in any other case it
            // must.
            struck.load(Ordering::Acquire).then_some(input)
        })
    };
    let ok = loop {
        if struck.load(Ordering::Acquire) {
            break false;
        }
        if let Some(status) = target.child.try_wait().context("xl migrate-receive")? {
            target.ended = true;
            break status.success();
        }
        if deadline.passed() {
            break false;
        }
        thread::sleep(PAUSE);
    };
    if let (true, Some(fault)) = (struck.load(Ordering::Acquire), fault) {
        strike(fault.kind, &mut target)?;
    }
    drop(target);
    // Wakes the feeder, and closes the connection to the source.
    let _ = socket.shutdown(Shutdown::Both);
    let _ = feeder.join();
    if !ok {
        remove_half_built()?;
    }
    let text = fs::read(&log).unwrap_or_default();
    let _ = fs::remove_file(&log);
    Ok(Receipt {
        ok,
        bytes: bytes.load(Ordering::Acquire),
        text: bounded(&tail(&String::from_utf8_lossy(&text), 12)),
    })
}

fn accept(listener: &TcpListener, limit: Duration) -> Result<TcpStream> {
    let micros = i64::from(limit.subsec_micros().max(1));
    // Linux applies a socket's receive time-out to accept(2) too (socket(7)).
    let time_out = TimeVal::new(limit.as_secs() as i64, micros);
    setsockopt(listener, ReceiveTimeout, &time_out).context("time-out")?;
    let (socket, _) = listener.accept().context("no source has connected")?;
    Ok(socket)
}

/// Passes the stream on to `xl migrate-receive`. At byte `at` it stops and sets `struck`.
fn feed(
    mut socket: impl Read,
    input: &mut impl Write,
    at: u64,
    bytes: &AtomicU64,
    struck: &AtomicBool,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        let wanted = usize::try_from(at - total).map_or(count, |left| left.min(count));
        if input.write_all(&buffer[..wanted]).is_err() {
            return;
        }
        total += wanted as u64;
        bytes.store(total, Ordering::Release);
        if total == at {
            struck.store(true, Ordering::Release);
            return;
        }
    }
}

/// Injects the fault. The source must not learn of it early: the silent host closes its connection
/// only after its network is back.
fn strike(kind: FaultKind, target: &mut Target) -> Result<()> {
    match kind {
        FaultKind::Killed => target.kill(),
        FaultKind::Silent { seconds } => {
            run_ok("ip", &["link", "set", CARD, "down"], IP_LIMIT)?;
            target.kill();
            thread::sleep(Duration::from_secs(seconds));
            run_ok("ip", &["link", "set", CARD, "up"], IP_LIMIT)?;
        }
    }
    Ok(())
}

/// Destroys the half-built domains that a killed receiver has left.
fn remove_half_built() -> Result<()> {
    let half = |name: &str| name.ends_with("--incoming") || name == "(null)";
    for entry in domain::all()?.into_iter().filter(|entry| half(&entry.name)) {
        // A domain may be gone by now.
        let _ = domain::destroy(&entry.id.to_string());
    }
    Ok(())
}

/// `xl migrate-receive` with its helpers, killed when dropped before its end.
struct Target {
    child: Child,
    ended: bool,
}

impl Target {
    fn start(socket: &TcpStream, log: &PathBuf) -> Result<Self> {
        let answers = OwnedFd::from(socket.try_clone().context("second handle")?);
        let child = Command::new("busybox")
            .args(["unshare", "-m", "sh", "-c", ALONE])
            // Its helper for the stream is in the group, its daemon for the domain is not.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(answers)
            .stderr(File::create(log).with_context(|| log.display().to_string())?)
            .spawn()
            .context("xl migrate-receive cannot be started")?;
        let ended = false;
        Ok(Self { child, ended })
    }

    fn kill(&mut self) {
        if !self.ended {
            // An error means that the process has ended already.
            let _ = killpg(pid_of(&self.child), Signal::SIGKILL);
            let _ = self.child.wait();
            self.ended = true;
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Fails if the receipt is of a receiver that failed.
pub(super) fn check(receipt: &Receipt, host: &str) -> Result<()> {
    if !receipt.ok {
        bail!(
            "host {host} failed to receive a domain after {} bytes: {}",
            receipt.bytes,
            receipt.text
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use super::{accept, feed, restore};
    use crate::deadline::Deadline;

    fn fed(stream: &[u8], at: u64) -> (Vec<u8>, u64, bool) {
        let (bytes, struck) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut received = Vec::new();
        feed(stream, &mut received, at, &bytes, &struck);
        (received, bytes.into_inner(), struck.load(Ordering::Relaxed))
    }

    #[test]
    fn a_stream_goes_through_unchanged() {
        let stream: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        assert_eq!(fed(&stream, u64::MAX), (stream.clone(), 200_000, false));
    }

    #[test]
    fn a_fault_comes_at_its_byte_and_no_later() {
        let stream = vec![7; 200_000];
        for at in [1, 65_536, 100_001, 200_000] {
            let (received, bytes, struck) = fed(&stream, at);
            assert_eq!((received.len() as u64, bytes, struck), (at, at, true));
        }
        assert!(!fed(&stream, 200_001).2);
    }

    #[test]
    fn a_save_file_of_another_size_is_not_restored() {
        for (sent, size, came) in [(&b"half"[..], 8, 4), (b"too long", 4, 5), (b"", 1, 0)] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("its address");
            let mut source = TcpStream::connect(address).expect("it listens");
            source.write_all(sent).expect("sent");
            drop(source);
            let (socket, _) = listener.accept().expect("one source");
            let receipt = restore(socket, size, Deadline::seconds(20)).expect("a receipt");
            assert_eq!((receipt.ok, receipt.bytes), (false, came));
            let says = format!("{came} bytes of a save file of {size}");
            assert!(receipt.text.contains(&says), "{}", receipt.text);
        }
    }

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let error = accept(&listener, Duration::from_millis(20)).expect_err("nobody comes");
        assert!(error.to_string().contains("no source"));
    }
}
