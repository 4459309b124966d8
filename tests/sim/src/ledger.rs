//! What an observer knows of a connection: what was written, what may be read,
//! and what excuses a failure.

use std::cell::RefCell;
use std::rc::Rc;

use crate::tcp::Side;

/// The account of one connection, shared by both its ends.
pub type SharedLedger = Rc<RefCell<Ledger>>;

/// Both directions of a connection; arrays are indexed by the side that writes
/// or reads.
#[derive(Debug)]
pub struct Ledger {
    /// Number of the connection in its run.
    pub number: u64,
    /// Numbers of the guests at its ends.
    pub guests: [usize; 2],
    /// Bytes that the application of a side wrote.
    pub written: [u64; 2],
    /// Whether it has finished writing.
    pub finished: [bool; 2],
    /// Bytes that the application of a side read.
    pub read: [u64; 2],
    /// Whether it has read to the end.
    pub ended: [bool; 2],
    /// Whether it stopped reading before the end.
    pub released: [bool; 2],
    /// Whether this end is gone.
    pub gone: [bool; 2],
    /// Whether one end lies; then nothing is promised.
    pub is_hostile: bool,
    /// Why the connection may fail.
    pub excuse: Option<&'static str>,
}

impl Ledger {
    /// Returns the account of a new connection.
    #[must_use]
    pub fn new(number: u64, guests: [usize; 2], is_hostile: bool) -> SharedLedger {
        Rc::new(RefCell::new(Self {
            number,
            guests,
            written: [0; 2],
            finished: [false; 2],
            read: [0; 2],
            ended: [false; 2],
            released: [false; 2],
            gone: [false; 2],
            is_hostile,
            excuse: is_hostile.then_some("a hostile guest is at one end"),
        }))
    }

    /// Excuses a failure from now on; the first reason counts.
    pub fn excuse(&mut self, reason: &'static str) {
        self.excuse.get_or_insert(reason);
    }

    /// Fills `bytes` with what `side` writes next.
    pub fn fill(&self, side: Side, bytes: &mut [u8]) {
        let stream = self.stream(side);
        for (offset, byte) in (self.written[side]..).zip(bytes) {
            *byte = pattern(stream, offset);
        }
    }

    /// Accounts for `bytes` that `side` read.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn check(&mut self, side: Side, bytes: &[u8]) -> Result<(), String> {
        let from = 1 - side;
        let start = self.read[side];
        self.read[side] += bytes.len() as u64;
        if self.is_hostile {
            return Ok(());
        }
        if self.ended[side] {
            return Err("bytes behind the end".to_owned());
        }
        if self.read[side] > self.written[from] {
            let (read, written) = (self.read[side], self.written[from]);
            return Err(format!("{read} bytes read of {written} written"));
        }
        let stream = self.stream(from);
        for (offset, &byte) in (start..).zip(bytes) {
            if byte != pattern(stream, offset) {
                return Err(format!("the byte at {offset} is wrong ({start} on read)"));
            }
        }
        Ok(())
    }

    /// Records that `side` has read to the end.
    ///
    /// # Errors
    /// Says what is wrong with that.
    pub fn end(&mut self, side: Side) -> Result<(), String> {
        let from = 1 - side;
        self.ended[side] = true;
        let (read, written) = (self.read[side], self.written[from]);
        if self.is_hostile || self.finished[from] && read == written {
            return Ok(());
        }
        Err(format!(
            "the end came at {read}, {written} were written, finished: {}",
            self.finished[from]
        ))
    }

    /// Checks that everything that had to arrive has arrived.
    ///
    /// # Errors
    /// Says what has not.
    pub fn settle(&self) -> Result<(), String> {
        if self.excuse.is_some() {
            return Ok(());
        }
        for side in [0, 1] {
            if !self.finished[side] {
                return Err(format!("side {side} never finished"));
            }
            let reader = 1 - side;
            if !self.released[reader] && !self.ended[reader] {
                return Err(format!("side {reader} never saw the end"));
            }
        }
        Ok(())
    }

    fn stream(&self, side: Side) -> u64 {
        let number = self.number * 2 + side as u64 + 1;
        number.wrapping_mul(0xd605_1f8f_7b2d_6d4d)
    }
}

/// Returns the byte at `offset`; it depends on the stream and on every bit of
/// the offset.
fn pattern(stream: u64, offset: u64) -> u8 {
    ((offset ^ stream).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}
