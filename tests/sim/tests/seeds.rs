//! Runs some thousand seeds, as many of each kind, and checks what they must
//! have met together.

use std::panic::{self, AssertUnwindSafe};

use sim::Sum;
use sim::scenario::{Kind, Scenario};
use sim::world::Report;

/// Seeds of each kind; the kinds take turns.
const SEEDS: u64 = 300;
/// Seeds of each kind with many guests, or with a liar, which take longer.
const LONG_SEEDS: u64 = 250;

fn run_all(kind: Kind) -> Report {
    run_some(kind, SEEDS)
}

fn run_some(kind: Kind, seeds: u64) -> Report {
    let kinds = Kind::ALL.len() as u64;
    let first = Kind::ALL.iter().position(|&other| other == kind);
    let first = first.expect("one of all") as u64;
    let mut sum = Sum::default();
    for number in 0..seeds {
        let seed = first + number * kinds;
        let run = panic::catch_unwind(AssertUnwindSafe(|| sim::run(seed, false)));
        match run.unwrap_or_else(|_| Err(format!("panicked\n{}", sim::repeat(seed)))) {
            Ok(report) => sum.add(&report),
            Err(what) => panic!("{what}"),
        }
    }
    println!("{kind:?}: {sum}");
    *sum.total()
}

#[test]
fn plain_traffic_moves_to_the_rings_and_no_wake_up_is_lost() {
    let report = run_all(Kind::Plain);
    assert_eq!(report.excused * 10 / report.connections, 0, "{report:?}");
    assert!(report.upgrades > report.connections, "{report:?}");
}

#[test]
fn migrations_in_original_mode_lose_no_byte() {
    let report = run_all(Kind::Migration);
    assert!(report.fallbacks > SEEDS, "{report:?}");
}

#[test]
fn migrations_that_keep_the_channel_lose_no_byte() {
    let report = run_all(Kind::Advance);
    assert!(report.fallbacks > SEEDS, "{report:?}");
}

#[test]
fn a_migration_may_begin_at_every_step() {
    let report = run_all(Kind::EveryStep);
    assert!(report.upgrades > SEEDS, "{report:?}");
}

#[test]
fn a_bad_network_delays_and_breaks_nothing() {
    let report = run_all(Kind::Lossy);
    assert!(report.upgrades > SEEDS, "{report:?}");
}

#[test]
fn guests_that_die_leave_nothing_behind() {
    run_all(Kind::Death);
}

#[test]
fn tcp_works_on_when_the_hypervisor_refuses() {
    let report = run_all(Kind::Refusal);
    assert!(report.upgrades > SEEDS, "{report:?}");
}

#[test]
fn guests_that_stop_for_a_while_are_tolerated() {
    run_all(Kind::Pause);
}

#[test]
fn everything_at_once() {
    run_all(Kind::Everything);
}

#[test]
fn a_hostile_guest_harms_only_itself() {
    let report = run_all(Kind::Hostile);
    assert!(report.lies > SEEDS / 4, "{report:?}");
}

#[test]
fn guests_with_several_addresses_always_reach_each_other() {
    let report = run_all(Kind::Addresses);
    assert!(report.upgrades > SEEDS, "{report:?}");
}

#[test]
fn forged_datagrams_cost_little_and_end_nothing() {
    let report = run_all(Kind::Forged);
    assert!(report.upgrades > SEEDS, "{report:?}");
}

#[test]
fn a_liar_that_keeps_to_the_grammar_harms_only_itself() {
    let report = run_some(Kind::Liar, LONG_SEEDS);
    // It has many links in each run.
    assert!(report.links > 10 * LONG_SEEDS, "{report:?}");
}

#[test]
fn time_outs_pass_and_everything_comes_back() {
    let report = run_all(Kind::Long);
    assert!(report.nanos > SEEDS * 600_000_000_000, "{report:?}");
}

#[test]
fn all_guests_of_a_machine_move_at_once() {
    let report = run_some(Kind::Evacuation, LONG_SEEDS);
    assert!(report.fallbacks > LONG_SEEDS, "{report:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..64 {
        assert_eq!(sim::run(seed, false), sim::run(seed, false), "seed {seed}");
    }
}

#[test]
fn all_kinds_are_run() {
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(Scenario::of_seed(index as u64).kind, kind);
    }
}
