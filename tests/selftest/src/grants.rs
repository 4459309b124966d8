//! Grants made to this guest itself and mapped by it.

use crate::{Bench, Outcome, ensure};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use kernel::Kind;
use kernel::grant::{self, Access, GrantError, GrantedPage, Mapping};
use kernel::mem::frames;
use kernel::shared::SharedPage;

fn granted(bench: &Bench, access: Access) -> Result<GrantedPage, String> {
    let page = SharedPage::new().map_err(|error| format!("{error}"))?;
    GrantedPage::new(bench.domid, page, access).map_err(|error| format!("{error}"))
}

fn mapped(bench: &Bench, references: &[u32]) -> Result<Mapping, String> {
    Mapping::new(bench.domid, references, Access::ReadWrite).map_err(|error| format!("{error}"))
}

fn reference(page: &GrantedPage) -> Result<u32, String> {
    page.reference().map_err(|error| format!("{error}"))
}

pub(crate) async fn what_is_written_is_seen_through_the_mapping(bench: Bench) -> Outcome {
    let page = granted(&bench, Access::ReadWrite)?;
    let mapping = mapped(&bench, &[reference(&page)?])?;
    page.store_u64(8, 0x0123_4567_89ab_cdef, Ordering::SeqCst);
    let seen = mapping.load_u64(8, Ordering::SeqCst);
    ensure!(seen == 0x0123_4567_89ab_cdef, "{seen:#x}");
    mapping.write(4090, b"hello!");
    let mut bytes = [0; 6];
    page.read(4090, &mut bytes);
    ensure!(&bytes == b"hello!", "{bytes:?}");
    drop(mapping);
    ensure!(
        page.into_page().is_ok(),
        "the page does not come back after the unmap"
    );
    Ok(())
}

/// Keeps a page mapped through a suspend, which no part of a guest may do.
pub(crate) async fn hold_a_mapping(bench: Bench) -> Outcome {
    let page = granted(&bench, Access::ReadWrite)?;
    let mapping = mapped(&bench, &[reference(&page)?])?;
    log::info!("selftest: holding a mapping of {} bytes", mapping.len());
    core::future::pending::<()>().await;
    Ok(())
}

pub(crate) async fn a_batch_of_pages_is_mapped_in_order(bench: Bench) -> Outcome {
    let pages = (0..100u32)
        .map(|number| {
            let page = granted(&bench, Access::ReadWrite)?;
            page.store_u32(0, number, Ordering::Relaxed);
            Ok(page)
        })
        .collect::<Result<Vec<_>, String>>()?;
    let references = pages.iter().map(reference).collect::<Result<Vec<_>, _>>()?;
    let mapping = mapped(&bench, &references)?;
    for number in 0..100 {
        let seen = mapping.load_u32(number as usize * 4096, Ordering::Relaxed);
        ensure!(seen == number, "page {number} holds {seen}");
    }
    Ok(())
}

pub(crate) async fn a_wrong_reference_is_an_error_and_maps_nothing(bench: Bench) -> Outcome {
    let page = granted(&bench, Access::ReadWrite)?;
    let references = [reference(&page)?, 2047];
    let outcome = Mapping::new(bench.domid, &references, Access::ReadWrite);
    ensure!(outcome.is_err(), "reference 2047 was mapped");
    ensure!(page.into_page().is_ok(), "its neighbour stayed mapped");
    let read_only = granted(&bench, Access::ReadOnly)?;
    let writable = Mapping::new(bench.domid, &[reference(&read_only)?], Access::ReadWrite);
    ensure!(writable.is_err(), "a read-only page was mapped writable");
    Ok(())
}

/// A peer may claim to be the guest itself, and ask it to map a page.
pub(crate) async fn a_page_of_our_own_is_not_moved(bench: Bench) -> Outcome {
    let page = granted(&bench, Access::ReadWrite)?;
    page.store_u64(8, 0x0123_4567_89ab_cdef, Ordering::SeqCst);
    for domid in [bench.domid, 0x7ff0] {
        let mapping = Mapping::new(domid, &[reference(&page)?], Access::ReadWrite);
        if kernel::kind() == Kind::Pvh {
            ensure!(
                matches!(mapping, Err(GrantError::Own)),
                "domain {domid}: {mapping:?}"
            );
        }
        let seen = page.load_u64(8, Ordering::SeqCst);
        ensure!(seen == 0x0123_4567_89ab_cdef, "domain {domid}: {seen:#x}");
    }
    Ok(())
}

pub(crate) async fn a_page_in_use_is_quarantined(bench: Bench) -> Outcome {
    let before = grant::quarantined_pages();
    let page = granted(&bench, Access::ReadWrite)?;
    let mapping = mapped(&bench, &[reference(&page)?])?;
    let page = match page.into_page() {
        Ok(_) => return Err("a page in use was given back".into()),
        Err(page) => page,
    };
    drop(page);
    ensure!(
        grant::quarantined_pages() == before + 1,
        "it was not counted"
    );
    // The peer's mapping still reaches the page, which has no other user.
    mapping.store_u32(0, 7, Ordering::Relaxed);
    Ok(())
}

pub(crate) async fn references_are_reused(bench: Bench) -> Outcome {
    let free = frames::usage().free;
    for _ in 0..5000 {
        drop(granted(&bench, Access::ReadWrite)?);
    }
    let after = frames::usage().free;
    ensure!(after == free, "{free} free frames became {after}");
    Ok(())
}

pub(crate) async fn the_table_grows(bench: Bench) -> Outcome {
    // Enough entries for three frames, all on different pages.
    let pages = (0..1500)
        .map(|_| granted(&bench, Access::ReadOnly))
        .collect::<Result<Vec<_>, String>>()?;
    let mut references = pages.iter().map(reference).collect::<Result<Vec<_>, _>>()?;
    references.sort_unstable();
    references.dedup();
    ensure!(
        references.len() == 1500,
        "only {} are distinct",
        references.len()
    );
    let highest = references.last().copied().unwrap_or_default();
    let mapping = Mapping::new(bench.domid, &[highest], Access::ReadOnly);
    ensure!(mapping.is_ok(), "reference {highest} cannot be mapped");
    Ok(())
}
