//! Compares the ring with a queue under any sequence of steps, by the rules or
//! not.

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use proptest::collection::vec as sequence;
use proptest::prelude::*;

use super::{Consumer, Geometry, Producer, Taken};
use shared_memory::Memory;
use shared_memory::Words;

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Read(usize),
    ReadUntil(usize, u64),
    ProducerRings,
    ConsumerRings,
    WaitForData,
    WaitForSpace(usize),
    ReadBack(u64, usize),
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..100_usize).prop_map(Step::Write),
        8 => (0..100_usize).prop_map(Step::Read),
        2 => (0..100_usize, 0..100_u64).prop_map(|(most, ahead)| Step::ReadUntil(most, ahead)),
        3 => Just(Step::ProducerRings),
        3 => Just(Step::ConsumerRings),
        2 => Just(Step::WaitForData),
        2 => (0..100_usize).prop_map(Step::WaitForSpace),
        2 => (0..100_u64, 0..100_usize).prop_map(|(back, most)| Step::ReadBack(back, most)),
        1 => Just(Step::Finish),
    ]
}

fn base() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), any::<u64>(), u64::MAX - 200..=u64::MAX]
}

/// The ring, and the state that it should have.
struct Model {
    memory: Words,
    producer: Producer,
    consumer: Consumer,
    capacity: usize,
    /// Bytes written and not read.
    queue: VecDeque<u8>,
    /// All bytes written.
    all: Vec<u8>,
    finished: bool,
    /// Whether the consumer sleeps until the doorbell rings.
    consumer_waits: bool,
    /// The space that the producer waits for, if it sleeps.
    producer_waits: Option<usize>,
}

impl Model {
    fn new(log2: u32, base: u64) -> Self {
        let capacity = 1 << log2;
        let geometry = Geometry {
            header: 8,
            data: 0x108,
            capacity,
        };
        let memory = Words::new(0x108 + capacity);
        let producer = Producer::new(&memory, geometry, base);
        let consumer = Consumer::new(geometry, base);
        consumer.attach(&memory);
        Self {
            memory,
            producer,
            consumer,
            capacity,
            queue: VecDeque::new(),
            all: Vec::new(),
            finished: false,
            consumer_waits: false,
            producer_waits: None,
        }
    }

    fn free(&self) -> usize {
        self.capacity - self.queue.len()
    }

    fn write(&mut self, len: usize) {
        let first = self.all.len();
        let bytes: Vec<u8> = (first..first + len).map(|at| (at % 251) as u8).collect();
        let count = self.producer.write(&self.memory, &bytes).expect("honest");
        let room = if self.finished { 0 } else { self.free() };
        assert_eq!(count, room.min(len));
        self.queue.extend(&bytes[..count]);
        self.all.extend(&bytes[..count]);
    }

    fn took(&mut self, most: usize, taken: Taken, into: &[u8]) {
        let count = match taken {
            Taken::Bytes(count) => count,
            Taken::Empty => {
                assert!(self.queue.is_empty() && !self.finished);
                return;
            }
            Taken::Finished => {
                assert!(self.queue.is_empty() && self.finished);
                return;
            }
            Taken::Reset => panic!("nobody has reset it"),
        };
        // Either the bytes that the consumer knew of fill the buffer, or it has
        // looked for more.
        assert_eq!(count, most.min(self.queue.len()));
        assert!(self.queue.drain(..count).eq(into[..count].iter().copied()));
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Write(len) => self.write(len),
            Step::Read(most) => {
                let mut into = vec![0; most];
                let taken = self.consumer.read(&self.memory, &mut into);
                self.took(most, taken.expect("honest"), &into);
            }
            Step::ReadUntil(most, ahead) => {
                let mut into = vec![0; most];
                let end = self.consumer.head().saturating_add(ahead);
                let left = end - self.consumer.head();
                let taken = self.consumer.read_until(&self.memory, &mut into, end);
                if left > 0 {
                    let most = most.min(left as usize);
                    self.took(most, taken.expect("honest"), &into);
                } else {
                    assert_eq!(taken, Ok(Taken::Empty));
                }
            }
            Step::ProducerRings => {
                if self.producer.must_ring(&self.memory) {
                    self.consumer_waits = false;
                }
                assert!(!self.consumer_waits || self.queue.is_empty() && !self.finished);
            }
            Step::ConsumerRings => {
                if self.consumer.must_ring(&self.memory) {
                    self.producer_waits = None;
                }
                assert!(self.producer_waits.is_none_or(|bytes| self.free() < bytes));
            }
            Step::WaitForData => {
                let there = self.consumer.wait_for_data(&self.memory).expect("honest");
                assert_eq!(there, !self.queue.is_empty() || self.finished);
                self.consumer_waits = !there;
            }
            Step::WaitForSpace(bytes) => {
                let bytes = bytes.clamp(1, self.capacity);
                let there = self.producer.wait_for_space(&self.memory, bytes);
                assert_eq!(there, Ok(self.free() >= bytes));
                self.producer_waits = (self.free() < bytes).then_some(bytes);
            }
            Step::ReadBack(back, most) => {
                let mut into = vec![0; most];
                let offset = self.producer.tail().wrapping_sub(back);
                let count = self.producer.read_back(&self.memory, offset, &mut into);
                let back = back as usize;
                if back > self.all.len() || back > self.capacity {
                    assert_eq!(count, 0);
                } else {
                    assert_eq!(count, back.min(most));
                    let from = self.all.len() - back;
                    assert_eq!(into[..count], self.all[from..from + count]);
                }
            }
            Step::Finish => {
                self.producer.finish(&self.memory);
                self.finished = true;
            }
        }
    }
}

proptest! {
    #[test]
    fn it_is_a_queue(log2 in 0..7_u32, base in base(), steps in sequence(step(), 0..120)) {
        let mut model = Model::new(log2, base);
        for step in &steps {
            model.run(step);
        }
    }

    /// Holds for anything that the producer writes into its half of the header.
    #[test]
    fn no_more_is_taken_than_was_claimed(
        base in base(),
        words in sequence((0..3_usize, prop_oneof![any::<u64>(), 0..40_u64]), 0..60),
        most in 0..40_usize,
    ) {
        let Model { memory, mut consumer, capacity, .. } = Model::new(5, base);
        let mut claimed = 0;
        let mut taken = 0_u64;
        for (field, value) in words {
            let value = base.wrapping_add(value);
            memory.store(8 + 8 * field, value);
            if field == 0 {
                claimed = claimed.max(value.wrapping_sub(base));
            }
            let before = consumer.head();
            match consumer.read(&memory, &mut vec![0; most]) {
                Ok(Taken::Bytes(count)) => {
                    prop_assert!(count <= most && count <= capacity);
                    taken += count as u64;
                    prop_assert_eq!(consumer.head(), before.wrapping_add(count as u64));
                }
                Ok(_) => prop_assert_eq!(consumer.head(), before),
                Err(_) => break,
            }
            prop_assert!(taken <= claimed);
            let _ = consumer.must_ring(&memory);
        }
    }
}
