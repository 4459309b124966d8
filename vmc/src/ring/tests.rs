//! The ring's rules, one at a time.

use std::vec;
use std::vec::Vec;

use super::layout::{DATA_AT, HEAD, PRODUCER_STATE, RESET, TAIL};
use super::{Consumer, Geometry, IndexLie, Producer, Taken};
use shared_memory::Memory;
use shared_memory::Words;

const GEOMETRY: Geometry = Geometry {
    header: 0x100,
    data: 0x200,
    capacity: 16,
};

/// Returns a ring that begins at `base`, with its consumer attached.
fn ring(base: u64) -> (Words, Producer, Consumer) {
    let memory = Words::new(0x210);
    let producer = Producer::new(&memory, GEOMETRY, base);
    let consumer = Consumer::new(GEOMETRY, base);
    consumer.attach(&memory);
    (memory, producer, consumer)
}

fn take(memory: &Words, consumer: &mut Consumer, most: usize) -> Vec<u8> {
    let mut into = vec![0; most];
    match consumer.read(memory, &mut into) {
        Ok(Taken::Bytes(count)) => into.truncate(count),
        other => panic!("{other:?}"),
    }
    into
}

#[test]
fn bytes_come_out_as_they_went_in_and_over_the_edge() {
    for base in [0, 5, u64::MAX - 20] {
        let (memory, mut producer, mut consumer) = ring(base);
        assert_eq!(producer.write(&memory, b"twelve bytes"), Ok(12));
        assert_eq!(take(&memory, &mut consumer, 7), b"twelve ");
        assert_eq!(producer.write(&memory, b"and then twelve"), Ok(11));
        assert_eq!(producer.write(&memory, b"full"), Ok(0));
        assert_eq!(producer.space(), 0);
        assert_eq!(take(&memory, &mut consumer, 99), b"bytesand then tw");
        assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(Taken::Empty));
        assert_eq!(producer.head(&memory), Ok(base.wrapping_add(23)));
        assert_eq!(consumer.head(), producer.tail());
    }
}

#[test]
fn only_a_consumer_that_waits_is_notified_and_a_batch_once() {
    let (memory, mut producer, mut consumer) = ring(100);
    // The consumer has not waited yet.
    assert_eq!(producer.write(&memory, b"ab"), Ok(2));
    assert_eq!(producer.unannounced(), 2);
    assert!(!producer.must_ring(&memory));
    assert_eq!(producer.unannounced(), 0);
    assert_eq!(consumer.wait_for_data(&memory), Ok(true));
    assert_eq!(take(&memory, &mut consumer, 9), b"ab");

    assert_eq!(consumer.wait_for_data(&memory), Ok(false));
    assert!(!producer.must_ring(&memory));
    for _ in 0..3 {
        assert_eq!(producer.write(&memory, b"c"), Ok(1));
    }
    assert!(producer.must_ring(&memory));
    assert_eq!(producer.write(&memory, b"d"), Ok(1));
    assert!(!producer.must_ring(&memory));
}

#[test]
fn a_producer_is_notified_when_what_it_asked_for_fits() {
    let (memory, mut producer, mut consumer) = ring(7);
    assert_eq!(producer.write(&memory, &[1; 16]), Ok(16));
    assert_eq!(producer.wait_for_space(&memory, 4), Ok(false));
    assert_eq!(take(&memory, &mut consumer, 3).len(), 3);
    assert!(!consumer.must_ring(&memory));
    assert_eq!(take(&memory, &mut consumer, 3).len(), 3);
    assert!(consumer.must_ring(&memory));
    assert_eq!(take(&memory, &mut consumer, 3).len(), 3);
    assert!(!consumer.must_ring(&memory));
    assert_eq!(producer.wait_for_space(&memory, 9), Ok(true));
    // A request for more than the ring holds is met when all of it is free.
    assert_eq!(producer.wait_for_space(&memory, 99), Ok(false));
    assert_eq!(take(&memory, &mut consumer, 99).len(), 7);
    assert!(consumer.must_ring(&memory));
}

#[test]
fn an_end_follows_the_bytes_and_wakes_a_waiting_consumer() {
    let (memory, mut producer, mut consumer) = ring(0);
    assert_eq!(producer.write(&memory, b"last"), Ok(4));
    producer.finish(&memory);
    assert_eq!(producer.write(&memory, b"too late"), Ok(0));
    assert!(!producer.must_ring(&memory));
    assert_eq!(take(&memory, &mut consumer, 9), b"last");
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(Taken::Finished));
    assert_eq!(consumer.wait_for_data(&memory), Ok(true));

    let (memory, mut producer, mut consumer) = ring(0);
    assert_eq!(consumer.wait_for_data(&memory), Ok(false));
    producer.finish(&memory);
    assert_eq!(producer.unannounced(), 1);
    assert!(producer.must_ring(&memory));
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(Taken::Finished));

    // The consumer is told of the bytes, sleeps again, and is told of the end.
    let (memory, mut producer, mut consumer) = ring(0);
    assert_eq!(consumer.wait_for_data(&memory), Ok(false));
    assert_eq!(producer.write(&memory, b"x"), Ok(1));
    assert!(producer.must_ring(&memory));
    assert_eq!(take(&memory, &mut consumer, 9), b"x");
    assert_eq!(consumer.wait_for_data(&memory), Ok(false));
    producer.finish(&memory);
    assert!(producer.must_ring(&memory));
    assert!(!producer.must_ring(&memory));
}

#[test]
fn reset_makes_what_was_not_read_worthless() {
    let (memory, mut producer, mut consumer) = ring(0);
    assert_eq!(producer.write(&memory, b"unread"), Ok(6));
    producer.finish(&memory);
    assert_eq!(take(&memory, &mut consumer, 1), b"u");
    producer.reset(&memory);
    assert_eq!(consumer.read(&memory, &mut [0; 9]), Ok(Taken::Reset));
    assert_eq!(consumer.available(&memory), Ok(0));
    assert_eq!(consumer.wait_for_data(&memory), Ok(true));
    assert_eq!(consumer.head(), 1);
}

#[test]
fn the_producer_sees_that_the_ring_is_attached() {
    let memory = Words::new(0x210);
    let producer = Producer::new(&memory, GEOMETRY, 0);
    let consumer = Consumer::new(GEOMETRY, 0);
    assert!(!producer.is_attached(&memory));
    consumer.attach(&memory);
    assert!(producer.is_attached(&memory));
}

#[test]
fn a_read_stops_where_the_stream_goes_another_way() {
    let (memory, mut producer, mut consumer) = ring(10);
    assert_eq!(producer.write(&memory, b"old new"), Ok(7));
    let mut into = [0; 8];
    let until = |consumer: &mut Consumer, into: &mut [u8], end| {
        consumer.read_until(&memory, into, end).expect("honest")
    };
    assert_eq!(until(&mut consumer, &mut into, 14), Taken::Bytes(4));
    assert_eq!(&into[..4], b"old ");
    assert_eq!(until(&mut consumer, &mut into, 14), Taken::Empty);
    assert_eq!(until(&mut consumer, &mut into, 0), Taken::Empty);
    assert_eq!(until(&mut consumer, &mut into, u64::MAX), Taken::Bytes(3));
}

#[test]
fn what_was_not_consumed_can_be_read_back() {
    let (memory, mut producer, mut consumer) = ring(100);
    assert_eq!(producer.write(&memory, b"0123456789abcdef"), Ok(16));
    assert_eq!(take(&memory, &mut consumer, 10).len(), 10);
    assert_eq!(producer.write(&memory, b"ghij"), Ok(4));
    let mut into = [0; 32];
    assert_eq!(producer.read_back(&memory, 110, &mut into), 10);
    assert_eq!(&into[..10], b"abcdefghij");
    assert_eq!(producer.read_back(&memory, 118, &mut into[..1]), 1);
    assert_eq!(into[0], b'i');
    // Taken, but still there; overwritten; not yet written; never in this ring.
    assert_eq!(producer.read_back(&memory, 104, &mut into), 16);
    for offset in [103, 121, 99, u64::MAX] {
        assert_eq!(producer.read_back(&memory, offset, &mut into), 0);
    }
}

#[test]
fn a_lying_producer_is_found() {
    let (memory, _, mut consumer) = ring(50);
    let tail = GEOMETRY.header + TAIL;
    memory.store(tail, 67);
    let lie = IndexLie::BeyondCapacity {
        claimed: 17,
        capacity: 16,
    };
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Err(lie));
    assert_eq!(consumer.available(&memory), Err(lie));
    assert_eq!(consumer.wait_for_data(&memory), Err(lie));
    memory.store(tail, 60);
    assert_eq!(take(&memory, &mut consumer, 4).len(), 4);
    memory.store(tail, 59);
    assert_eq!(take(&memory, &mut consumer, 4).len(), 4);
    assert_eq!(
        consumer.read(&memory, &mut [0; 4]),
        Err(IndexLie::Backwards)
    );
}

#[test]
fn an_end_is_not_taken_back() {
    let (memory, mut producer, mut consumer) = ring(0);
    producer.finish(&memory);
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(Taken::Finished));
    memory.store(GEOMETRY.header + PRODUCER_STATE, 0);
    memory.store(GEOMETRY.header + TAIL, 9);
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(Taken::Finished));
    memory.store(GEOMETRY.header + PRODUCER_STATE, RESET);
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(Taken::Reset));
    memory.store(GEOMETRY.header + PRODUCER_STATE, 0);
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(Taken::Reset));
}

#[test]
fn a_lying_consumer_is_found() {
    let (memory, mut producer, _) = ring(50);
    let head = GEOMETRY.header + HEAD;
    assert_eq!(producer.write(&memory, &[0; 12]), Ok(12));
    memory.store(head, 63);
    let lie = IndexLie::BeyondTail { ahead: 1 };
    assert_eq!(producer.write(&memory, &[0; 12]), Err(lie));
    assert_eq!(producer.wait_for_space(&memory, 12), Err(lie));
    memory.store(head, 55);
    assert_eq!(producer.head(&memory), Ok(55));
    memory.store(head, 54);
    assert_eq!(producer.head(&memory), Err(IndexLie::Backwards));
}

#[test]
fn a_wild_wish_to_be_notified_costs_nothing() {
    let (memory, mut producer, _) = ring(50);
    for wish in [0, 49, 50, 52, u64::MAX] {
        memory.store(GEOMETRY.header + DATA_AT, wish);
        assert_eq!(producer.write(&memory, b"x"), Ok(1));
        assert_eq!(producer.must_ring(&memory), wish == producer.tail());
    }
}

#[test]
fn a_sealed_ring_takes_nothing_more() {
    let (memory, _, mut consumer) = ring(5);
    let mut producer = Producer::sealable(&memory, GEOMETRY, 5);
    assert_eq!(producer.write(&memory, b"seven by"), Ok(8));
    assert_eq!(take(&memory, &mut consumer, 3), b"sev");
    assert_eq!(consumer.seal(&memory), Ok(13));
    assert_eq!(consumer.seal(&memory), Ok(13));
    assert!(!producer.is_sealed());
    assert_eq!(producer.write(&memory, b"late"), Ok(0));
    assert!(producer.is_sealed());
    assert_eq!(producer.write(&memory, b"later"), Ok(0));
    assert_eq!(producer.tail(), 13);
    assert_eq!(take(&memory, &mut consumer, 99), b"en by");
    assert_eq!(consumer.read(&memory, &mut [0; 1]), Ok(Taken::Empty));
}
