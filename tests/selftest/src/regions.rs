//! Features that the channel needs: regions, a large window, copies, random
//! numbers.

use crate::{Bench, Outcome, ensure};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use kernel::grant::{self, Access, GrantError, GrantedPage, GrantedRegion, Mapping};
use kernel::mem::frames;
use kernel::random;
use kernel::shared::SharedPage;

const PAGE: usize = 4096;

fn region(bench: &Bench, pages: usize) -> Result<GrantedRegion, String> {
    GrantedRegion::new(bench.domid, pages).map_err(|error| format!("{pages} pages: {error}"))
}

fn mapped(bench: &Bench, references: &[u32]) -> Result<Mapping, String> {
    Mapping::new(bench.domid, references, Access::ReadWrite).map_err(|error| format!("{error}"))
}

fn whole(bench: &Bench, region: &GrantedRegion) -> Result<Mapping, String> {
    let references = region.references().map_err(|error| format!("{error}"))?;
    mapped(bench, references)
}

/// Bytes that differ from their neighbours and from page to page.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

pub(crate) async fn a_region_is_zero_adjacent_and_comes_back(bench: Bench) -> Outcome {
    let (free, grants) = (frames::usage().free, grant::in_use());
    for pages in [1, 9, 65, 17] {
        let region = region(&bench, pages)?;
        let mapping = whole(&bench, &region)?;
        let mut bytes = vec![1; pages * PAGE];
        mapping.read(0, &mut bytes);
        ensure!(
            bytes.iter().all(|&byte| byte == 0),
            "{pages} pages are not zero"
        );
        let pattern = pattern(pages * PAGE);
        region.write(0, &pattern);
        mapping.read(0, &mut bytes);
        ensure!(
            bytes == pattern,
            "{pages} pages show other bytes to the peer"
        );
        drop(mapping);
        ensure!(region.revoke().is_ok(), "{pages} pages do not come back");
    }
    ensure!(grant::in_use() == grants, "{} grants stay", grant::in_use());
    let after = frames::usage().free;
    // The heap and the window's page tables have grown.
    ensure!(free - after < 200, "{free} free frames became {after}");
    ensure!(
        matches!(
            GrantedRegion::new(bench.domid, 0),
            Err(GrantError::OutOfMemory)
        ),
        "a region of nothing"
    );
    ensure!(
        matches!(
            GrantedRegion::new(bench.domid, 1 << 20),
            Err(GrantError::OutOfMemory)
        ),
        "a region of 4 GiB"
    );
    Ok(())
}

pub(crate) async fn a_region_in_use_is_quarantined(bench: Bench) -> Outcome {
    let before = grant::quarantined_pages();
    let region = region(&bench, 5)?;
    let references = region
        .references()
        .map_err(|error| format!("{error}"))?
        .to_vec();
    let mapping = mapped(&bench, &references[2..3])?;
    let Err(region) = region.revoke() else {
        return Err("a region in use was given back".into());
    };
    ensure!(
        region.references() == Err(GrantError::Ending),
        "{:?}",
        region.references()
    );
    for reference in [references[0], references[4]] {
        ensure!(
            mapped(&bench, &[reference]).is_err(),
            "grant {reference} has not ended"
        );
    }
    // Once more with the page unmapped: now the region comes back.
    drop(mapping);
    ensure!(region.revoke().is_ok(), "it does not come back unmapped");
    let region = self::region(&bench, 5)?;
    let mapping = whole(&bench, &region)?;
    drop(region);
    let quarantined = grant::quarantined_pages() - before;
    ensure!(quarantined == 5, "{quarantined} pages in quarantine");
    // The peer's mapping still reaches the pages, which have no other user.
    mapping.write(0, &[0xff; 5 * PAGE]);
    Ok(())
}

/// Maps 8 MiB and more at once, which is more than this guest has, by mapping
/// the same pages repeatedly.
pub(crate) async fn the_window_has_room_for_many_pages(bench: Bench) -> Outcome {
    const ROUNDS: usize = 36;
    let region = region(&bench, 64)?;
    for page in 0..64 {
        region.store_u64(page * PAGE, page as u64, Ordering::Relaxed);
    }
    let mut mappings = Vec::new();
    for round in 0..ROUNDS {
        mappings.push(whole(&bench, &region).map_err(|error| format!("round {round}: {error}"))?);
    }
    for (round, mapping) in mappings.iter().enumerate() {
        for page in 0..64 {
            let seen = mapping.load_u64(page * PAGE, Ordering::Relaxed);
            ensure!(
                seen == page as u64,
                "round {round}, page {page} shows {seen}"
            );
        }
    }
    // The window is full at last, which is an error; then every second mapping
    // can be replaced.
    while let Ok(mapping) = whole(&bench, &region) {
        mappings.push(mapping);
        ensure!(mappings.len() < 64, "a window without end");
    }
    let most = mappings.len();
    let mut keep = false;
    mappings.retain(|_| {
        keep = !keep;
        keep
    });
    while let Ok(mapping) = whole(&bench, &region) {
        mappings.push(mapping);
    }
    ensure!(
        mappings.len() == most,
        "{} of {most} fit again",
        mappings.len()
    );
    drop(mappings);
    ensure!(region.revoke().is_ok(), "a mapping was left");
    Ok(())
}

pub(crate) async fn copies_keep_to_their_bytes(bench: Bench) -> Outcome {
    let region = region(&bench, 5)?;
    let mapping = whole(&bench, &region)?;
    let pattern = pattern(5 * PAGE);
    let clean = vec![0xa5; 5 * PAGE];
    let mut all = vec![0; 5 * PAGE];
    let lengths = [
        0, 1, 7, 31, 32, 33, 64, 65, 255, 256, 257, 300, 511, 513, 1460, 4096, 16384,
    ];
    for length in lengths {
        for at in [0, 1, 15, 31, 32, 33, 4095] {
            region.write(0, &clean);
            // Unaligned on both sides.
            mapping.write(at, &pattern[at / 2..at / 2 + length]);
            region.read(0, &mut all);
            let right = all[..at]
                .iter()
                .chain(&all[at + length..])
                .all(|&byte| byte == 0xa5)
                && all[at..at + length] == pattern[at / 2..at / 2 + length];
            ensure!(right, "{length} bytes written at {at}");
            let mut part = vec![0x5a; length + 2];
            mapping.read(at, &mut part[1..=length]);
            let right = part[0] == 0x5a
                && part[length + 1] == 0x5a
                && part[1..=length] == all[at..at + length];
            ensure!(right, "{length} bytes read at {at}");
        }
    }
    Ok(())
}

/// The contents of wide registers survive while other domains run.
pub(crate) async fn copies_are_right_for_a_while(bench: Bench) -> Outcome {
    let page = SharedPage::new().map_err(|error| format!("{error}"))?;
    let page = GrantedPage::new(bench.domid, page, Access::ReadWrite)
        .map_err(|error| format!("{error}"))?;
    let pattern = pattern(PAGE);
    let mut seen = vec![0; PAGE];
    for round in 0..20_000 {
        page.write(0, &pattern);
        seen.fill(0);
        page.read(0, &mut seen);
        ensure!(seen == pattern, "round {round}");
    }
    Ok(())
}

/// Prints the cost of a copy; in virtual time a nanosecond is an instruction.
pub(crate) async fn copies_are_wide(bench: Bench) -> Outcome {
    const ROUNDS: u32 = 200;
    let region = region(&bench, 16)?;
    let mut bytes = vec![1; 16 * PAGE];
    for length in [256, 1460, PAGE, 16 * PAGE] {
        let begun = kernel::time::now();
        for _ in 0..ROUNDS {
            region.read(0, &mut bytes[..length]);
            region.write(0, &bytes[..length]);
        }
        let taken = kernel::time::now().saturating_duration_since(begun);
        log::info!(
            "selftest: a copy of {length} bytes takes {} ns",
            taken.as_nanos() / u128::from(2 * ROUNDS)
        );
    }
    Ok(())
}

pub(crate) async fn random_numbers_are_not_alike(_: Bench) -> Outcome {
    let mut seen = Vec::new();
    for _ in 0..1000 {
        let mut nonce = [0u8; 16];
        random::fill(&mut nonce);
        seen.push(nonce);
    }
    let ones: u32 = seen.iter().flatten().map(|byte| byte.count_ones()).sum();
    seen.sort_unstable();
    seen.dedup();
    ensure!(seen.len() == 1000, "{} of 1000 are distinct", seen.len());
    // 64,000 expected, with a standard deviation of 179.
    ensure!(
        (62_000..66_000).contains(&ones),
        "{ones} bits of 128,000 set"
    );
    Ok(())
}
