//! Which of the peer's indices are believed (design rule R7).

use core::fmt;

/// Why an index from shared memory cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexLie {
    /// More bytes between the indices than the ring holds.
    BeyondCapacity {
        /// Bytes between the indices.
        claimed: u64,
        /// Size of the ring in bytes.
        capacity: u64,
    },
    /// The consumer claims bytes that were not written.
    BeyondTail {
        /// Number of such bytes.
        ahead: u64,
    },
    /// The peer's index moved backwards.
    Backwards,
}

impl fmt::Display for IndexLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondCapacity { claimed, capacity } => {
                write!(f, "the peer claims {claimed} bytes in a ring of {capacity}")
            }
            Self::BeyondTail { ahead } => {
                write!(f, "the peer took {ahead} bytes that were not written")
            }
            Self::Backwards => f.write_str("the peer's ring index went back"),
        }
    }
}

impl core::error::Error for IndexLie {}

/// Returns the producer's tail as fetched if it can be believed, given the tail
/// believed last and the consumer's own head.
pub(super) const fn tail(
    fetched: u64,
    believed: u64,
    head: u64,
    capacity: u64,
) -> Result<u64, IndexLie> {
    // A tail behind the head looks like far too many bytes.
    let claimed = fetched.wrapping_sub(head);
    if claimed > capacity {
        return Err(IndexLie::BeyondCapacity { claimed, capacity });
    }
    if claimed < believed.wrapping_sub(head) {
        return Err(IndexLie::Backwards);
    }
    Ok(fetched)
}

/// Returns the consumer's head as fetched if it can be believed, given the head
/// believed last and the producer's own tail.
pub(super) const fn head(fetched: u64, believed: u64, tail: u64) -> Result<u64, IndexLie> {
    let taken = fetched.wrapping_sub(believed);
    let written = tail.wrapping_sub(believed);
    if taken <= written {
        return Ok(fetched);
    }
    if taken < 1 << 63 {
        return Err(IndexLie::BeyondTail {
            ahead: taken - written,
        });
    }
    Err(IndexLie::Backwards)
}

#[cfg(test)]
mod tests {
    use super::{IndexLie, head, tail};

    const CAPACITY: u64 = 4096;

    #[test]
    fn an_honest_producer_is_believed_across_the_wrap() {
        // Counting never wraps 64 bits, but a peer may name such a base.
        let own = u64::MAX - 10;
        assert_eq!(tail(own, own, own, CAPACITY), Ok(own));
        assert_eq!(tail(90, own, own, CAPACITY), Ok(90));
        let full = own.wrapping_add(CAPACITY);
        assert_eq!(tail(full, 90, own, CAPACITY), Ok(full));
    }

    #[test]
    fn one_byte_too_many_is_a_lie() {
        let claimed = CAPACITY + 1;
        assert_eq!(
            tail(7 + claimed, 7, 7, CAPACITY),
            Err(IndexLie::BeyondCapacity {
                claimed,
                capacity: CAPACITY
            })
        );
    }

    #[test]
    fn a_tail_behind_the_believed_one_is_a_lie() {
        assert_eq!(tail(99, 100, 50, CAPACITY), Err(IndexLie::Backwards));
        assert!(tail(49, 100, 50, CAPACITY).is_err());
    }

    #[test]
    fn an_honest_consumer_is_believed() {
        assert_eq!(head(50, 50, 50), Ok(50));
        assert_eq!(head(70, 50, 70), Ok(70));
        assert_eq!(head(3, u64::MAX - 3, 9), Ok(3));
    }

    #[test]
    fn taking_what_was_not_written_is_a_lie() {
        assert_eq!(head(71, 50, 70), Err(IndexLie::BeyondTail { ahead: 1 }));
    }

    #[test]
    fn a_head_behind_the_believed_one_is_a_lie() {
        assert_eq!(head(49, 50, 70), Err(IndexLie::Backwards));
    }
}
