//! The victim reads.

use vmc::ring::{Consumer, Geometry, IndexLie, Taken};

use super::watched::{CONSUMERS, Watched};
use super::{Script, peer};

/// Fills a buffer before a read; data may contain it too.
const UNTOUCHED: u8 = 0xa5;

struct Victim<'a> {
    memory: &'a Watched,
    consumer: Consumer,
    base: u64,
    /// How many bytes from the base were seen to be available.
    known: u64,
    finished: bool,
    reset: bool,
}

pub(crate) fn run(geometry: Geometry, base: u64, script: &mut Script<'_>) {
    let memory = Watched::new(geometry, base, CONSUMERS);
    let mut victim = Victim {
        memory: &memory,
        consumer: Consumer::new(geometry, base),
        base,
        known: 0,
        finished: false,
        reset: false,
    };
    while let Some(op) = script.next() {
        let op = op & 15;
        let before = victim.consumer.head();
        memory.call();
        // A lie closes the channel; asking the ring again must do no harm.
        let _lie = victim.step(op, script);
        let head = victim.consumer.head();
        assert!(head.wrapping_sub(before) <= geometry.capacity as u64);
        assert!(victim.consumer.unannounced() as u64 <= head.wrapping_sub(base) + 1);
    }
    memory.check_margins();
}

impl Victim<'_> {
    fn step(&mut self, op: u8, script: &mut Script<'_>) -> Result<(), IndexLie> {
        let Self { memory, .. } = *self;
        match op {
            0 | 1 => {
                let most = usize::from(script.byte());
                self.read(most, None)?;
            }
            2 => {
                let most = usize::from(script.byte());
                let end = self.consumer.head().wrapping_add(script.near());
                self.read(most, Some(end))?;
            }
            3 => {
                let available = self.consumer.available(memory)?;
                let head = self.consumer.head();
                self.check_claim(head, available);
                let known = head.wrapping_sub(self.base) + available as u64;
                // Nothing is left of a stream that was reset.
                assert!(known >= self.known || available == 0, "the tail went back");
                self.known = known.max(self.known);
            }
            4 => {
                let _ = self.consumer.must_ring(memory);
                assert_eq!(self.consumer.unannounced(), 0);
            }
            5 => {
                let there = self.consumer.wait_for_data(memory)?;
                assert!(there || !(self.finished || self.reset));
            }
            6 => self.consumer.attach(memory),
            _ => {
                let mine = memory.word(memory.peers());
                let ahead = mine.wrapping_sub(self.consumer.head());
                let free = (memory.geometry().capacity as u64).saturating_sub(ahead);
                peer::step(memory, op, mine, free, script);
            }
        }
        Ok(())
    }

    fn read(&mut self, most: usize, end: Option<u64>) -> Result<(), IndexLie> {
        let before = self.consumer.head();
        let mut into = vec![UNTOUCHED; most];
        let taken = match end {
            None => self.consumer.read(self.memory, &mut into),
            Some(end) => self.consumer.read_until(self.memory, &mut into, end),
        };
        let count = match taken {
            Ok(Taken::Bytes(count)) => count,
            _ => 0,
        };
        assert!(into[count..].iter().all(|&byte| byte == UNTOUCHED));
        assert_eq!(self.consumer.head(), before.wrapping_add(count as u64));
        if let Some(end) = end {
            assert!(count as u64 <= end.saturating_sub(before));
        }
        self.check_claim(before, count);
        match taken? {
            Taken::Bytes(_) => assert!(!self.finished && !self.reset),
            Taken::Empty => assert!(end.is_some() || !(self.finished || self.reset)),
            Taken::Finished => {
                assert!(!self.reset);
                self.finished = true;
            }
            Taken::Reset => self.reset = true,
        }
        Ok(())
    }

    /// Checks that the peer has claimed `count` bytes from `from` on, with a
    /// tail that the ring can hold.
    fn check_claim(&self, from: u64, count: usize) {
        let count = count as u64;
        let capacity = self.memory.geometry().capacity as u64;
        let claimed = |tail: u64| (count..=capacity).contains(&tail.wrapping_sub(from));
        assert!(count == 0 || self.memory.claimed(claimed));
    }
}
