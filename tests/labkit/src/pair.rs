//! Two bench guests of one host that share memory, each with a stream to the other whose every byte
//! is compared.
//!
//! It is the echo test of the Advance-XENVMC authors, both ways at once: their server keeps a block
//! and compares it with what a client guest sends back for ever. Here the guest that compares is
//! the one that opened the connection, and its peer's echo service sends back.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::{Bench, end, flows, linked, nothing_failed, well};
use crate::deadline::Deadline;
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
    /// Boots them at 10.0.0.`numbers`; returns when bytes come in at both.
    pub fn start(lab: &Lab, mode: Mode, numbers: [u8; 2]) -> Result<Self> {
        let mut a = Bench::boot(lab, numbers[0], MEMORY_MIB, mode.option())?;
        let b = Bench::boot(lab, numbers[1], MEMORY_MIB, mode.option())?;
        a.acquaint(&b)?;
        let streams = [a.begin(endless(&b)), b.begin(endless(&a))];
        let mut pair = Self { a, b, streams };
        pair.flow()?;
        Ok(pair)
    }

    /// Waits until bytes come in at both, each asked on a control connection that lives through
    /// everything too.
    pub fn flow(&mut self) -> Result<()> {
        for bench in [&mut self.a, &mut self.b] {
            flows(&mut bench.control)
                .with_context(|| format!("the stream of {}", bench.guest.ip()))?;
        }
        Ok(())
    }

    /// The same, and until they share memory, and the bytes go there.
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

    /// Ends the streams, in which nothing may have been missing, and says what came of them.
    pub fn finish(self) -> Result<String> {
        self.finish_without(0)
    }

    /// The same where A had `gone` connections more, to a guest that was destroyed.
    pub fn finish_without(mut self, gone: u64) -> Result<String> {
        self.a.order("stop")?;
        self.b.order("stop")?;
        let (mut bytes, mut gap) = (0, 0);
        for stream in self.streams {
            let answer = end(stream)?;
            bytes += answer.number("bytes")?;
            gap = gap.max(answer.number("gap_ns")?);
        }
        let (there, back) = (self.a.status()?, self.b.status()?);
        nothing_failed(&back)?;
        if there.of_all("failed")? > gone {
            bail!("more than {gone} connections failed: {there:?}");
        }
        for status in [&there, &back] {
            if status.of_all("quarantined")? != 0 {
                bail!("pages quarantined: {status:?}");
            }
        }
        well(&[&self.a, &self.b])?;
        Ok(format!(
            "{bytes} bytes compared, 0 lost, 0 corrupt, 0 resets; {} upgrades, {} fallbacks, \
             longest gap {} ms",
            there.of_all("upgrades")?,
            there.of_all("fallbacks")?,
            gap / 1_000_000
        ))
    }
}

/// The order for a stream to `server` without an end. Modest, as one vCPU serves everybody: some
/// 4 MB/s.
pub fn endless(server: &Bench) -> String {
    format!("verify {} 4096 1000000000000 1000", server.guest.port(7))
}
