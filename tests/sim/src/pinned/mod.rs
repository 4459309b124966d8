//! Pinned scenarios: each stands for one failure, and runs before any seed.
//!
//! A seed means another scenario whenever the maker changes; these stay what
//! they are. Each runs in several orders: an order seeds the world (whose turn
//! is next, how long it takes), and in most scenarios it also moves an action a
//! little.
//!
//! Where they come from:
//! - failures of `vmc` and of this simulator's judge that were found and fixed:
//!   `suspend_cancelled_at_once` (2421bbe), `rings_that_were_never_attached`
//!   (5af1195), `residue_of_a_writer_that_waits` (d90c725),
//!   `goodbye_after_the_timer` (09ac9c9),
//!   `switch_before_its_connection_is_tracked` (09ac9c9, 656f7f5),
//!   `moved_while_the_link_is_made` (14f2d3a), `liar_whose_tcp_nobody_ended`
//!   (e0d07f5);
//! - failures that a mutation of `vmc` makes:
//!   `written_through_a_mapping_and_then_migrated`,
//!   `both_are_suspended_at_once`, `fin_at_the_suspend`,
//!   `restart_with_the_old_link_in_place`, `datagrams_lost_after_the_resume`;
//! - those of `wide.rs`: what an attack from outside found in a world with several
//!   addresses, routers, hosts that forge and a domain that lies;
//! - the others: the steps of a hand-over at which `docs/protocol.md` makes a
//!   decision.
//!
//! To pin what a seed has found, print its scenario (`sim --seed N --trace`),
//! write down the actions that matter, and check that it still fails.

mod wide;

use vmc::Mode;

use crate::network::Weather;
use crate::plan::{End, Plan};
use crate::scenario::draft::{
    Draft, MICROSECOND, MILLISECOND, SECOND, allow, at_turn, cancel, early_notice, frame, mischief,
    pause, peer_dies, restart, suspend, suspend_and_cancel, transfer, transfer_over, wait, weather,
};
use crate::scenario::{Kind, Mischief, Scenario, Spec};
use crate::tcp::Path;
use crate::world::Report;
use crate::xen::Limits;
use crate::{Sum, play};

/// Orders in which each scenario runs.
pub const ORDERS: u64 = 24;

/// A scenario with a name.
pub struct Pinned {
    /// Its name, for the command line.
    pub name: &'static str,
    /// The failure that it stands for, in one sentence.
    pub about: &'static str,
    /// Makes it, for an order below [`ORDERS`].
    pub make: fn(u64) -> Scenario,
    /// Whether all its runs together met what it is about.
    pub meets: fn(&Report) -> bool,
}

impl Pinned {
    /// Returns the one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        all().find(|pinned| pinned.name == name)
    }

    /// Runs one order.
    ///
    /// # Errors
    /// The first violation, with the command that repeats the run.
    pub fn run(&self, order: u64, is_traced: bool) -> Result<Report, String> {
        let mut scenario = (self.make)(order);
        scenario.seed = order;
        if is_traced {
            println!("{scenario:#?}");
        }
        play(scenario, is_traced)
            .map_err(|what| format!("{}: {what}\n{}", self.name, self.repeat(order)))
    }

    /// Runs all orders.
    ///
    /// # Errors
    /// The first violation; or that the runs did not meet what they are about.
    pub fn run_all(&self) -> Result<Sum, String> {
        let mut sum = Sum::default();
        for order in 0..ORDERS {
            sum.add(&self.run(order, false)?);
        }
        if (self.meets)(sum.total()) {
            Ok(sum)
        } else {
            let report = sum.total();
            Err(format!(
                "{}: it did not meet what it is about: {report:?}\n  repeat it: cargo run --release -p sim -- --pinned {}",
                self.name, self.name
            ))
        }
    }

    /// Returns the command that repeats the run of an order.
    #[must_use]
    pub fn repeat(&self, order: u64) -> String {
        format!(
            "  repeat it: cargo run --release -p sim -- --pinned {} --seed {order} --trace",
            self.name
        )
    }
}

/// The plan of an end that writes nothing.
const SILENT: Plan = Plan::stream(0);

/// Writes at once, and reads about 5 bytes per microsecond, so that rings fill
/// up.
const fn lagging(total: u64) -> Plan {
    Plan::stream(total)
        .in_pieces(1000)
        .slow_to_read(200 * MICROSECOND)
}

fn original(spec: &mut Spec) {
    spec.mode = Mode::Original;
}

/// TCP with buffers so small that residue stays in flight for a long time.
const NARROW: Path = Path {
    delay: 300 * MICROSECOND,
    loss: 0,
    buffer: 64,
};

const NO_GRANTS: Limits = Limits {
    grants: 0,
    ..Limits::NONE
};

/// Returns all of them, in the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Pinned> {
    FIRST.iter().chain(wide::ALL)
}

static FIRST: &[Pinned] = &[
    Pinned {
        name: "suspend_cancelled_at_once",
        about: "A LEAVE that was called off before the peer had run cost the connections whose rings it had not confirmed.",
        make: |order| {
            Draft::guests(2).each(original).script([
                transfer(0, 1, lagging(60_000), lagging(40_000)),
                at_turn(8 + 3 * order, early_notice(0)),
                at_turn(8 + 3 * order, cancel(0)),
                at_turn(12 + 3 * order, suspend_and_cancel(1, 0)),
            ])
        },
        meets: |report| report.fallbacks > 0,
    },
    Pinned {
        name: "cancel_during_a_leave",
        about: "A guest that goes on while its links are still being left greeted its peers before those links had ended.",
        make: |order| {
            Draft::guests(3).each(original).script([
                transfer(0, 1, lagging(60_000), lagging(9000)),
                transfer(2, 0, lagging(60_000), lagging(9000)),
                wait(2 * MILLISECOND),
                early_notice(0),
                wait((1 + order) * 7 * MICROSECOND),
                cancel(0),
                wait(3 * MILLISECOND),
                transfer(0, 2, lagging(5000), lagging(5000)),
            ])
        },
        meets: |report| report.links > 4 * ORDERS,
    },
    Pinned {
        name: "rings_that_were_never_attached",
        about: "Bytes in rings whose SWITCH the peer had never read were lost when the link ended.",
        make: |order| {
            Draft::guests(2).each(original).script([
                transfer(0, 1, Plan::stream(30_000), SILENT),
                wait(2 * MILLISECOND),
                transfer(0, 1, Plan::stream(3000), Plan::stream(3000)),
                wait(2 * order * MICROSECOND),
                pause(1, (20 + 3 * order) * MILLISECOND),
                wait(MILLISECOND),
                early_notice(0),
                wait(200 * MILLISECOND),
                transfer(1, 0, Plan::stream(3000), Plan::stream(3000)),
            ])
        },
        meets: |report| report.fallbacks > 0,
    },
    Pinned {
        name: "residue_of_a_writer_that_waits",
        about: "An application that has written its request and waits for the answer calls nothing that moves the residue into TCP.",
        make: |order| {
            let client = Plan {
                answers: Some((1000, 9000)),
                ahead: 1,
                ..Plan::stream(27_000)
            };
            let server = Plan {
                answers: Some((9000, 1000)),
                ..Plan::stream(3000)
            };
            Draft::guests(2).each(original).script([
                transfer_over(NARROW, 0, 1, client, server.slow_to_read(2 * MILLISECOND)),
                at_turn(20 + order, early_notice(1)),
                wait(400 * MILLISECOND),
                cancel(1),
            ])
        },
        meets: |report| report.fallbacks > 0,
    },
    Pinned {
        name: "goodbye_after_the_timer",
        about: "The look for a dead peer came before the event of its goodbye, and the connections of a guest that had left in order were lost.",
        make: |order| {
            Draft::guests(2).each(original).hosts(2).script([
                transfer(
                    0,
                    1,
                    Plan::stream(20_000).slow_to_write(MILLISECOND),
                    Plan::stream(20_000),
                ),
                transfer(1, 0, Plan::stream(20_000), Plan::stream(100)),
                wait(8 * MILLISECOND),
                suspend(0, 1, 30 * MILLISECOND),
                wait(order * 4 * MICROSECOND),
                pause(1, 99 * MILLISECOND),
            ])
        },
        meets: |report| report.fallbacks > 0,
    },
    Pinned {
        name: "switch_before_its_connection_is_tracked",
        about: "A SWITCH for a connection that the other side had not yet put into the channel's care was refused for good.",
        make: |order| {
            let slow = Path {
                delay: (10 + 30 * order) * MICROSECOND,
                ..Path::NEAR
            };
            Draft::guests(2).v6().script([
                transfer_over(slow, 0, 1, lagging(4000), lagging(4000)),
                transfer(1, 0, lagging(4000), lagging(4000)),
                wait(500 * MICROSECOND),
                transfer_over(slow, 1, 0, lagging(4000), lagging(4000)),
                transfer(0, 1, lagging(4000), lagging(4000)),
            ])
        },
        meets: |report| report.upgrades > 4 * ORDERS && report.fallbacks == 0,
    },
    Pinned {
        name: "moved_while_the_link_is_made",
        about: "The judge looked at a new link when its guest next ran, and by then the peer was on another machine.",
        make: |order| {
            Draft::guests(3).hosts(2).script([
                transfer(0, 1, lagging(9000), lagging(9000)),
                transfer(2, 1, lagging(9000), lagging(9000)),
                at_turn(order, suspend(1, 1, MILLISECOND)),
                at_turn(order + 2, suspend(0, 1, MILLISECOND)),
                wait(50 * MILLISECOND),
                transfer(0, 1, lagging(9000), lagging(9000)),
            ])
        },
        meets: |report| report.links > ORDERS && report.upgrades > 0,
    },
    Pinned {
        name: "notice_while_the_link_is_made",
        about: "A link that went up after the early notice did not hear of it, and its rings stayed in the pages to be sent.",
        make: |order| {
            Draft::guests(2).script([
                transfer(0, 1, lagging(50_000), lagging(50_000)),
                at_turn(order, early_notice(0)),
                at_turn(120 + 8 * order, suspend(0, 0, 3 * MILLISECOND)),
            ])
        },
        meets: |report| report.upgrades > 2 * ORDERS && report.fallbacks > 0,
    },
    Pinned {
        name: "two_suspends_in_a_row",
        about: "The second suspend came while the residue of the first was still on its way into TCP.",
        make: |order| {
            Draft::guests(2).hosts(2).script([
                transfer_over(
                    NARROW,
                    0,
                    1,
                    Plan::stream(6000).slow_to_read(MILLISECOND),
                    Plan::stream(6000).slow_to_read(MILLISECOND),
                ),
                at_turn(14 + order, suspend(0, 1, MILLISECOND)),
                wait(40 * MILLISECOND),
                suspend(0, 0, MILLISECOND),
                wait((2 + order) * MILLISECOND),
                suspend(0, 0, MILLISECOND),
                wait(20 * MILLISECOND),
                suspend(1, 0, MILLISECOND),
            ])
        },
        meets: |report| report.fallbacks > ORDERS,
    },
    Pinned {
        name: "both_are_suspended_at_once",
        about: "Each side waited for the other's offsets, and neither was there to name them.",
        make: |order| {
            Draft::guests(2).script([
                transfer(0, 1, lagging(80_000), lagging(80_000)),
                wait(2 * MILLISECOND),
                early_notice(0),
                wait(order * 20 * MICROSECOND),
                early_notice(1),
                wait(order * 5 * MICROSECOND),
                suspend(0, 0, 2 * MILLISECOND),
                suspend(1, 0, (1 + order) * MILLISECOND),
            ])
        },
        meets: |report| report.fallbacks > 0,
    },
    Pinned {
        name: "frozen_peer_is_not_noticed_at_once",
        about: "A peer that was told of the migration gets no event at the suspend, and wrote on into a ring that nobody reads.",
        make: |order| {
            Draft::guests(2).script([
                transfer(
                    1,
                    0,
                    Plan::stream(40_000)
                        .in_pieces(700)
                        .slow_to_write(300 * MICROSECOND),
                    Plan::stream(40_000)
                        .in_pieces(700)
                        .slow_to_write(300 * MICROSECOND),
                ),
                wait(2 * MILLISECOND),
                early_notice(0),
                wait((5 + order / 2) * MILLISECOND),
                suspend(0, 0, 60 * MILLISECOND),
                wait(order * MILLISECOND),
                transfer(1, 0, Plan::stream(2000), Plan::stream(2000)),
            ])
        },
        meets: |report| report.rehomed > 0 && report.fallbacks > 0,
    },
    Pinned {
        name: "written_through_a_mapping_and_then_migrated",
        about: "What a peer writes through its mapping is not in Xen's log of dirty pages: sealed pages that nobody touched arrived with old bytes.",
        make: |order| {
            Draft::guests(2).hosts(2).script([
                transfer(
                    1,
                    0,
                    Plan::stream(60_000),
                    SILENT.in_pieces(300).slow_to_read(400 * MICROSECOND),
                ),
                wait(3 * MILLISECOND),
                // What guest 1 writes lies in pages of guest 0 from now on.
                early_notice(1),
                wait((3 + order) * MILLISECOND),
                suspend(0, 1, 5 * MILLISECOND),
                wait(100 * MILLISECOND),
                suspend(1, 1, 5 * MILLISECOND),
            ])
        },
        meets: |report| report.rehomed > 0 && report.fallbacks > 0,
    },
    Pinned {
        name: "peer_dies_between_notice_and_freeze",
        about: "Rings in pages of a peer that was no more were still asked for, and mapped at the suspend.",
        make: |order| {
            Draft::guests(3).script([
                transfer(0, 1, lagging(60_000), lagging(60_000)),
                transfer(2, 0, lagging(60_000), lagging(60_000)),
                wait(2 * MILLISECOND),
                early_notice(0),
                wait(order * 15 * MICROSECOND),
                peer_dies(1),
                wait(order * 10 * MICROSECOND),
                suspend(0, 0, 5 * MILLISECOND),
                wait(30 * MILLISECOND),
                restart(1),
                wait(MILLISECOND),
                transfer(1, 0, lagging(5000), lagging(5000)),
            ])
        },
        meets: |report| report.rehomed > 0 && report.fallbacks > 0,
    },
    Pinned {
        name: "peer_dies_while_the_guest_is_away",
        about: "A guest that came back asked a dead peer for offsets for ever, and the peer's successor took the address.",
        make: |order| {
            Draft::guests(2).script([
                transfer(0, 1, lagging(60_000), lagging(60_000)),
                wait(2 * MILLISECOND),
                early_notice(0),
                wait(3 * MILLISECOND),
                suspend(0, 0, 40 * MILLISECOND),
                wait((1 + order) * MILLISECOND),
                peer_dies(1),
                wait(MILLISECOND),
                restart(1),
                wait(30 * MILLISECOND),
                transfer(1, 0, lagging(5000), lagging(5000)),
            ])
        },
        meets: |report| report.links > ORDERS,
    },
    Pinned {
        name: "grants_refused_in_mid_rehoming",
        about: "A HOME without references left the direction between its old ring and one that never came.",
        make: |order| {
            let limits = Limits {
                grants: 9 + 2 * order as usize,
                ..Limits::NONE
            };
            Draft::guests(2).script([
                transfer(0, 1, lagging(70_000), lagging(70_000)),
                transfer(1, 0, lagging(70_000), lagging(70_000)),
                wait(2 * MILLISECOND),
                allow(1, limits),
                early_notice(0),
                wait(4 * MILLISECOND),
                cancel(0),
                allow(
                    1,
                    if order % 2 == 0 {
                        Limits::NONE
                    } else {
                        NO_GRANTS
                    },
                ),
                wait(MILLISECOND),
                early_notice(0),
                wait(4 * MILLISECOND),
                suspend(0, 0, 3 * MILLISECOND),
            ])
        },
        meets: |report| report.rehomed > 0 && report.fallbacks > 0,
    },
    Pinned {
        name: "mappings_refused_in_mid_rehoming",
        about: "A ring that was granted and could not be mapped was retired by a message that its owner took for a lie.",
        make: |order| {
            let limits = Limits {
                maps: 14 + order as usize,
                ..Limits::NONE
            };
            Draft::guests(2).script([
                transfer(0, 1, lagging(90_000), lagging(90_000)),
                wait(2 * MILLISECOND),
                allow(0, limits),
                early_notice(0),
                transfer(1, 0, lagging(9000), lagging(90_000)),
                wait(5 * MILLISECOND),
                suspend(0, 0, 3 * MILLISECOND),
                allow(0, Limits::NONE),
            ])
        },
        meets: |report| report.fallbacks > 0 && report.lies == 0,
    },
    Pinned {
        name: "cancel_in_mid_rehoming",
        about: "A notice that was withdrawn met ASKs and HOMEs on their way.",
        make: |order| {
            Draft::guests(2).script([
                transfer(0, 1, lagging(150_000), lagging(150_000)),
                wait(2 * MILLISECOND),
                early_notice(0),
                wait(order * 10 * MICROSECOND),
                cancel(0),
                wait(2 * MILLISECOND),
                early_notice(1),
                wait(order * 15 * MICROSECOND),
                early_notice(0),
                wait(order * 20 * MICROSECOND),
                cancel(1),
                wait(MILLISECOND),
                cancel(0),
            ])
        },
        meets: |report| report.rehomed > ORDERS && report.excused == 0,
    },
    Pinned {
        name: "datagrams_lost_after_the_resume",
        about: "The first RESUMEs were lost, and the time in which they are repeated ran from the suspend instead of the resume.",
        make: |order| {
            Draft::guests(2).hosts(2).script([
                transfer(0, 1, lagging(50_000), lagging(50_000)),
                wait(2 * MILLISECOND),
                weather(Weather::DOWN),
                suspend((order % 2) as usize, 1, 300 * MILLISECOND),
                wait(SECOND + order * 130 * MILLISECOND),
                weather(Weather::FAIR),
            ])
        },
        meets: |report| report.fallbacks > 0 && report.excused == 0,
    },
    Pinned {
        name: "connections_for_two_datagrams",
        about: "A RESUME names 24 connections at most; those beyond were never settled.",
        make: |order| {
            let one = || {
                transfer(
                    0,
                    1,
                    Plan::stream(3000)
                        .in_pieces(200)
                        .slow_to_write(400 * MICROSECOND),
                    Plan::stream(3000)
                        .in_pieces(200)
                        .slow_to_write(400 * MICROSECOND),
                )
            };
            let begin = std::iter::repeat_with(one).take(40);
            let end = [
                wait((4 + order) * MILLISECOND),
                suspend((order % 2) as usize, 0, 2 * MILLISECOND),
            ];
            Draft::guests(2).script(begin.chain(end))
        },
        meets: |report| report.fallbacks > 24 * ORDERS,
    },
    Pinned {
        name: "idle_connections_lean_back",
        about: "A connection without traffic went back to TCP during the notice while its peer moved it the other way.",
        make: |order| {
            let seldom = Plan::stream(6000)
                .in_pieces(1000)
                .slow_to_write(250 * MILLISECOND);
            Draft::guests(2).script([
                transfer(0, 1, seldom, seldom),
                transfer(1, 0, seldom, Plan::stream(500)),
                wait(3 * MILLISECOND),
                early_notice(0),
                wait((400 + 17 * order) * MILLISECOND),
                suspend(0, 0, 3 * MILLISECOND),
            ])
        },
        meets: |report| report.upgrades > 4 * ORDERS && report.fallbacks > ORDERS,
    },
    Pinned {
        name: "larger_ring_in_mid_leave",
        about: "The bytes of the second of two rings came before those of the first when both fell back.",
        make: |order| {
            Draft::guests(2).each(original).script([
                transfer(
                    0,
                    1,
                    Plan::stream(120_000).in_pieces(20_000),
                    SILENT.in_pieces(900).slow_to_read(20 * MICROSECOND),
                ),
                wait((20 + 40 * order) * 10 * MICROSECOND),
                early_notice((order % 2) as usize),
                wait(100 * MILLISECOND),
                cancel((order % 2) as usize),
            ])
        },
        meets: |report| report.growths > 0 && report.fallbacks > 0,
    },
    Pinned {
        name: "larger_ring_at_the_suspend",
        about: "A suspend found a direction between its ring and a larger one, and its bytes in both.",
        make: |order| {
            Draft::guests(2).script([
                transfer(
                    0,
                    1,
                    Plan::stream(120_000).in_pieces(20_000),
                    SILENT.in_pieces(900).slow_to_read(20 * MICROSECOND),
                ),
                wait((20 + 40 * order) * 10 * MICROSECOND),
                suspend((order % 2) as usize, 0, MILLISECOND),
            ])
        },
        meets: |report| report.growths > 0 && report.fallbacks > 0,
    },
    Pinned {
        name: "fin_at_the_suspend",
        about: "A FIN that lay behind unread bytes in a ring closed TCP before the bytes had followed.",
        make: |order| {
            Draft::guests(2).hosts(2).script([
                transfer_over(
                    NARROW,
                    0,
                    1,
                    Plan::stream(9000),
                    Plan::stream(100)
                        .in_pieces(500)
                        .slow_to_read(100 * MICROSECOND),
                ),
                transfer(
                    1,
                    0,
                    Plan::stream(5000),
                    Plan::stream(5000).ending(End::Drop),
                ),
                at_turn(14 + order, early_notice((order % 2) as usize)),
                at_turn(
                    18 + 2 * order,
                    suspend((order % 2) as usize, 1, MILLISECOND),
                ),
            ])
        },
        meets: |report| report.fallbacks > 0 && report.excused == 0,
    },
    Pinned {
        name: "frames_at_the_suspend",
        about: "Frames that a peer had sent before the suspend stood in the message ring, and were left there.",
        make: |order| {
            Draft::guests(2).script([
                transfer(0, 1, lagging(30_000), lagging(30_000)),
                wait(2 * MILLISECOND),
                frame(0, 1, 1514),
                frame(1, 0, 60),
                frame(1, 0, 1000),
                wait(order * 2 * MICROSECOND),
                suspend((order % 2) as usize, 0, MILLISECOND),
                frame(0, 1, 1514),
                wait(50 * MILLISECOND),
                frame(1, 0, 1000),
            ])
        },
        meets: |report| report.fallbacks > 0,
    },
    Pinned {
        name: "liar_whose_tcp_nobody_ended",
        about: "The judge waited for ever for the TCP connection of a liar that had closed its own side.",
        make: |order| {
            Draft::guests(3).kind(Kind::Hostile).script([
                transfer(0, 2, Plan::stream(20_000), Plan::stream(20_000)),
                transfer(
                    2,
                    1,
                    Plan::stream(20_000),
                    Plan::stream(20_000).ending(End::Drop),
                ),
                transfer(0, 1, Plan::stream(50_000), Plan::stream(50_000)),
                wait(MILLISECOND),
                mischief(Mischief::Tamper(30 + 10 * order as u32)),
                wait(3 * MILLISECOND),
                mischief(Mischief::Scribble {
                    words: 20,
                    low: true,
                }),
                wait(MILLISECOND),
                mischief(Mischief::Datagrams {
                    count: 20,
                    spoofed: order % 2 == 0,
                }),
                mischief(Mischief::Flood(300)),
            ])
        },
        meets: |report| report.lies > 0,
    },
    Pinned {
        name: "restart_with_the_old_link_in_place",
        about: "The successor of a dead guest greeted a peer that had not yet found the old link dead.",
        make: |order| {
            Draft::guests(3).script([
                transfer(0, 1, lagging(60_000), lagging(60_000)),
                transfer(2, 0, lagging(60_000), lagging(60_000)),
                wait(3 * MILLISECOND),
                peer_dies(0),
                restart(0),
                wait(order * 30 * MICROSECOND),
                transfer(0, 1, lagging(6000), lagging(6000)),
                transfer(2, 0, lagging(6000), lagging(6000)),
            ])
        },
        meets: |report| report.links > 3 * ORDERS,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;

    #[test]
    fn no_pinned_scenario_fails_again() {
        let failed: Vec<_> = all().filter_map(|pinned| pinned.run_all().err()).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = all().map(|pinned| pinned.name).collect();
        assert_eq!(names.len(), all().count());
    }
}
