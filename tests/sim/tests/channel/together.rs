//! Two guests on two processors: one does something in the middle of a call of the other, between
//! any two of its accesses to shared memory and to the hypervisor.

use super::two::{Onward, Step, Two};

use Step::{Finish, Freeze, Leave, Notice, Read, Turn, Withdraw, Write};

/// What both have done before; `Rest` has them settle.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before {
    Does(usize, Step),
    Rest,
}

use Before::{Does, Rest};

/// Returns a random course of events. It ends soon after something that takes several messages has
/// begun: a re-homing, a growth, a suspend.
fn course(seed: u64) -> Vec<Before> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut course = Vec::new();
    for _ in 0..random.usize(..3) {
        wander(&mut random, &mut course);
        begin(&mut random, &mut course);
    }
    wander(&mut random, &mut course);
    course
}

/// Traffic, a few turns, and sometimes an end.
fn wander(random: &mut fastrand::Rng, course: &mut Vec<Before>) {
    for _ in 0..random.usize(..12) {
        let (who, conn) = (random.usize(..2), random.usize(..2));
        course.push(match random.u32(..24) {
            0..=7 => Does(who, Turn),
            8..=14 => Does(who, Write(conn, random.usize(1..9000))),
            15..=20 => Does(who, Read(conn, random.usize(1..9000))),
            21 => Does(who, Withdraw),
            22 if random.u32(..6) == 0 => Does(who, Finish(conn)),
            _ => Rest,
        });
    }
}

fn begin(random: &mut fastrand::Rng, course: &mut Vec<Before>) {
    let (who, conn) = (random.usize(..2), random.usize(..2));
    match random.u32(..9) {
        0..=2 => course.push(Does(who, Notice)),
        3 => course.extend([Does(who, Notice), Rest, Does(who, Write(conn, 3000)), Rest]),
        4 => course.extend([Does(0, Notice), Does(1, Notice)]),
        // The reader asks for rings, and the writer is asked.
        5 => {
            let turns = [
                Does(1 - who, Turn),
                Does(who, Turn),
                Does(who, Write(conn, 700)),
            ];
            course.extend([Does(who, Write(conn, 3000)), Rest, Does(who, Notice)]);
            course.extend_from_slice(&turns[..random.usize(..=3)]);
        }
        // A ring that is full several times grows.
        6 => {
            for _ in 0..random.usize(3..8) {
                let read = random.usize(1..16_000);
                course.extend([Does(who, Write(conn, 20_000)), Does(1 - who, Turn)]);
                course.extend([Does(1 - who, Read(conn, read)), Does(who, Turn)]);
            }
        }
        7 => {
            let onward = ONWARD[random.usize(..3)];
            course.extend([Does(who, Freeze), Does(1 - who, Turn)]);
            course.push(Does(who, Step::Renew(onward)));
            if random.bool() {
                course.push(Rest);
            }
        }
        _ if random.u32(..8) == 0 => course.push(Does(who, Leave)),
        _ => {}
    }
}

/// Does `course`.
pub(super) fn follow(two: &mut Two, course: &[Before]) {
    for before in course {
        match *before {
            Does(who, step) => two.run(who, step),
            Rest => two.rest(),
        }
    }
}

fn play(course: &[Before]) -> Two {
    let mut two = Two::linked();
    follow(&mut two, course);
    two
}

/// Seconds that one guest may be away longer than the other.
const AWAY: u64 = 300;

const ONWARD: [Onward; 3] = [Onward::Cancelled, Onward::To(0), Onward::To(1)];

/// Plays `course`, then has one guest do `step`, and the other do `others` in the middle of it:
/// the first at each of its accesses, the later ones as many accesses apart as `apart` says. Both
/// are suspended in the end or not, and go on.
fn interrupt(name: &str, course: &[Before], step: Step, others: &[Step], apart: u64) -> u64 {
    let mut runs = 0;
    for who in [0, 1] {
        for at in 0.. {
            let mut two = play(course);
            let elsewhere = (at..).step_by(apart as usize).zip(others.iter().copied());
            let left = two.run_during(who, step, &elsewhere.collect::<Vec<_>>());
            for step in &others[others.len() - left..] {
                two.run(1 - who, *step);
            }
            let variant = runs as usize;
            let result = go_on(&mut two, who, variant);
            let result = result.and_then(|()| two.conclude());
            if let Err(what) = result {
                panic!(
                    "{name}, guest {who} at {at}, variant {variant}: {what}\n\
                     {others:?} in {step:?} after {course:?}"
                );
            }
            runs += 1;
            if left == others.len() {
                break;
            }
        }
    }
    runs
}

/// Has the other guest come to a suspend as well, or not; both go on.
fn go_on(two: &mut Two, who: usize, variant: usize) -> Result<(), String> {
    let other = 1 - who;
    // One that leaves its links is suspended, or goes on.
    for number in [who, other] {
        if variant / 18 % 2 == number || two.has_left(number) {
            two.run(number, Freeze);
        }
    }
    let ways = [ONWARD[variant % 3], ONWARD[variant / 3 % 3]];
    let order = if (variant / 9).is_multiple_of(2) {
        [who, other]
    } else {
        [other, who]
    };
    for number in order {
        if two.is_frozen(number) {
            two.run(number, Step::Renew(ways[number]));
        }
        // One may be away for minutes longer than the other.
        two.pass(if variant % 37 == 1 { AWAY } else { 0 });
        two.rest();
    }
    two.check()
}

#[test]
fn two_may_freeze_in_the_same_instant() {
    let mut runs = 0;
    for seed in 0..300 {
        runs += interrupt(&format!("seed {seed}"), &course(seed), Freeze, &[Freeze], 1);
    }
    println!("{runs} runs");
    assert!(runs > 1000, "{runs}");
}

/// What one guest does, in the middle of what the other does.
const MIDWAY: [(Step, &[Step]); 26] = [
    (Freeze, &[Turn]),
    (Freeze, &[Turn, Freeze]),
    (Freeze, &[Notice]),
    (Freeze, &[Notice, Turn]),
    (Freeze, &[Notice, Freeze]),
    (Freeze, &[Withdraw, Turn]),
    (Freeze, &[Write(0, 3000), Write(1, 10), Turn]),
    (Freeze, &[Read(0, 5000), Read(1, 100), Turn]),
    (Freeze, &[Write(0, 3000), Freeze]),
    (Freeze, &[Read(0, 5000), Write(1, 20_000), Turn, Freeze]),
    (Freeze, &[Freeze, Step::Renew(Onward::Cancelled), Turn]),
    (Freeze, &[Freeze, Step::Renew(Onward::To(0)), Turn, Turn]),
    (
        Freeze,
        &[Turn, Freeze, Step::Renew(Onward::To(1)), Write(0, 10)],
    ),
    (Turn, &[Freeze]),
    (Turn, &[Turn, Freeze]),
    (Turn, &[Notice, Freeze]),
    (Turn, &[Freeze, Step::Renew(Onward::Cancelled), Turn]),
    (Turn, &[Freeze, Step::Renew(Onward::To(1)), Turn]),
    (Read(0, 9000), &[Freeze]),
    (Read(0, 9000), &[Turn, Freeze, Step::Renew(Onward::To(0))]),
    (Write(0, 9000), &[Freeze]),
    (
        Write(0, 9000),
        &[Turn, Freeze, Step::Renew(Onward::Cancelled), Turn],
    ),
    (Notice, &[Freeze]),
    (Notice, &[Notice, Turn, Freeze]),
    (Withdraw, &[Freeze]),
    (Withdraw, &[Turn, Withdraw, Turn]),
];

#[test]
fn one_may_freeze_in_the_middle_of_what_the_other_does() {
    let mut runs = 0;
    for seed in 0..30 * MIDWAY.len() as u64 {
        let (step, others) = MIDWAY[seed as usize % MIDWAY.len()];
        let apart = 1 + seed / MIDWAY.len() as u64 % 7;
        runs += interrupt(
            &format!("seed {seed}"),
            &course(seed / 3),
            step,
            others,
            apart,
        );
    }
    println!("{runs} runs");
    assert!(runs > 1000, "{runs}");
}
