//! Tests the kernel from inside a guest, on real Xen: features that the
//! appliances do not use yet, and behaviour that cannot be seen from dom0.
//!
//! Prints `selftest: passed NAME` or `selftest: failed NAME: WHY` for each
//! case, and at the end `selftest: done, N passed, N failed`. With the option
//! `hold=mapping` it runs no tests but keeps a granted page mapped and waits to
//! be suspended, which must fail loudly. With `provoke=FAULT` it does what a bug
//! could do, which must end in a panic that names the fault.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
mod elastic;
mod events;
mod grants;
mod health;
mod memory;
mod regions;
mod store;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use kernel::fault::Fault;
use kernel::xenstore::Xenstore;
use kernel::{DomId, Guest, Kind, time};

kernel::guest!(main);

/// Longest time that one case may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The cases in which the guest is its own peer. In PVH guests the channel's tests, with two
/// guests, take their place.
const MAP_OWN_PAGES: [&str; 10] = [
    "what_is_written_is_seen_through_the_mapping",
    "a_batch_of_pages_is_mapped_in_order",
    "a_wrong_reference_is_an_error_and_maps_nothing",
    "a_page_in_use_is_quarantined",
    "the_table_grows",
    "a_region_is_zero_adjacent_and_comes_back",
    "a_region_in_use_is_quarantined",
    "the_window_has_room_for_many_pages",
    "copies_keep_to_their_bytes",
    "populated_pages_can_be_granted",
];

/// The outcome of a case; the error says why it failed.
pub(crate) type Outcome = Result<(), String>;

/// What a case may use.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) store: Xenstore,
    pub(crate) domid: DomId,
}

type Case = fn(Bench) -> Pin<Box<dyn Future<Output = Outcome>>>;

macro_rules! cases {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        [$((stringify!($case), (|bench| Box::pin($module::$case(bench))) as Case)),+]
    };
}

/// Fails the case if the condition does not hold.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(alloc::format!($($why)+));
        }
    };
}

/// Does what must end in a panic; returns what is wrong if it does not.
fn provoked(fault: &str) -> String {
    match Fault::ALL.into_iter().find(|known| known.name() == fault) {
        Some(known) => {
            log::info!("selftest: provoking {fault}");
            known.provoke();
            format!("{fault} went unnoticed")
        }
        None => format!("option \"provoke\": no fault is called {fault:?}"),
    }
}

async fn main(mut guest: Guest) -> Result<(), String> {
    let hold = guest.command_line.take("hold");
    let provoke = guest.command_line.take("provoke");
    guest
        .command_line
        .finish()
        .map_err(|error| format!("{error}"))?;
    let store = guest.xenstore;
    let domid = store
        .read("domid")
        .await
        .map_err(|error| format!("domid: {error}"))?;
    let domid = domid
        .parse()
        .map_err(|_| format!("domid {domid:?} is not a number"))?;
    if let Some(fault) = provoke.as_deref() {
        return Err(provoked(fault));
    }
    let bench = Bench { store, domid };
    match hold.as_deref() {
        None => {}
        Some("mapping") => return grants::hold_a_mapping(bench).await,
        Some(other) => return Err(format!("option \"hold\": {other:?} is not mapping")),
    }
    let cases = cases![
        // Before any other case has used memory.
        elastic::unused_memory_went_back_at_boot,
        elastic::a_closed_gate_keeps_memory_as_it_is,
        clock::never_goes_back,
        clock::timers_fire_in_order_and_not_early,
        clock::a_timeout_ends_a_wait,
        clock::the_wall_clock_is_of_this_century,
        clock::a_turn_is_short,
        events::a_loop_through_xen_wakes_the_waiter,
        events::a_notification_without_a_waiter_is_kept,
        events::a_closed_end_is_seen,
        events::the_channel_limit_is_an_error,
        grants::what_is_written_is_seen_through_the_mapping,
        grants::a_batch_of_pages_is_mapped_in_order,
        grants::a_wrong_reference_is_an_error_and_maps_nothing,
        grants::a_page_in_use_is_quarantined,
        grants::a_page_of_our_own_is_not_moved,
        grants::references_are_reused,
        grants::the_table_grows,
        regions::a_region_is_zero_adjacent_and_comes_back,
        regions::a_region_in_use_is_quarantined,
        regions::the_window_has_room_for_many_pages,
        regions::copies_keep_to_their_bytes,
        regions::copies_are_right_for_a_while,
        regions::copies_are_wide,
        regions::random_numbers_are_not_alike,
        memory::the_heap_keeps_what_it_holds,
        memory::exhaustion_is_an_error_and_passes,
        elastic::memory_comes_on_demand_up_to_the_maximum,
        elastic::populated_pages_can_be_granted,
        store::a_value_is_read_back,
        store::watches_fire,
        store::a_transaction_is_all_or_nothing,
        store::many_requests_in_flight,
        store::errors_are_told_apart,
        store::permissions_are_read_back,
        store::the_uuid_is_that_of_the_toolstack,
        elastic::unused_memory_goes_back_and_comes_again,
        // After everything else.
        health::no_bug_was_reported,
    ];
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases {
        if kernel::kind() == Kind::Pvh && MAP_OWN_PAGES.contains(&name) {
            log::info!("selftest: skipped {name}: a PVH guest cannot map its own pages");
            continue;
        }
        match time::timeout(LIMIT, case(bench.clone())).await {
            Ok(Ok(())) => {
                passed += 1;
                log::info!("selftest: passed {name}");
            }
            Ok(Err(why)) => {
                failed += 1;
                log::error!("selftest: failed {name}: {why}");
            }
            Err(_) => {
                failed += 1;
                log::error!("selftest: failed {name}: no end after {LIMIT:?}");
            }
        }
    }
    log::info!("selftest: done, {passed} passed, {failed} failed");
    Ok(())
}
