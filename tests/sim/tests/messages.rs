//! The fuzzer's corpus of hostile messages as an ordinary test, as it is and with small changes.

use std::fs;
use std::panic;
use std::path::Path;

/// Changed copies of each story.
const CHANGED: u64 = 400;

#[test]
fn no_story_of_the_corpus_harms_the_victim() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/messages");
    let files = fs::read_dir(folder).expect("the corpus is in the repository");
    let mut names: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    names.sort();
    assert!(names.len() >= 8, "the corpus is not there");
    for (number, name) in names.iter().enumerate() {
        let story = fs::read(name).expect("readable");
        sim::puppet::run(&story);
        for seed in 0..CHANGED {
            let mut random = fastrand::Rng::with_seed(seed << 16 | number as u64);
            let changed = change(&story, &mut random);
            if panic::catch_unwind(|| sim::puppet::run(&changed)).is_err() {
                panic!("{} changed by {seed}: {changed:?}", name.display());
            }
        }
    }
}

#[test]
fn no_noise_harms_the_victim() {
    for seed in 0..3000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let len = random.usize(1..600);
        let noise: Vec<_> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        if panic::catch_unwind(|| sim::puppet::run(&noise)).is_err() {
            panic!("noise of seed {seed}: {noise:?}");
        }
    }
}

/// A copy with some bytes changed, removed, doubled.
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
