//! Two bench guests on one host that share memory, each with a stream to the other. Every byte of
//! the streams is compared.
//!
//! This is the echo test of the Advance-XENVMC authors, both ways at once: their server keeps a
//! block and compares it with what a client guest sends back, for ever. Here the guest that opened
//! the connection compares, and its peer's echo service sends back.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::{Bench, end, flows, linked, nothing_failed, well};
use crate::channel::ChannelStatus;
use crate::deadline::Deadline;
use crate::kind::Kind;
use crate::lab::Lab;
use crate::mode::Mode;
use crate::traffic::bench::Answer;

/// The guests' memory in MiB.
const MEMORY_MIB: u64 = 16;

/// The guests and their streams.
pub struct Pair {
    /// The first guest.
    pub a: Bench,
    /// The second guest.
    pub b: Bench,
    streams: [JoinHandle<Result<Answer>>; 2],
}

impl Pair {
    /// Boots the guests at 10.0.0.`numbers` and starts their streams; returns when both compare
    /// bytes.
    pub fn start(lab: &Lab, mode: Mode, numbers: [u8; 2]) -> Result<Self> {
        Self::start_as(lab, mode, numbers, [lab.job.guest; 2])
    }

    /// [`Self::start`] for guests of these kinds.
    pub fn start_as(lab: &Lab, mode: Mode, numbers: [u8; 2], kinds: [Kind; 2]) -> Result<Self> {
        let boot = |at: usize| {
            let guest = lab.bench(numbers[at], MEMORY_MIB, mode.option());
            Bench::start(guest.built_as(kinds[at]))
        };
        let mut a = boot(0)?;
        let b = boot(1)?;
        a.acquaint(&b)?;
        let streams = [a.begin(endless(&b)), b.begin(endless(&a))];
        let mut pair = Self { a, b, streams };
        pair.flow()?;
        Ok(pair)
    }

    /// Waits until both guests compare bytes. Each is asked on a control connection that lives
    /// through everything too.
    pub fn flow(&mut self) -> Result<()> {
        for bench in [&mut self.a, &mut self.b] {
            flows(&mut bench.control)
                .with_context(|| format!("the stream of {}", bench.guest.ip()))?;
        }
        Ok(())
    }

    /// Waits until both guests compare bytes, share memory, and send the bytes through it.
    pub fn share(&mut self) -> Result<()> {
        linked(&self.a.domain, self.b.guest.ip())?;
        linked(&self.b.domain, self.a.guest.ip())?;
        let read = |pair: &Self| pair.a.status()?.of_peer(pair.b.guest.ip(), "received");
        let before = read(self)?;
        self.flow()?;
        Deadline::seconds(30).poll(Duration::from_millis(200), "bytes from rings", || {
            Ok((read(self)? > before).then_some(()))
        })
    }

    /// Ends the streams and describes them; fails if a byte or a page was lost.
    pub fn finish(self) -> Result<String> {
        self.finish_without(0)
    }

    /// [`Self::finish`] for a guest B that is on another host, where it cannot be asked for its
    /// status.
    pub fn finish_apart(mut self) -> Result<String> {
        self.a.order("stop")?;
        self.b.order("stop")?;
        let (bytes, gap) = ends(self.streams)?;
        let status = self.a.status()?;
        nothing_failed(&status)?;
        kept_no_page(&status)?;
        well(&[&self.a])?;
        told(bytes, gap, &status)
    }

    /// [`Self::finish`] for a guest A that had `gone` more connections, to a guest that was
    /// destroyed.
    pub fn finish_without(mut self, gone: u64) -> Result<String> {
        self.a.order("stop")?;
        self.b.order("stop")?;
        let (bytes, gap) = ends(self.streams)?;
        let (there, back) = (self.a.status()?, self.b.status()?);
        nothing_failed(&back)?;
        if there.of_all("failed")? > gone {
            bail!("more than {gone} connections failed: {there:?}");
        }
        for status in [&there, &back] {
            kept_no_page(status)?;
        }
        well(&[&self.a, &self.b])?;
        told(bytes, gap, &there)
    }
}

/// Waits for the ends of the streams; returns the bytes compared on both, and the longest time
/// without one in nanoseconds.
fn ends(streams: [JoinHandle<Result<Answer>>; 2]) -> Result<(u64, u64)> {
    let (mut bytes, mut gap) = (0, 0);
    for stream in streams {
        let answer = end(stream)?;
        bytes += answer.number("bytes")?;
        gap = gap.max(answer.number("gap_ns")?);
    }
    Ok((bytes, gap))
}

/// Fails if the guest must keep a page for good, because its peer did not let go of it.
fn kept_no_page(status: &ChannelStatus) -> Result<()> {
    match status.of_all("quarantined")? {
        0 => Ok(()),
        _ => bail!("pages quarantined: {status:?}"),
    }
}

fn told(bytes: u64, gap_ns: u64, status: &ChannelStatus) -> Result<String> {
    Ok(format!(
        "{bytes} bytes compared, 0 lost, 0 corrupt, 0 resets; {} upgrades, {} fallbacks, longest \
         gap {} ms",
        status.of_all("upgrades")?,
        status.of_all("fallbacks")?,
        gap_ns / 1_000_000
    ))
}

/// Returns the order for an endless stream to `server`. It is slow, some 4 MB/s, because one CPU
/// serves everybody.
pub fn endless(server: &Bench) -> String {
    format!("verify {} 4096 1000000000000 1000", server.guest.port(7))
}
