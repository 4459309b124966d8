//! Counts of tests and cases that passed, failed and were skipped, with the names of failures;
//! parses the output of cargo's test runners.

use std::fmt;
use std::ops::AddAssign;

use crate::slowest::Took;

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Returns the same counts with at least one failure, for a run that went wrong beside its
    /// cases.
    pub(crate) fn with_failure(self) -> Counts {
        Counts {
            failed: self.failed.max(1),
            ..self
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// How tests or cases ended, with the names of failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How many passed, failed and were skipped.
    pub(crate) counts: Counts,
    /// The names of failed cases and other faults, each once.
    pub(crate) faults: Vec<String>,
    /// How long each took.
    pub(crate) took: Vec<Took>,
}

impl Ended {
    /// Adds a fault beside the cases; at least one failure is then counted.
    pub(crate) fn fault(&mut self, what: String) {
        self.counts = self.counts.with_failure();
        self.name(what);
    }

    /// Adds the name of a failure that is counted elsewhere.
    pub(crate) fn name(&mut self, name: String) {
        if !self.faults.contains(&name) {
            self.faults.push(name);
        }
    }
}

impl AddAssign for Ended {
    fn add_assign(&mut self, other: Ended) {
        self.counts += other.counts;
        self.faults.extend(other.faults);
        self.took.extend(other.took);
    }
}

/// Returns the name of the failed test in a line of nextest or `cargo test`: `FAIL [ 0.1s] (3/9)
/// vmc rings::tests::wraps`, `test rings::tests::wraps ... FAILED`.
pub(crate) fn failed_test(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(name) = line.strip_suffix(" ... FAILED") {
        return name.strip_prefix("test ");
    }
    let (word, rest) = line.split_once(" [")?;
    let (_, name) = rest.split_once(']')?;
    let name = name.trim_start();
    // Newer releases of nextest number the tests in parentheses.
    let name = match name.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.1.trim_start(),
        None => name,
    };
    let failed = matches!(word, "FAIL" | "TIMEOUT" | "ABORT" | "XFAIL")
        || word
            .strip_prefix("SIG")
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    failed.then_some(name)
}

/// Parses the summary of one test program of `cargo test`: `test result: ok. 3 passed; 0 failed; 1
/// ignored; …`.
pub(crate) fn of_cargo_test(line: &str) -> Option<Counts> {
    let (_, parts) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    Some(sum(parts.split(';')))
}

/// Parses nextest's closing line: `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1
/// timed out, 2 skipped`.
pub(crate) fn of_nextest(line: &str) -> Option<Counts> {
    let (_, rest) = line.trim().strip_prefix("Summary [")?.split_once(']')?;
    let (_, parts) = rest.split_once("run: ")?;
    // Numbers in parentheses are part of the counts before them, and may be separated by commas.
    let mut depth = 0u32;
    let outside: String = parts
        .chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect();
    Some(sum(outside.split(',')))
}

/// Adds up parts such as `3 passed`.
fn sum<'a>(parts: impl Iterator<Item = &'a str>) -> Counts {
    let mut counts = Counts::default();
    for part in parts {
        let Some((number, word)) = part.trim().split_once(' ') else {
            continue;
        };
        let number: u64 = number.parse().unwrap_or(0);
        match word.trim() {
            "passed" => counts.passed += number,
            "failed" | "timed out" | "exec failed" => counts.failed += number,
            "ignored" | "skipped" => counts.skipped += number,
            // `measured`, `filtered out`: not run, and not left out by the tests themselves.
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::{Counts, Ended, failed_test, of_cargo_test, of_nextest};

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn lines_of_cargo_test() {
        assert_eq!(
            of_cargo_test(
                "test result: ok. 19 passed; 0 failed; 2 ignored; 0 measured; 5 filtered out; \
                 finished in 0.10s"
            ),
            Some(counts(19, 0, 2))
        );
        assert_eq!(
            of_cargo_test("test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured"),
            Some(counts(1, 4, 0))
        );
        assert_eq!(of_cargo_test("test result_is_kept ... ok"), None);
    }

    #[test]
    fn lines_of_nextest() {
        assert_eq!(
            of_nextest("     Summary [   0.102s] 25 tests run: 25 passed, 0 skipped"),
            Some(counts(25, 0, 0))
        );
        assert_eq!(
            of_nextest(
                "Summary [  61.0s] 9/12 tests run: 6 passed (1 slow, 1 flaky), 1 failed, \
                 1 exec failed, 1 timed out, 3 skipped"
            ),
            Some(counts(6, 3, 3))
        );
        assert_eq!(
            of_nextest("        PASS [   0.1s] lab counts::tests::x"),
            None
        );
    }

    #[test]
    fn lines_of_failed_tests() {
        for (line, name) in [
            (
                "        FAIL [   0.012s] (  3/541) vmc rings::tests::wraps",
                Some("vmc rings::tests::wraps"),
            ),
            ("  FAIL [   0.012s] vmc a::b", Some("vmc a::b")),
            ("  SIGABRT [   0.012s] vmc a::b", Some("vmc a::b")),
            ("  TIMEOUT [  60.0s] vmc a::b", Some("vmc a::b")),
            ("test a::b ... FAILED", Some("a::b")),
            ("        SLOW [> 60.000s] vmc a::b", None),
            ("        PASS [   0.012s] vmc a::b", None),
            ("test a::b ... ok", None),
            ("Summary [   0.1s] 2 tests run: 1 passed, 1 failed", None),
        ] {
            assert_eq!(failed_test(line), name, "{line}");
        }
    }

    #[test]
    fn what_went_wrong_is_named_once() {
        let mut ended = Ended::default();
        ended.name("a".to_owned());
        ended.name("a".to_owned());
        assert_eq!(ended.counts, counts(0, 0, 0));
        ended.fault("b".to_owned());
        assert_eq!(ended.counts, counts(0, 1, 0));
        assert_eq!(ended.faults, ["a", "b"]);
    }

    #[test]
    fn the_closing_line() {
        assert_eq!(counts(3, 0, 0).to_string(), "3 passed, 0 failed");
        assert_eq!(counts(3, 1, 2).to_string(), "3 passed, 1 failed, 2 skipped");
        assert_eq!(counts(3, 0, 2).with_failure(), counts(3, 1, 2));
        assert_eq!(counts(3, 2, 2).with_failure(), counts(3, 2, 2));
    }
}
