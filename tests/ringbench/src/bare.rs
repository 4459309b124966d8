//! The upper bound between two processors: a ring without any checks. One side copies a message in
//! and publishes its position in one word, the other copies it out and does the same. Neither
//! sleeps, and neither checks the other's word.

use std::hint::spin_loop;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use kernel::shared::SharedFile;
use shared_memory::Memory;

use crate::memory::PAGE;

// Words of the header, each on a cache line of its own, not adjacent to another's.
const WRITTEN: usize = 0;
const TAKEN: usize = 256;
const CLOSED: usize = 512;

/// Polls between two readings of the clock.
const LOOKS: u32 = 100_000;

/// Longest wait.
const LIMIT: Duration = Duration::from_secs(10);

/// One side of the ring.
pub(crate) struct Bare {
    memory: SharedFile,
    capacity: usize,
    at: u64,
}

impl Bare {
    pub(crate) const fn new(memory: SharedFile, capacity: usize) -> Self {
        Self {
            memory,
            capacity,
            at: 0,
        }
    }

    fn place(&self) -> usize {
        // Less than the capacity, so it fits a usize.
        PAGE + (self.at % self.capacity as u64) as usize
    }

    /// Waits until `ready` holds; returns false if the reader has closed.
    fn wait(&self, ready: impl Fn(&SharedFile) -> bool) -> io::Result<bool> {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            for _ in 0..LOOKS {
                if ready(&self.memory) {
                    return Ok(true);
                }
                if self.memory.load(CLOSED) != 0 {
                    return Ok(false);
                }
                spin_loop();
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    /// Reads the available bytes, up to the end of the buffer.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wait(|memory| memory.load(WRITTEN) > self.at)?;
        let ready = self.memory.load(WRITTEN) - self.at;
        let whole = PAGE + self.capacity - self.place();
        let count = into.len().min(ready as usize).min(whole);
        self.memory.read(self.place(), &mut into[..count]);
        self.at += count as u64;
        self.memory.store(TAKEN, self.at);
        Ok(count)
    }

    /// Writes `message`, which divides the capacity, until the reader closes.
    pub(crate) fn write(mut self, message: &[u8]) -> io::Result<()> {
        let (len, capacity) = (message.len() as u64, self.capacity as u64);
        while self.wait(|memory| self.at + len - memory.load(TAKEN) <= capacity)? {
            self.memory.write(self.place(), message);
            self.at += len;
            self.memory.store(WRITTEN, self.at);
        }
        Ok(())
    }

    /// Closes the ring: nothing more is read.
    pub(crate) fn close(&self) {
        self.memory.store(CLOSED, 1);
    }
}
