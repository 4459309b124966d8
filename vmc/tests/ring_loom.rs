//! The ring's index and notification protocol under every order in which the
//! memory model lets two threads see each other's loads and stores (loom).
//!
//! Memories that lack what the protocol relies on show that the tests would
//! notice.

use std::sync::Arc;

use loom::model::Builder;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use loom::thread;
use shared_memory::Memory;
use vmc::ring::{Consumer, Geometry, HEADER_BYTES, Producer, Taken};

/// What a memory lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lacks {
    Nothing,
    Fences,
    /// Stores are not release, and loads are not acquire.
    Order,
}

/// The words of a header that the ring uses, and two bytes of data. The bytes
/// are relaxed atomics: a read that comes too early finds the old value.
struct LoomMemory {
    words: Vec<AtomicU64>,
    data: Vec<AtomicU8>,
    lacks: Lacks,
}

const WORDS: [usize; 6] = [0x00, 0x08, 0x10, 0x80, 0x88, 0x90];
const CAPACITY: usize = 2;
const GEOMETRY: Geometry = Geometry {
    header: 0,
    data: HEADER_BYTES,
    capacity: CAPACITY,
};

impl LoomMemory {
    fn word(&self, offset: usize) -> &AtomicU64 {
        let index = WORDS.iter().position(|&word| word == offset);
        &self.words[index.expect("a word of the header")]
    }

    fn order(&self, order: Ordering) -> Ordering {
        if self.lacks == Lacks::Order {
            Ordering::Relaxed
        } else {
            order
        }
    }
}

impl Memory for LoomMemory {
    fn len(&self) -> usize {
        HEADER_BYTES + CAPACITY
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        let from = &self.data[offset - HEADER_BYTES..];
        for (byte, from) in into.iter_mut().zip(from) {
            *byte = from.load(Ordering::Relaxed);
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let into = &self.data[offset - HEADER_BYTES..];
        for (&byte, into) in from.iter().zip(into) {
            into.store(byte, Ordering::Relaxed);
        }
    }

    fn load(&self, offset: usize) -> u64 {
        self.word(offset).load(self.order(Ordering::Acquire))
    }

    fn store(&self, offset: usize, value: u64) {
        let order = self.order(Ordering::Release);
        self.word(offset).store(value, order);
    }

    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset).fetch_or(bits, Ordering::SeqCst)
    }

    fn swap(&self, offset: usize, value: u64) -> u64 {
        self.word(offset).swap(value, Ordering::SeqCst)
    }

    fn fence(&self) {
        if self.lacks != Lacks::Fences {
            fence(Ordering::SeqCst);
        }
    }
}

fn ring(lacks: Lacks) -> (Arc<LoomMemory>, Producer, Consumer) {
    let memory = Arc::new(LoomMemory {
        words: WORDS.iter().map(|_| AtomicU64::new(0)).collect(),
        data: (0..CAPACITY).map(|_| AtomicU8::new(0)).collect(),
        lacks,
    });
    let producer = Producer::new(&*memory, GEOMETRY, 100);
    let consumer = Consumer::new(GEOMETRY, 100);
    (memory, producer, consumer)
}

/// Checks that a sleeping consumer is told of a byte. The two sides learn of
/// each other only through the ring.
fn data_wakes(lacks: Lacks) {
    loom::model(move || {
        let (memory, mut producer, mut consumer) = ring(lacks);
        let theirs = Arc::clone(&memory);
        let rang = thread::spawn(move || {
            assert_eq!(producer.write(&*theirs, &[7]), Ok(1));
            producer.must_ring(&*theirs)
        });
        let sleeps = !consumer.wait_for_data(&*memory).expect("honest");
        let rang = rang.join().expect("no panic");
        assert!(!sleeps || rang, "a wake-up was lost");
    });
}

/// Checks that a producer that sleeps for lack of space is told when a byte is
/// taken.
fn space_wakes(lacks: Lacks) {
    loom::model(move || {
        let (memory, mut producer, mut consumer) = ring(lacks);
        assert_eq!(producer.write(&*memory, &[7, 8]), Ok(2));
        let theirs = Arc::clone(&memory);
        let rang = thread::spawn(move || {
            let taken = consumer.read(&*theirs, &mut [0; 1]);
            assert_eq!(taken, Ok(Taken::Bytes(1)));
            consumer.must_ring(&*theirs)
        });
        let sleeps = !producer.wait_for_space(&*memory, 1).expect("honest");
        let rang = rang.join().expect("no panic");
        assert!(!sleeps || rang, "a wake-up was lost");
    });
}

/// Checks that a sleeping consumer is told of an end, and that the end never
/// overtakes a byte.
fn end_wakes(lacks: Lacks) {
    loom::model(move || {
        let (memory, mut producer, mut consumer) = ring(lacks);
        let theirs = Arc::clone(&memory);
        let rang = thread::spawn(move || {
            assert_eq!(producer.write(&*theirs, &[7]), Ok(1));
            let first = producer.must_ring(&*theirs);
            producer.finish(&*theirs);
            (first, producer.must_ring(&*theirs))
        });
        let mut got = Vec::new();
        let mut slept = 0;
        for _ in 0..2 {
            let mut byte = [0];
            match consumer.read(&*memory, &mut byte).expect("honest") {
                Taken::Bytes(_) => got.push(byte[0]),
                Taken::Finished => assert_eq!(got, [7], "the end overtook a byte"),
                Taken::Empty => {
                    if !consumer.wait_for_data(&*memory).expect("honest") {
                        slept = got.len() + 1;
                        break;
                    }
                }
                Taken::Reset => panic!("nobody has reset it"),
            }
        }
        let (first, second) = rang.join().expect("no panic");
        match slept {
            // It had to be told of the byte, or of the end if it knew of
            // neither.
            1 => assert!(first || second, "a wake-up was lost"),
            // It had the byte and had to be told of the end.
            2 => assert!(second, "a wake-up was lost"),
            _ => {}
        }
    });
}

/// Sends three bytes and an end through a ring of two bytes, with both sides
/// sleeping whenever they may. A lost wake-up is a deadlock, which loom finds.
fn stream(lacks: Lacks) {
    let mut builder = Builder::new();
    // All orders with at most this many preemptions.
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let (memory, mut producer, mut consumer) = ring(lacks);
        let data = Arc::new(Notify::new());
        let space = Arc::new(Notify::new());
        let theirs = (Arc::clone(&memory), Arc::clone(&data), Arc::clone(&space));
        let writer = thread::spawn(move || {
            let (memory, data, space) = theirs;
            let mut rest: &[u8] = &[1, 2, 3];
            while !rest.is_empty() {
                let count = producer.write(&*memory, rest).expect("honest");
                rest = &rest[count..];
                if rest.is_empty() {
                    producer.finish(&*memory);
                }
                // A side rings before it sleeps.
                if producer.must_ring(&*memory) {
                    data.notify();
                }
                if count == 0 && !producer.wait_for_space(&*memory, 1).expect("honest") {
                    space.wait();
                }
            }
        });
        let mut got = Vec::new();
        loop {
            let mut bytes = [0; 2];
            let taken = consumer.read(&*memory, &mut bytes).expect("honest");
            if let Taken::Bytes(count) = taken {
                got.extend_from_slice(&bytes[..count]);
            }
            if consumer.must_ring(&*memory) {
                space.notify();
            }
            match taken {
                Taken::Bytes(_) => {}
                Taken::Empty => {
                    if !consumer.wait_for_data(&*memory).expect("honest") {
                        data.wait();
                    }
                }
                Taken::Finished => break,
                Taken::Reset => panic!("nobody has reset it"),
            }
        }
        writer.join().expect("no panic");
        assert_eq!(got, [1, 2, 3], "lost, or read early");
    });
}

#[test]
fn a_consumer_is_woken() {
    data_wakes(Lacks::Nothing);
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn without_fences_a_consumer_sleeps_on() {
    data_wakes(Lacks::Fences);
}

#[test]
fn a_producer_is_woken() {
    space_wakes(Lacks::Nothing);
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn without_fences_a_producer_sleeps_on() {
    space_wakes(Lacks::Fences);
}

#[test]
fn an_end_wakes_and_does_not_overtake() {
    end_wakes(Lacks::Nothing);
}

#[test]
#[should_panic(expected = "the end overtook a byte")]
fn without_order_an_end_overtakes() {
    end_wakes(Lacks::Order);
}

#[test]
fn a_stream_arrives_whole() {
    stream(Lacks::Nothing);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_a_stream_stops() {
    stream(Lacks::Fences);
}

#[test]
#[should_panic(expected = "lost, or read early")]
fn without_order_bytes_are_read_early() {
    stream(Lacks::Order);
}

/// Seals a ring, as the owner of its memory does, while the other side writes.
/// Both must know the same end, and the bytes before it must be whole.
/// `exchanges` says whether the producer publishes with an exchange, as it has
/// to.
fn seals(exchanges: bool) {
    loom::model(move || {
        let (memory, plain, mut consumer) = ring(Lacks::Nothing);
        let mut producer = if exchanges {
            Producer::sealable(&*memory, GEOMETRY, 100)
        } else {
            plain
        };
        let theirs = Arc::clone(&memory);
        let end = thread::spawn(move || {
            for byte in [7, 8] {
                producer.write(&*theirs, &[byte]).expect("honest");
            }
            producer.tail()
        });
        let sealed = consumer.seal(&*memory).expect("honest");
        let mut got = [0; 2];
        let count = match consumer.read(&*memory, &mut got).expect("honest") {
            Taken::Bytes(count) => count,
            _ => 0,
        };
        assert_eq!(&got[..count], &[7, 8][..(sealed - 100) as usize]);
        assert_eq!(end.join().expect("no panic"), sealed, "two ends");
    });
}

#[test]
fn a_seal_is_one_end_for_both() {
    seals(true);
}

#[test]
#[should_panic(expected = "two ends")]
fn without_the_exchange_there_are_two() {
    seals(false);
}
