//! Scenarios of the larger world.

use super::{ORDERS, Pinned, SILENT, lagging};
use crate::place::{v4, v6};
use crate::plan::Plan;
use crate::puppet::Phrase;
use crate::scenario::draft::{
    Draft, MICROSECOND, MILLISECOND, SECOND, Step, cancel, dial, early_notice, forge, frame, lie,
    pause, peer_dies, race, readdress, suspend, transfer, transfer_at, wait,
};
use crate::scenario::{Claim, Forged, Forgery, Kind, Scenario};
use crate::world::forger;

/// A HELLO from nobody, with an invented identity.
const HELLO: Forgery = Forgery {
    message: Forged::Hello,
    victim: 1,
    slot: 0,
    is_broadcast: false,
    from: Claim::Nobody,
    identity: None,
    knows_nonce: false,
    count: 1,
    gap: MICROSECOND,
};

/// Connections between every two of `count` guests that last for some seconds.
fn all_pairs(count: usize) -> impl Iterator<Item = Step> {
    let plan = Plan::stream(200_000)
        .in_pieces(2000)
        .slow_to_write(20 * MILLISECOND);
    let pairs = (0..count).flat_map(move |from| (from + 1..count).map(move |to| (from, to)));
    pairs.map(move |(from, to)| transfer(from, to, plan, plan))
}

/// Guests with `kind`, and 1 MiB each.
fn small(count: usize, kind: Kind) -> Draft {
    Draft::guests(count)
        .kind(kind)
        .each(|spec| spec.memory = 1 << 20)
}

fn evacuated(order: u64, dead: Option<usize>) -> Scenario {
    let round = |host: usize| {
        let gap = [0, 3, 400, 30_000][(order % 4) as usize] * MICROSECOND;
        let notices = (0..6).flat_map(move |guest| [early_notice(guest), wait(gap)]);
        let suspends = (0..6).flat_map(move |guest| {
            let downtime = (1 + (7 * guest as u64 + order) % 60) * MILLISECOND;
            [suspend(guest, host, downtime), wait(gap)]
        });
        notices
            .chain([wait((1 + order) * MILLISECOND)])
            .chain(suspends)
    };
    let dies = dead.map(peer_dies);
    let steps = all_pairs(6)
        .chain([wait(5 * MILLISECOND)])
        .chain(round(1))
        .chain([wait((order % 7) * 10 * MILLISECOND)])
        .chain(dies)
        .chain([wait(300 * MILLISECOND)])
        .chain(round(0));
    Draft::guests(6)
        .kind(Kind::Evacuation)
        .hosts(2)
        .script(steps)
}

/// Suspends one of two guests twelve times, and the other on another processor,
/// at another access each time.
fn raced(order: u64, is_suspended: bool) -> Scenario {
    let plan = Plan::stream(900_000)
        .in_pieces(2000)
        .slow_to_write(2 * MILLISECOND);
    let full = Plan::stream(400_000)
        .in_pieces(1000)
        .slow_to_read(2 * MILLISECOND);
    let rounds = (0..12).flat_map(move |round: u64| {
        let guest = (round % 2) as usize;
        let access = ((order + 5 * round) % 16) as u32;
        let notice = if order.is_multiple_of(3) {
            cancel(guest)
        } else {
            early_notice(guest)
        };
        [
            notice,
            wait((1 + order % 5) * MILLISECOND),
            race([guest, 1 - guest], access, is_suspended, 0, 2 * MILLISECOND),
            wait(30 * MILLISECOND),
        ]
    });
    let begin = [
        transfer(0, 1, plan, plan),
        transfer(1, 0, full, full),
        wait(2 * MILLISECOND),
    ];
    Draft::guests(2)
        .kind(Kind::Evacuation)
        .script(begin.into_iter().chain(rounds))
}

pub(super) static ALL: &[Pinned] = &[
    Pinned {
        name: "migrations_announced_without_end",
        about: "Each MIGRATING of one peer became a MEMBER for every other, and links that were behind with those ended as stuck, with the connections on them.",
        make: |order| {
            small(3, Kind::Liar).script([
                transfer(0, 1, lagging(60_000), lagging(60_000)),
                transfer(2, 0, lagging(60_000), lagging(60_000)),
                wait(2 * MILLISECOND),
                lie(
                    0,
                    &[
                        Phrase::Greet,
                        Phrase::Sleep(MILLISECOND),
                        Phrase::Toggle(1360),
                        Phrase::Close,
                    ],
                    1,
                ),
                wait((500 + 20 * order) * MICROSECOND),
                pause(0, 3 * MILLISECOND),
            ])
        },
        meets: |report| report.upgrades > 0,
    },
    Pinned {
        name: "a_paused_guest_is_behind_with_membership",
        about: "A guest that stood still for less than 5 s was told of so many migrations of a third one that its links ended as stuck.",
        make: |order| {
            small(3, Kind::Liar).script([
                transfer(0, 1, lagging(60_000), lagging(60_000)),
                wait(2 * MILLISECOND),
                pause(1, 3 * SECOND),
                wait(order * MILLISECOND),
                lie(0, &[Phrase::Greet, Phrase::Toggle(6000)], 1),
            ])
        },
        meets: |report| report.upgrades > 0,
    },
    Pinned {
        name: "first_contact_by_the_other_family",
        about: "A link over IPv6 replaced the one over IPv4 between the same two guests, and reset the connections on it.",
        make: |order| {
            Draft::guests(2)
                .kind(Kind::Addresses)
                .addresses(|guest| vec![v4(0, guest + 1), v6(0, guest + 1)])
                .script([
                    transfer_at([0, 0], [1, 0], lagging(60_000), lagging(60_000)),
                    wait(2 * MILLISECOND + order * 50 * MICROSECOND),
                    transfer_at(
                        [(order % 2) as usize, 0],
                        [1 - (order % 2) as usize, 1],
                        lagging(9000),
                        lagging(9000),
                    ),
                ])
        },
        meets: |report| report.upgrades >= 4 * ORDERS,
    },
    Pinned {
        name: "first_contacts_at_the_same_time",
        about: "Two guests that met by two pairs of addresses at once made two links, and the second reset what was on the first.",
        make: |order| {
            let (from, to) = ((order % 2) as usize, 1 - (order % 2) as usize);
            Draft::guests(2)
                .kind(Kind::Addresses)
                .addresses(|guest| vec![v4(0, guest + 1), v6(0, guest + 1)])
                .script([
                    transfer_at([0, 0], [1, 0], lagging(60_000), lagging(60_000)),
                    wait((100 + 12 * order) * MICROSECOND),
                    transfer_at([from, 1], [to, 1], lagging(60_000), lagging(60_000)),
                ])
        },
        meets: |report| report.upgrades >= 4 * ORDERS,
    },
    Pinned {
        name: "first_contact_by_an_alias",
        about: "A link with another address of the same guest replaced the one that stood.",
        make: |order| {
            Draft::guests(2)
                .kind(Kind::Addresses)
                .addresses(|guest| vec![v4(0, guest + 1), v4(0, 20 + guest), v4(1, guest + 1)])
                .script([
                    transfer_at([0, 0], [1, 0], lagging(60_000), lagging(60_000)),
                    wait(2 * MILLISECOND + order * 50 * MICROSECOND),
                    transfer_at([0, 1], [1, 1], lagging(9000), lagging(9000)),
                    transfer_at([1, 2], [0, 0], lagging(9000), lagging(9000)),
                    wait(MILLISECOND),
                    transfer_at([0, 2], [1, 2], lagging(9000), lagging(9000)),
                ])
        },
        meets: |report| report.upgrades > 2 * ORDERS,
    },
    Pinned {
        name: "a_router_between_two_guests",
        about: "Segments that took the link carried the router's Ethernet address, the peer dropped them, and no connection could be opened any more.",
        make: |order| {
            let draft = Draft::guests(2).kind(Kind::Addresses);
            let draft = match order % 3 {
                0 => draft.proxy(),
                1 => draft.addresses(|guest| vec![v4(guest, guest + 1)]),
                _ => draft.addresses(|guest| vec![v6(guest, guest + 1)]),
            };
            draft.script([
                transfer(0, 1, Plan::stream(3000), Plan::stream(3000)),
                wait(100 * MILLISECOND),
                transfer(1, 0, Plan::stream(3000), Plan::stream(3000)),
            ])
        },
        meets: |report| report.connections == 3 * ORDERS,
    },
    Pinned {
        name: "datagrams_through_a_router",
        about: "Datagrams that took the link carried the router's Ethernet address, and all of them vanished.",
        make: |order| {
            Draft::guests(2)
                .kind(Kind::Addresses)
                .addresses(|guest| vec![v4(guest, guest + 1)])
                .script([
                    transfer(0, 1, lagging(9000), lagging(9000)),
                    wait(11 * SECOND + order * MILLISECOND),
                    frame(0, 1, 500),
                    frame(1, 0, 1500),
                ])
        },
        meets: |report| report.links >= 2 * ORDERS,
    },
    Pinned {
        name: "an_address_that_another_guest_takes_over",
        about: "The link stayed with the guest that had the address before: connections to its new owner vanished.",
        make: |order| {
            Draft::guests(3).kind(Kind::Addresses).script([
                transfer(0, 1, Plan::stream(3000), Plan::stream(3000)),
                wait(100 * MILLISECOND),
                readdress(1, 0, Some(v4(0, 40))),
                readdress(2, 1, Some(v4(0, 2))),
                wait(if order % 2 == 0 { SECOND } else { 600 * SECOND }),
                transfer_at([0, 0], [2, 1], Plan::stream(3000), Plan::stream(3000)),
            ])
        },
        meets: |report| report.connections == 5 * ORDERS,
    },
    Pinned {
        name: "an_address_that_changes",
        about: "The guest's connections over another address of its own were lost with those over the one that changed.",
        make: |order| {
            Draft::guests(2)
                .kind(Kind::Addresses)
                .addresses(|guest| vec![v4(0, guest + 1), v4(1, guest + 1)])
                .script([
                    transfer_at([0, 0], [1, 0], Plan::stream(3000), Plan::stream(3000)),
                    wait(10 * MILLISECOND),
                    transfer_at([0, 1], [1, 1], lagging(60_000), lagging(60_000)),
                    wait((2 + order) * MILLISECOND),
                    readdress(1, 0, Some(v4(0, 40))),
                    wait(order * MILLISECOND),
                    transfer_at([1, 0], [0, 0], lagging(9000), lagging(9000)),
                    transfer_at([0, 0], [1, 0], lagging(9000), lagging(9000)),
                ])
        },
        meets: |report| report.upgrades > 2 * ORDERS,
    },
    Pinned {
        name: "suspended_again_and_again_at_fresh_addresses",
        about: "What was kept for a peer that had been suspended grew without bound, by one entry for each address under which it came back.",
        make: |order| {
            use Phrase::{Connect, Freeze, Greet, Move, Reset, Sleep, Write};
            small(2, Kind::Liar).script([
                transfer(0, 1, lagging(9000), lagging(9000)),
                wait(order * MILLISECOND),
                lie(
                    (order % 2) as usize,
                    &[
                        Move,
                        Greet,
                        Connect,
                        Write,
                        Sleep(MILLISECOND),
                        Freeze,
                        Sleep(MILLISECOND),
                        Reset,
                    ],
                    200,
                ),
            ])
        },
        meets: |report| report.connections > 100 * ORDERS,
    },
    Pinned {
        name: "rings_given_back_and_still_mapped",
        about: "One domain took all memory for links for good: it asked for rings, gave them back and did not unmap them.",
        make: |order| {
            let ask = Phrase::Ask {
                count: 8,
                log2: (order % 3) as u8,
            };
            let mut program = vec![Phrase::Greet];
            program.extend([ask, Phrase::Retire].repeat(40));
            small(3, Kind::Liar).script([
                transfer(0, 1, lagging(60_000), lagging(60_000)),
                wait(2 * MILLISECOND),
                lie(0, &program, 1),
                wait(2 * SECOND),
                transfer(2, 0, lagging(9000), lagging(9000)),
            ])
        },
        meets: |report| report.upgrades > 2 * ORDERS,
    },
    Pinned {
        name: "one_domain_with_many_links",
        about: "The budget of a link was that of an address: a domain had as many as it had addresses.",
        make: |order| {
            let ask = Phrase::Ask { count: 3, log2: 3 };
            let program = [Phrase::Greet, ask, Phrase::Sleep(20 * SECOND)];
            let voices = (0..12).flat_map(|_| [lie(0, &program, 1), wait(MILLISECOND)]);
            let begin = [
                transfer(0, 1, lagging(9000), lagging(9000)),
                wait((2 + order) * MILLISECOND),
            ];
            small(2, Kind::Liar).script(begin.into_iter().chain(voices))
        },
        meets: |report| report.upgrades > ORDERS,
    },
    Pinned {
        name: "offers_that_are_opened_at_once",
        about: "Offers that waited for their proof were not counted as links: opened at once, they were more than the guest may have.",
        make: |order| {
            let program = [
                Phrase::GreetAndHold,
                Phrase::Sleep((30 + order) * MILLISECOND),
                Phrase::Open,
                Phrase::Sleep(2 * SECOND),
            ];
            let voices = std::iter::repeat_with(|| lie(0, &program, 1)).take(12);
            let begin = [
                transfer(0, 1, lagging(9000), lagging(9000)),
                wait(2 * MILLISECOND),
            ];
            small(2, Kind::Liar)
                .each(|spec| spec.max_peers = 4)
                .script(begin.into_iter().chain(voices))
        },
        meets: |report| report.upgrades > ORDERS,
    },
    Pinned {
        name: "a_parted_guest_is_asked_for_its_offsets",
        about: "A guest that had left its links before a long pre-copy did not answer RESUME, and its peer reset the connection after 60 s.",
        make: |order| {
            let plan = lagging(200_000);
            Draft::guests(2)
                .kind(Kind::Long)
                .hosts(2)
                .guest(1, super::original)
                .script([
                    transfer(0, 1, plan, plan),
                    wait(2 * MILLISECOND),
                    suspend(0, 1, (100 + order) * MILLISECOND),
                    wait(order * 4 * MILLISECOND),
                    early_notice(1),
                    wait(100 * SECOND),
                    cancel(1),
                ])
        },
        meets: |report| report.fallbacks > 0,
    },
    Pinned {
        name: "a_guest_stands_still_for_ten_minutes",
        about: "Pages of a link with a guest that stood still for longer than every time-out stayed in quarantine for ever.",
        make: |order| {
            Draft::guests(3)
                .kind(Kind::Long)
                .each(super::original)
                .script([
                    transfer(0, 1, lagging(20_000), lagging(20_000)),
                    transfer(1, 2, lagging(20_000), lagging(20_000)),
                    transfer(0, 2, lagging(20_000), lagging(20_000)),
                    wait((1 + order) * MILLISECOND),
                    pause(1, [6, 61, 601][(order % 3) as usize] * SECOND),
                    wait(order * MILLISECOND),
                    early_notice(0),
                    early_notice(2),
                    wait(SECOND),
                    cancel(0),
                    suspend(2, 0, 100 * MILLISECOND),
                    wait(SECOND),
                    transfer(0, 2, lagging(20_000), lagging(20_000)),
                ])
        },
        meets: |report| report.upgrades > ORDERS,
    },
    Pinned {
        name: "forged_hellos_and_an_honest_one",
        about: "Eight forged HELLOs held all places for offers, and an honest guest that was refused took its peer for remote.",
        make: |order| {
            small(2, Kind::Forged).script([
                forge(Forgery {
                    count: 12,
                    from: if order % 2 == 0 {
                        Claim::Nobody
                    } else {
                        Claim::Own(3)
                    },
                    ..HELLO
                }),
                wait(200 * MICROSECOND),
                transfer(0, 1, lagging(9000), lagging(9000)),
            ])
        },
        meets: |report| report.upgrades >= 2 * ORDERS,
    },
    Pinned {
        name: "a_forged_hello_of_a_guest_that_is_linked",
        about: "A HELLO in the name of a guest withdrew what that guest was being offered.",
        make: |order| {
            small(2, Kind::Forged).script([
                transfer(0, 1, lagging(9000), lagging(9000)),
                wait((100 + 5 * order) * MICROSECOND),
                forge(Forgery {
                    from: Claim::Guest(0),
                    identity: Some(0),
                    count: 3,
                    ..HELLO
                }),
                wait(10 * MILLISECOND),
                transfer(1, 0, lagging(9000), lagging(9000)),
            ])
        },
        meets: |report| report.upgrades > 0,
    },
    Pinned {
        name: "a_hello_to_all",
        about: "A HELLO to the broadcast address made every guest grant a region and answer.",
        make: |order| {
            small(3, Kind::Forged).script([
                transfer(0, 1, SILENT, lagging(3000)),
                wait(order * MILLISECOND),
                forge(Forgery {
                    is_broadcast: true,
                    from: Claim::Own(2),
                    ..HELLO
                }),
            ])
        },
        meets: |report| report.upgrades > 0,
    },
    Pinned {
        name: "a_host_elsewhere_answers_a_hello",
        about: "A host that a guest greeted offered a link with domids and references of this host.",
        make: |order| {
            let welcome = Forgery {
                message: Forged::Welcome,
                victim: 0,
                from: Claim::Own(1),
                identity: Some(1),
                knows_nonce: true,
                count: 40,
                ..HELLO
            };
            small(2, Kind::Forged).script([
                transfer(0, 1, lagging(9000), lagging(9000)),
                wait((3 + order) * MILLISECOND),
                dial(0, forger::own(1, false)),
                wait(300 * MICROSECOND),
                forge(welcome),
                forge(Forgery {
                    message: Forged::Refused,
                    ..welcome
                }),
            ])
        },
        meets: |report| report.upgrades > 0,
    },
    Pinned {
        name: "two_are_suspended_on_two_processors",
        about: "Two guests that were suspended in the same instant had different ideas of what was written before.",
        make: |order| raced(order, true),
        meets: |report| report.fallbacks > 20 * ORDERS,
    },
    Pinned {
        name: "one_writes_while_the_other_is_suspended",
        about: "A guest wrote and read on one processor while its peer was suspended on another.",
        make: |order| raced(order, false),
        meets: |report| report.fallbacks > 20 * ORDERS,
    },
    Pinned {
        name: "six_guests_to_the_other_host_and_back",
        about: "All guests of a machine were moved at the same time, each linked with all others.",
        make: |order| evacuated(order, None),
        meets: |report| report.fallbacks > 20 * ORDERS && report.excused == 0,
    },
    Pinned {
        name: "six_guests_move_and_one_is_destroyed",
        about: "One of them was destroyed on the way.",
        make: |order| evacuated(order, Some((order % 6) as usize)),
        meets: |report| report.fallbacks > 20 * ORDERS,
    },
];
