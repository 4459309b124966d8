//! Memory taken from Xen and given back.

use crate::{Bench, Outcome, ensure};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;
use kernel::grant::{Access, GrantedPage, Mapping};
use kernel::mem::frames::{self, Usage};
use kernel::shared::SharedPage;
use kernel::time;

/// Longer than two observations of unused memory: the first may have begun
/// while the memory was used.
const PATIENCE: Duration = Duration::from_secs(12);

/// Takes every free frame and writes its number into it.
fn take_all() -> Vec<SharedPage> {
    let mut pages = Vec::with_capacity(frames::usage().free);
    while let Ok(page) = SharedPage::new() {
        page.store_u64(8, page.pfn() as u64, Ordering::Relaxed);
        pages.push(page);
    }
    pages
}

pub(crate) async fn unused_memory_went_back_at_boot(_: Bench) -> Outcome {
    let Usage {
        total,
        free,
        resident,
        at_hand,
    } = frames::usage();
    ensure!(total == 16 << 8, "{total} frames in 16 MiB");
    ensure!(resident < total / 2, "{resident} of {total} resident");
    ensure!(at_hand >= 128, "{at_hand} free frames at hand");
    ensure!(
        free > total - 600 && free < total,
        "{free} of {total} frames free"
    );
    Ok(())
}

pub(crate) async fn memory_comes_on_demand_up_to_the_maximum(_: Bench) -> Outcome {
    let before = frames::usage();
    let pages = take_all();
    let full = frames::usage();
    ensure!(
        full.resident == full.total,
        "{} of {} resident",
        full.resident,
        full.total
    );
    ensure!(SharedPage::new().is_err(), "a page beyond the maximum");
    let wrong = pages
        .iter()
        .filter(|page| page.load_u64(8, Ordering::Relaxed) != page.pfn() as u64)
        .count();
    ensure!(wrong == 0, "{wrong} pages do not hold what was written");
    let dirty = pages.iter().filter(|page| {
        let mut bytes = [0; 4096];
        page.read(0, &mut bytes);
        bytes[..8].iter().chain(&bytes[16..]).any(|&byte| byte != 0)
    });
    let dirty = dirty.count();
    ensure!(dirty == 0, "{dirty} pages were not zero");
    drop(pages);
    let after = frames::usage();
    // The list of pages has grown the heap.
    ensure!(
        before.free - after.free < 64,
        "{} free frames became {}",
        before.free,
        after.free
    );
    Ok(())
}

pub(crate) async fn unused_memory_goes_back_and_comes_again(_: Bench) -> Outcome {
    drop(take_all());
    time::sleep(PATIENCE).await;
    let usage = frames::usage();
    ensure!(
        usage.resident < usage.total / 2,
        "{} of {} resident after {PATIENCE:?}",
        usage.resident,
        usage.total
    );
    let pages = take_all();
    let wrong = pages
        .iter()
        .filter(|page| page.load_u64(8, Ordering::Relaxed) != page.pfn() as u64)
        .count();
    ensure!(wrong == 0, "{wrong} pages do not hold what was written");
    drop(pages);
    let counters = frames::counters();
    ensure!(counters.failed == 0, "{counters:?}");
    Ok(())
}

pub(crate) async fn a_closed_gate_keeps_memory_as_it_is(_: Bench) -> Outcome {
    let before = frames::usage();
    let gate = frames::set_gate(|| false).ok_or("no pool")?;
    let pages = take_all();
    let count = pages.len();
    let closed = frames::usage();
    let large = Vec::<u8>::new().try_reserve_exact(1 << 20);
    frames::set_gate(gate);
    drop(pages);
    ensure!(
        closed.resident == before.resident,
        "{} resident frames became {}",
        before.resident,
        closed.resident
    );
    ensure!(
        count <= before.at_hand && count + 64 > before.at_hand,
        "{count} pages with {} at hand",
        before.at_hand
    );
    ensure!(large.is_err(), "a megabyte out of nothing");
    ensure!(frames::counters().withheld > 0, "nothing was withheld");
    let more = take_all();
    ensure!(
        more.len() > count,
        "no memory after the gate was opened again"
    );
    Ok(())
}

pub(crate) async fn populated_pages_can_be_granted(bench: Bench) -> Outcome {
    let pages = take_all();
    // Pages from all over the memory.
    let step = (pages.len() / 60).max(1);
    for page in pages.into_iter().step_by(step) {
        let pfn = page.pfn() as u64;
        let page = GrantedPage::new(bench.domid, page, Access::ReadWrite)
            .map_err(|error| format!("{error}"))?;
        let reference = page.reference().map_err(|error| format!("{error}"))?;
        let mapping = Mapping::new(bench.domid, &[reference], Access::ReadWrite)
            .map_err(|error| format!("{error}"))?;
        let seen = mapping.load_u64(8, Ordering::Relaxed);
        ensure!(seen == pfn, "frame {pfn} shows {seen} through its grant");
        mapping.store_u64(16, !pfn, Ordering::SeqCst);
        ensure!(
            page.load_u64(16, Ordering::SeqCst) == !pfn,
            "what the peer writes to frame {pfn} does not arrive"
        );
    }
    Ok(())
}
