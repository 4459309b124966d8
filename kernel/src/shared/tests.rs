//! The memory of a page: bounds, copies and integers.

use super::SharedPage;
use crate::page::PAGE_SIZE;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

#[test]
fn bytes_and_integers_share_one_memory() {
    let page = SharedPage::new().expect("memory");
    page.write(4, &[1, 2, 3, 4]);
    assert_eq!(page.load_u32(4, Ordering::Relaxed), 0x0403_0201);
    page.store_u16(4094, 0xabcd, Ordering::Relaxed);
    let mut tail = [0; 2];
    page.read(4094, &mut tail);
    assert_eq!(tail, [0xcd, 0xab]);
}

#[test]
fn bits_are_set_and_words_exchanged() {
    let page = SharedPage::new().expect("memory");
    assert_eq!(page.fetch_or_u64(8, 0b101), 0);
    assert_eq!(page.fetch_or_u64(8, 0b010), 0b101);
    assert_eq!(page.swap_u64(8, 9), 0b111);
    assert_eq!(page.load_u64(8, Ordering::Relaxed), 9);
}

#[test]
fn a_copy_touches_nothing_beside_it() {
    let bytes: Vec<u8> = (0..PAGE_SIZE).map(|index| (index % 251) as u8).collect();
    for (at, len) in [(0, PAGE_SIZE), (1, 256), (33, 1000), (31, 513), (4000, 95)] {
        let page = SharedPage::new().expect("memory");
        page.write(at, &bytes[..len]);
        let mut all = vec![0xee; PAGE_SIZE];
        page.read(0, &mut all);
        assert_eq!(all[at..at + len], bytes[..len]);
        assert!(
            all[..at]
                .iter()
                .chain(&all[at + len..])
                .all(|&byte| byte == 0)
        );
        let mut part = vec![0xee; len + 2];
        page.read(at, &mut part[1..=len]);
        assert_eq!((part[0], part[len + 1]), (0xee, 0xee));
        assert_eq!(part[1..=len], bytes[..len]);
    }
}

#[test]
#[should_panic(expected = "shared")]
fn reading_past_the_end_is_a_bug() {
    SharedPage::new().expect("memory").read(4090, &mut [0; 7]);
}

#[test]
#[should_panic(expected = "shared")]
fn an_offset_that_would_wrap_is_a_bug() {
    SharedPage::new()
        .expect("memory")
        .write(usize::MAX, &[0; 2]);
}
