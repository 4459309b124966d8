//! Compares the routines with operations on Rust's slices, at all sizes around
//! their internal limits and various alignments of both ends, without AVX and,
//! if the machine has it, with AVX.

use core::sync::atomic::{AtomicBool, Ordering};
use proptest::prelude::*;

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8;
    fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32;
    static memory_is_wide: AtomicBool;
}

/// Lets all copies and fills use AVX from now on. Tests that run concurrently
/// then use either variant; both must be right.
fn widen() {
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: a byte that the routines only compare with 0.
        unsafe { memory_is_wide.store(true, Ordering::Relaxed) };
    }
}

/// Bytes that differ from their neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

/// Moves `count` bytes within a buffer, one by one, according to the
/// definition.
fn moved(mut bytes: Vec<u8>, to: usize, from: usize, count: usize) -> Vec<u8> {
    let source: Vec<u8> = (0..count).map(|index| bytes[from + index]).collect();
    for (index, byte) in source.into_iter().enumerate() {
        bytes[to + index] = byte;
    }
    bytes
}

#[test]
fn copies_exactly_what_is_asked_for() {
    copy_all_sizes();
    widen();
    copy_all_sizes();
}

fn copy_all_sizes() {
    const ALL: usize = 1200;
    for count in (0..300).chain([511, 512, 513, 767, 768, 769, 1024, 1100]) {
        for (to, from) in [(0, 0), (1, 0), (0, 3), (15, 8), (9, 16), (31, 33)] {
            let source = pattern(ALL);
            let mut target = vec![0xee; ALL];
            // SAFETY: both ranges are inside their own buffer.
            let returned = unsafe {
                memcpy(
                    target.as_mut_ptr().add(to),
                    source.as_ptr().add(from),
                    count,
                )
            };
            assert_eq!(returned.cast_const(), target[to..].as_ptr());
            let expected: Vec<u8> = (0..ALL)
                .map(|index| match (to..to + count).contains(&index) {
                    true => source[index - to + from],
                    false => 0xee,
                })
                .collect();
            assert!(target == expected, "{count} bytes from {from} to {to}");
        }
    }
}

#[test]
fn fills_exactly_what_is_asked_for() {
    fill_all_sizes();
    widen();
    fill_all_sizes();
}

fn fill_all_sizes() {
    const ALL: usize = 1200;
    for count in (0..300).chain([511, 512, 513, 767, 768, 769, 1024, 1100]) {
        for start in [0, 1, 7, 16, 31] {
            let mut target = pattern(ALL);
            // SAFETY: the range is inside the buffer.
            unsafe { memset(target.as_mut_ptr().add(start), 0x1_a5, count) };
            let mut expected = pattern(ALL);
            for byte in &mut expected[start..start + count] {
                *byte = 0xa5;
            }
            assert!(target == expected, "{count} bytes at {start}");
        }
    }
}

proptest! {
    #[test]
    fn moves_overlapping_bytes(
        to in 0usize..600,
        from in 0usize..600,
        count in 0usize..600,
        wide: bool,
    ) {
        if wide {
            widen();
        }
        let mut bytes = pattern(1200);
        // SAFETY: both ranges are inside the buffer.
        unsafe {
            let base = bytes.as_mut_ptr();
            memmove(base.add(to), base.add(from).cast_const(), count);
        }
        prop_assert!(bytes == moved(pattern(1200), to, from, count));
    }

    #[test]
    fn compares_like_slices(
        left in prop::collection::vec(0u8..3, 0..80),
        right in prop::collection::vec(0u8..3, 0..80),
    ) {
        let count = left.len().min(right.len());
        // SAFETY: both buffers have at least that many bytes.
        let order = unsafe { memcmp(left.as_ptr(), right.as_ptr(), count) };
        let expected = left.iter().take(count).cmp(right.iter().take(count));
        prop_assert_eq!(order.cmp(&0), expected);
    }
}
