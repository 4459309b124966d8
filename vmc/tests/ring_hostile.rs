//! Runs the fuzzer's corpus and variations of it as an ordinary test, so that
//! what was found once stays found without nightly and cargo-fuzz.

mod ring_script;

use std::path::Path;

/// Variations of each file of the corpus.
const VARIATIONS: usize = 300;
/// Random scripts.
const RANDOM: usize = 5000;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/ring");
    let files = std::fs::read_dir(folder).expect("the corpus is in the repository");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("readable folder").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 8, "{} files", paths.len());
    let read = |path: &_| std::fs::read(path).expect("readable file");
    paths.iter().map(read).collect()
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Runs a script; a failure names it.
fn run(script: &[u8]) {
    let outcome = std::panic::catch_unwind(|| ring_script::run(script));
    assert!(outcome.is_ok(), "the script {script:02x?}");
}

#[test]
fn the_corpus_does_no_harm() {
    for script in corpus() {
        run(&script);
    }
}

#[test]
fn variations_of_the_corpus_do_no_harm() {
    let mut numbers = Numbers(1);
    let corpus = corpus();
    for script in &corpus {
        for _ in 0..VARIATIONS {
            let mut script = script.clone();
            for _ in 0..1 + numbers.below(4) {
                let at = numbers.below(script.len() + 1);
                match numbers.below(3) {
                    0 if at < script.len() => script[at] = numbers.next() as u8,
                    1 => {
                        let len = numbers.below(9);
                        script.splice(at..at, numbers.bytes(len));
                    }
                    _ => {
                        let other = &corpus[numbers.below(corpus.len())];
                        script.truncate(at);
                        script.extend(&other[numbers.below(other.len())..]);
                    }
                }
            }
            run(&script);
        }
    }
}

#[test]
fn random_scripts_do_no_harm() {
    let mut numbers = Numbers(2);
    for _ in 0..RANDOM {
        let len = numbers.below(200);
        run(&numbers.bytes(len));
    }
}
