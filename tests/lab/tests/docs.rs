//! The documents name files, commands and rules that exist.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use attacks::Attack;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// README.md and everything in docs/, as (name, text).
fn documents() -> Vec<(String, String)> {
    let root = checkout();
    let folder = fs::read_dir(root.join("docs")).expect("docs is a folder");
    let mut paths: Vec<PathBuf> = folder
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.push(root.join("README.md"));
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a document is text");
            (
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                text,
            )
        })
        .collect()
}

/// What stands in code spans of one line.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    let mut is_block = false;
    text.lines()
        .filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            is_block ^= is_fence;
            !is_block && !is_fence
        })
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Whether a code span names a file or folder of this repository, as seen from its root.
fn is_path(span: &str) -> bool {
    let plain = span
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    let first = span.split('/').next().unwrap_or_default();
    plain
        && span.contains('/')
        && !first.is_empty()
        && first != "target"
        && checkout().join(first).is_dir()
}

#[test]
fn paths_in_documents_exist() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for (name, text) in documents() {
        for span in code_spans(&text).filter(|span| is_path(span)) {
            checked += 1;
            if !checkout().join(span).exists() {
                missing.push(format!("{name}: {span}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "not in the repository:\n{}",
        missing.join("\n")
    );
    assert!(
        checked > 50,
        "only {checked} paths were found: the reader is broken"
    );
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut missing = Vec::new();
    for (name, text) in documents() {
        let folder = if name == "README.md" {
            checkout()
        } else {
            checkout().join("docs")
        };
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (file, _) = target.split_once('#').unwrap_or((target, ""));
            let is_local = !file.is_empty() && !file.contains("://");
            if is_local && !folder.join(file).exists() {
                missing.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "links that lead nowhere:\n{}",
        missing.join("\n")
    );
}

#[test]
fn the_design_has_every_rule() {
    let design = fs::read_to_string(checkout().join("docs/design.md")).expect("design.md");
    for number in 1..=21 {
        assert!(design.contains(&format!("### R{number}\n")), "R{number}");
    }
}

/// Targets that docs/design.md names as not built.
const NOT_BUILT: [&str; 2] = ["experiment", "stress"];

#[test]
fn commands_in_documents_exist() {
    let makefile = fs::read_to_string(checkout().join("Makefile")).expect("a Makefile");
    let is_target = |target: &str| {
        makefile.lines().any(|line| {
            line.strip_prefix(target)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    };
    // What is no scenario, and the placeholders.
    let commands = ["boot", "list", "shell", "suite", "tools", "NAME", "…"];
    let is_command = |word: &str| commands.contains(&word) || agent::scenario(word).is_some();
    let mut checked = 0;
    let mut missing = Vec::new();
    for (name, text) in documents() {
        for span in code_spans(&text) {
            for command in span.split(" && ") {
                let words: Vec<_> = command.split(' ').collect();
                let exists = match words[..] {
                    ["make", target, ..] => is_target(target) || NOT_BUILT.contains(&target),
                    ["cargo", "lab", word, ..] => is_command(word),
                    _ => continue,
                };
                checked += 1;
                if !exists {
                    missing.push(format!("{name}: {command}"));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no such command:\n{}",
        missing.join("\n")
    );
    assert!(checked > 30, "only {checked} commands were found");
    for target in NOT_BUILT {
        assert!(
            !is_target(target),
            "make {target} is built: say so in docs/design.md"
        );
    }
}

/// The sources in `folder` and below.
fn sources(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of the checkout");
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).expect("a source is text"));
        }
    }
    found
}

/// The names of the tests in a source that `cargo test` runs unasked.
fn tests_in(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut attributes = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push(line);
        } else if !line.starts_with("//") {
            let is_run = attributes.contains(&"#[test]")
                && !attributes.iter().any(|one| one.starts_with("#[ignore"));
            let function = line.strip_prefix("fn ").filter(|_| is_run);
            names.extend(function.and_then(|rest| rest.split('(').next()));
            attributes.clear();
        }
    }
    names
}

#[test]
fn tests_are_told_from_other_functions() {
    let source = "fn plain() {}\n#[test]\n/// Why.\nfn one() {\n}\n    #[ignore = \"slow\"]\n    \
                  #[test]\n    fn two() {}\n    #[test]\n    #[should_panic]\n    fn three() {}\n\
                  #[inline]\nfn four() {}\n";
    assert_eq!(tests_in(source), ["one", "three"]);
}

/// What shows the rows of the table in the section "Trust" of docs/protocol.md: in each row, the host
/// tests and pinned scenarios, and the attacks.
fn shown_by(protocol: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let (_, trust) = protocol.split_once("\n## Trust\n").expect("the section");
    let (trust, _) = trust.split_once("\n## ").expect("another section");
    let rows = trust.lines().filter(|line| line.starts_with("| ")).skip(1);
    let shown = rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, shown_by] = cells[..] else {
            panic!("not three columns: {row}");
        };
        let (tests, attacks) = shown_by.split_once(';').unwrap_or((shown_by, ""));
        let tests: Vec<_> = code_spans(tests).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        (tests, code_spans(attacks).collect())
    });
    shown.collect()
}

#[test]
fn each_row_of_what_a_peer_can_do_names_a_test_that_exists() {
    let root = checkout();
    let protocol = fs::read_to_string(root.join("docs/protocol.md")).expect("protocol.md");
    let rooms = ["vmc", "netstack/src", "tests/sim"];
    let rooms: Vec<String> = rooms
        .iter()
        .flat_map(|room| sources(&root.join(room)))
        .collect();
    let pinned = sources(&root.join("tests/sim/src/pinned")).concat();
    let known: HashSet<&str> = rooms.iter().flat_map(|source| tests_in(source)).collect();
    let is_known =
        |name: &str| known.contains(name) || pinned.contains(&format!(" name: \"{name}\","));
    let mut missing: Vec<&str> = Vec::new();
    let mut shown: HashSet<&str> = HashSet::new();
    let rows = shown_by(&protocol);
    for (tests, attacks) in &rows {
        missing.extend(tests.iter().filter(|test| !is_known(test)));
        let is_attack = |name: &&&str| Attack::named(name).is_some();
        missing.extend(attacks.iter().filter(|name| !is_attack(name)));
        shown.extend(attacks);
    }
    assert!(missing.is_empty(), "no such test: {}", missing.join(", "));
    assert!(rows.len() > 10, "only {} rows were found", rows.len());
    let attacks = Attack::ALL
        .iter()
        .filter(|&&attack| attack != Attack::Honest);
    let unnamed: Vec<_> = attacks
        .map(|attack| attack.name())
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(unnamed.is_empty(), "in no row: {}", unnamed.join(", "));
}
