//! The documents name files, commands and rules that exist.

use std::fs;
use std::path::{Path, PathBuf};

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

/// Whether a Rust file in `folder` or below holds `text`.
fn is_in_source(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).expect("a folder of the checkout");
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_in_source(&path, text);
        }
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        is_rust && fs::read_to_string(&path).is_ok_and(|source| source.contains(text))
    })
}

#[test]
fn each_row_of_what_a_peer_can_do_names_a_test_that_exists() {
    let root = checkout();
    let protocol = fs::read_to_string(root.join("docs/protocol.md")).expect("protocol.md");
    let (_, trust) = protocol.split_once("\n## Trust\n").expect("the section");
    let (trust, _) = trust.split_once("\n## ").expect("another section");
    let attacks = fs::read_to_string(root.join("tests/attacks/src/lib.rs")).expect("the attacks");
    let mut rows = 0;
    let mut missing = Vec::new();
    for row in trust.lines().filter(|line| line.starts_with("| ")).skip(1) {
        rows += 1;
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, shown_by] = cells[..] else {
            panic!("not three columns: {row}");
        };
        let (tests, attacks_of_row) = shown_by.split_once(';').unwrap_or((shown_by, ""));
        let tests: Vec<_> = code_spans(tests).collect();
        let names: Vec<_> = code_spans(attacks_of_row).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let function = format!("fn {test}(");
            let rooms = ["vmc", "netstack", "tests/sim"];
            if !rooms
                .iter()
                .any(|room| is_in_source(&root.join(room), &function))
            {
                missing.push(test);
            }
        }
        let is_attack = |name: &&str| attacks.contains(&format!(" = \"{name}\", "));
        missing.extend(names.into_iter().filter(|name| !is_attack(name)));
    }
    assert!(missing.is_empty(), "no such test: {}", missing.join(", "));
    assert!(rows > 10, "only {rows} rows were found");
}
