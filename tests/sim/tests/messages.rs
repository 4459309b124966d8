//! Runs the fuzzer's corpus of hostile messages as an ordinary test, each story
//! as it is and with small changes.

use std::fs;
use std::panic;
use std::path::Path;

use vmc::Cause;

/// Changed copies of each story.
const CHANGED: u64 = 300;

#[test]
fn no_story_of_the_corpus_harms_the_victim() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/messages");
    let files = fs::read_dir(folder).expect("the corpus is in the repository");
    let mut names: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    names.sort();
    assert!(names.len() >= 8, "the corpus is not there");
    let mut links = 0;
    let mut upgrades = 0;
    let mut refusals = 0;
    let mut ends = [0; Cause::ALL.len()];
    for (number, name) in names.iter().enumerate() {
        let story = fs::read(name).expect("readable");
        let counted = sim::puppet::run(&story);
        links += counted.links;
        upgrades += counted.upgrades;
        refusals += counted.refusals.no_connection;
        for (sum, cause) in ends.iter_mut().zip(Cause::ALL) {
            *sum += counted.ended(cause);
        }
        for seed in 0..CHANGED {
            let mut random = fastrand::Rng::with_seed(seed << 16 | number as u64);
            let changed = change(&story, &mut random);
            if panic::catch_unwind(|| sim::puppet::run(&changed)).is_err() {
                panic!("{} changed by {seed}: {changed:?}", name.display());
            }
        }
    }
    // The unchanged stories must reach what they are about.
    assert!(
        links > 10 && upgrades > 2 && refusals > 0,
        "{links} {upgrades} {refusals}"
    );
    for (count, cause) in ends.into_iter().zip(Cause::ALL) {
        assert!(
            count > 0 || !cause.is_peer_fault(),
            "no story is about {cause:?}"
        );
    }
}

#[test]
fn no_noise_harms_the_victim() {
    for seed in 0..4_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let len = random.usize(1..600);
        let noise: Vec<_> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        if panic::catch_unwind(|| sim::puppet::run(&noise)).is_err() {
            panic!("noise of seed {seed}: {noise:?}");
        }
    }
}

/// Returns a copy with some bytes changed, removed or duplicated.
fn change(story: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut story = story.to_vec();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..story.len().max(1));
        match random.u32(..5) {
            0 if at < story.len() => _ = story.remove(at),
            1 if at < story.len() => story.insert(at, random.u8(..)),
            2 if at < story.len() => {
                let copy = story[at..].to_vec();
                story.extend(copy.iter().take(random.usize(1..40)));
            }
            _ if at < story.len() => story[at] = random.u8(..),
            _ => story.push(random.u8(..)),
        }
    }
    story
}
