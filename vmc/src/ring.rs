//! The byte ring of one direction: one producer, one consumer, free-running
//! 32-bit indices in shared memory.
//!
//! Today: the rule by which an index that the peer wrote is believed (design
//! rule R7). The ring itself comes with stage 3.

use core::fmt;

/// Why an index from shared memory cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexLie {
    /// More bytes between the indices than the ring holds.
    BeyondCapacity {
        /// Bytes between the indices.
        claimed: u32,
        /// Size of the ring in bytes.
        capacity: u32,
    },
    /// The peer's index went back.
    Backwards,
}

impl fmt::Display for IndexLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondCapacity { claimed, capacity } => {
                write!(f, "the peer claims {claimed} bytes in a ring of {capacity}")
            }
            Self::Backwards => f.write_str("the peer's ring index went back"),
        }
    }
}

impl core::error::Error for IndexLie {}

/// Bytes that the consumer may read, given the producer's index as fetched
/// (once) from shared memory, the last one believed, and the consumer's own.
///
/// # Errors
/// [`IndexLie`]; the channel is to be closed.
pub const fn readable(
    fetched: u32,
    believed: u32,
    consumer: u32,
    capacity: u32,
) -> Result<u32, IndexLie> {
    let claimed = fetched.wrapping_sub(consumer);
    if claimed > capacity {
        return Err(IndexLie::BeyondCapacity { claimed, capacity });
    }
    if claimed < believed.wrapping_sub(consumer) {
        return Err(IndexLie::Backwards);
    }
    Ok(claimed)
}

#[cfg(test)]
mod tests {
    use super::{IndexLie, readable};

    const CAPACITY: u32 = 4096;

    #[test]
    fn an_honest_producer_is_believed_across_the_wrap() {
        let consumer = u32::MAX - 10;
        assert_eq!(readable(consumer, consumer, consumer, CAPACITY), Ok(0));
        assert_eq!(readable(90, consumer, consumer, CAPACITY), Ok(101));
        let full = consumer.wrapping_add(CAPACITY);
        assert_eq!(readable(full, 90, consumer, CAPACITY), Ok(CAPACITY));
    }

    #[test]
    fn one_byte_too_many_is_a_lie() {
        let claimed = CAPACITY + 1;
        assert_eq!(
            readable(7 + claimed, 7, 7, CAPACITY),
            Err(IndexLie::BeyondCapacity {
                claimed,
                capacity: CAPACITY
            })
        );
    }

    #[test]
    fn an_index_behind_the_believed_one_is_a_lie() {
        assert_eq!(readable(99, 100, 50, CAPACITY), Err(IndexLie::Backwards));
        // Behind the consumer it looks like far too much.
        assert!(readable(49, 100, 50, CAPACITY).is_err());
    }
}
