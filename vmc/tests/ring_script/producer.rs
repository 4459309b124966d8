//! The victim writes.

use vmc::ring::{Geometry, IndexLie, Producer};

use super::watched::{PRODUCERS, Watched};
use super::{Script, peer};

const UNTOUCHED: u8 = 0xa5;

struct Victim<'a> {
    memory: &'a Watched,
    producer: Producer,
    base: u64,
    ended: bool,
}

pub(crate) fn run(geometry: Geometry, base: u64, script: &mut Script<'_>) {
    let memory = Watched::new(geometry, base, PRODUCERS);
    let producer = Producer::new(&memory, geometry, base);
    let mut victim = Victim {
        memory: &memory,
        producer,
        base,
        ended: false,
    };
    while let Some(op) = script.next() {
        let before = victim.producer.tail();
        memory.call();
        // A lie closes the channel; asking the ring again must do no harm.
        let _lie = victim.step(op & 15, script);
        let Victim { producer, .. } = &victim;
        assert!(producer.space() <= geometry.capacity);
        assert!(producer.tail().wrapping_sub(before) <= geometry.capacity as u64);
        assert!(producer.unannounced() as u64 <= producer.tail().wrapping_sub(base) + 1);
    }
    memory.check_margins();
}

impl Victim<'_> {
    fn step(&mut self, op: u8, script: &mut Script<'_>) -> Result<(), IndexLie> {
        let Self { memory, .. } = *self;
        match op {
            0 | 1 => {
                let bytes = vec![op; usize::from(script.byte())];
                let before = self.producer.tail();
                let written = self.producer.write(memory, &bytes);
                let count = written.unwrap_or(0);
                assert!(count <= bytes.len() && !(self.ended && count > 0));
                assert_eq!(self.producer.tail(), before.wrapping_add(count as u64));
                self.check_room();
                written?;
            }
            2 => self.read_back(script),
            3 => {
                let head = self.producer.head(memory)?;
                assert!(memory.claimed(|claim| claim == head));
            }
            4 => {
                let _ = self.producer.must_ring(memory);
                assert_eq!(self.producer.unannounced(), 0);
            }
            5 => {
                let wanted = usize::from(script.byte());
                let _ = self.producer.wait_for_space(memory, wanted)?;
                self.check_room();
            }
            6 => match script.byte() & 7 {
                0 => {
                    self.producer.finish(memory);
                    self.ended = true;
                }
                1 => {
                    self.producer.reset(memory);
                    self.ended = true;
                }
                _ => {
                    let _ = self.producer.is_attached(memory);
                }
            },
            _ => {
                let mine = memory.word(memory.peers());
                let left = self.producer.tail().wrapping_sub(mine);
                peer::step(memory, op, mine, left, script);
            }
        }
        Ok(())
    }

    fn read_back(&self, script: &mut Script<'_>) {
        let Self {
            producer, memory, ..
        } = self;
        let back = script.near().wrapping_neg();
        let mut into = vec![UNTOUCHED; usize::from(script.byte())];
        let offset = producer.tail().wrapping_sub(back);
        let count = producer.read_back(*memory, offset, &mut into);
        assert!(into[count..].iter().all(|&byte| byte == UNTOUCHED));
        let written = producer.tail().wrapping_sub(self.base);
        let there = written.min(memory.geometry().capacity as u64);
        if back > there {
            assert_eq!(count, 0);
        } else {
            assert_eq!(count as u64, back.min(into.len() as u64));
        }
    }

    /// Checks that what was written has room after some head that the peer has
    /// claimed.
    fn check_room(&self) {
        let (tail, capacity) = (self.producer.tail(), self.producer.capacity() as u64);
        let written = tail.wrapping_sub(self.base);
        let room = |head: u64| tail.wrapping_sub(head) <= capacity.min(written);
        assert!(self.memory.claimed(room), "the peer claimed no such head");
    }
}
