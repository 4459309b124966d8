//! A guest is restored from an image that is older than what it did last (`xl save -c`, on it goes,
//! `xl destroy`, `xl restore`). Its bytes went by rings, so the sequence numbers of its TCP are as
//! good as they were, and only the channel can tell that its stream offsets are not.

use sim::xen::Clock;

use super::together::Before::{self, Does, Rest};
use super::together::follow;
use super::two::{Onward, Step, Two};

use Step::{Freeze, Notice, Read, Renew, Turn, Withdraw, Write};

/// Both write to both connections, read everything, and connection 1 goes back to TCP.
const BEFORE: [Before; 10] = [
    Does(0, Write(0, 3000)),
    Does(1, Write(0, 2000)),
    Does(0, Write(1, 400)),
    Does(1, Write(1, 500)),
    Rest,
    Does(1, Read(0, 3000)),
    Does(0, Read(0, 2000)),
    Does(1, Read(1, 400)),
    Does(0, Read(1, 500)),
    Rest,
];

/// Everything of both connections goes back to TCP, in order.
fn back_to_tcp(two: &mut Two) {
    follow(two, &[Does(0, Notice)]);
    two.pass(2);
    follow(two, &[Does(0, Withdraw), Rest]);
}

/// What the guests do between the image and the end of its original.
const SINCE: [&[Before]; 4] = [
    &[],
    // Guest 0 writes, guest 1 writes, both do; all of it is read.
    &[
        Does(0, Write(0, 700)),
        Does(0, Write(1, 700)),
        Rest,
        Does(1, Read(0, 700)),
        Does(1, Read(1, 700)),
        Rest,
    ],
    &[
        Does(1, Write(0, 700)),
        Does(1, Write(1, 700)),
        Rest,
        Does(0, Read(0, 700)),
        Does(0, Read(1, 700)),
        Rest,
    ],
    &[
        Does(0, Write(0, 70)),
        Does(1, Write(1, 70)),
        Rest,
        Does(1, Read(0, 70)),
        Does(0, Read(1, 70)),
        Rest,
    ],
];

/// How the original ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Destroyed, with rings in use.
    Destroyed,
    /// Destroyed, when nothing was left on rings.
    DestroyedOnTcp,
    /// Saved again, and that image is not used.
    Saved,
    /// Saved again and restored, and destroyed on another host, where nothing went by rings.
    DestroyedElsewhere,
}

fn rolled_back(was_idle: bool, since: &[Before], end: End, is_noticed: bool) -> Two {
    let clock = Clock::default();
    let begin = |clock: &Clock| {
        let mut two = Two::linked_on(clock);
        follow(&mut two, &BEFORE);
        if was_idle {
            back_to_tcp(&mut two);
        }
        two.run(0, Freeze);
        two
    };
    let image = begin(&clock);
    let mut two = begin(&clock);
    follow(
        &mut two,
        &[Does(1, Turn), Does(0, Renew(Onward::Cancelled)), Rest, Rest],
    );
    follow(&mut two, since);
    match end {
        End::Destroyed => {}
        End::DestroyedOnTcp => back_to_tcp(&mut two),
        End::Saved => follow(&mut two, &[Does(0, Freeze), Does(1, Turn)]),
        End::DestroyedElsewhere => {
            follow(&mut two, &[Does(0, Freeze), Does(1, Turn)]);
            follow(&mut two, &[Does(0, Renew(Onward::To(1))), Rest, Rest]);
        }
    }
    for conn in [0, 1] {
        assert_eq!(
            (two.by_tcp(0, conn), two.by_tcp(1, conn)),
            (0, 0),
            "all by rings"
        );
    }
    two.destroy(0);
    if is_noticed {
        two.pass(6);
    }
    two.restore(0, &image);
    two
}

#[test]
fn a_guest_restored_from_an_old_image_reads_and_writes_nothing_at_a_wrong_place() {
    let ends = [
        End::Destroyed,
        End::DestroyedOnTcp,
        End::Saved,
        End::DestroyedElsewhere,
    ];
    for (number, since) in SINCE.iter().enumerate() {
        for end in ends {
            for case in 0..4 {
                let (was_idle, is_noticed) = (case & 1 == 1, case & 2 == 2);
                let name =
                    format!("since {number}, {end:?}, idle {was_idle}, noticed {is_noticed}");
                println!("{name}");
                let mut two = rolled_back(was_idle, since, end, is_noticed);
                two.see();
                two.check_bytes();
                for conn in [0, 1] {
                    // Either both have it, and all that was written is read, or neither.
                    let is_reset = two.is_reset(0, conn);
                    assert_eq!(is_reset, two.is_reset(1, conn), "{name}, connection {conn}");
                    let [(written, read), (back, received)] = [0, 1].map(|at| two.moved(at, conn));
                    let is_whole = (written, read) == (received, back);
                    assert!(is_reset || is_whole, "{name}, connection {conn}");
                    // What guest 1 has read and guest 0 has not written cannot be undone.
                    if number % 2 == 1 && conn == 0 {
                        assert!(is_reset, "{name}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_peer_that_boots_anew_does_not_know_the_connection() {
    // Guest 1 only reads: nothing that it sends would ever be answered by a RST.
    let mut two = Two::linked();
    follow(
        &mut two,
        &[Does(0, Write(0, 3000)), Rest, Does(1, Read(0, 100))],
    );
    follow(&mut two, &[Does(0, Freeze), Does(1, Turn)]);
    assert!(!two.is_reset(1, 0));
    two.destroy(0);
    two.reboot(0);
    for _ in 0..3 {
        two.rest();
    }
    assert!(two.is_reset(1, 0), "it waits for a guest that is no more");
    // A connection that was never on a ring is left to TCP.
    assert!(!two.is_reset(1, 1));
}
