//! How long tests and cases took, and the table of the slowest.

use std::time::Duration;

/// How many lines the table has.
const ROWS: usize = 20;

/// How long one test or case took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Took {
    /// Its name, after that of its program or scenario.
    pub(crate) name: String,
    /// From its start to its end, on the wall clock.
    pub(crate) time: Duration,
}

/// Returns the slowest of `all` as lines, the slowest first.
pub(crate) fn table(mut all: Vec<Took>) -> Vec<String> {
    all.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.name.cmp(&b.name)));
    all.iter()
        .take(ROWS)
        .map(|took| format!("{:8.1} s  {}", took.time.as_secs_f64(), took.name))
        .collect()
}

/// Returns how long a test took from the line in which nextest says that it ended:
/// `PASS [   0.1s] (3/9) vmc rings::tests::wraps`.
pub(crate) fn of_nextest(line: &str) -> Option<Took> {
    let (word, rest) = line.trim().split_once(" [")?;
    if !word.bytes().all(|byte| byte.is_ascii_uppercase()) || word == "SLOW" {
        return None;
    }
    let (seconds, name) = rest.split_once("s]")?;
    let seconds = seconds.trim().parse().ok()?;
    // Newer releases of nextest count the tests in parentheses.
    let name = match name.trim_start().strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.1,
        None => name,
    };
    Some(Took {
        name: name.trim().to_owned(),
        time: Duration::try_from_secs_f64(seconds).ok()?,
    })
}

/// Reads how long each test program took from the output of `cargo test`, which does not time
/// single tests.
#[derive(Default)]
pub(crate) struct Programs {
    /// The program that runs, as cargo named it.
    name: String,
}

impl Programs {
    /// Takes the next line; returns a program that has ended.
    pub(crate) fn line(&mut self, line: &str) -> Option<Took> {
        let line = line.trim();
        if let Some(program) = line.strip_prefix("Running ") {
            self.name = program_name(program).to_owned();
        } else if line.starts_with("Doc-tests ") {
            self.name = line.to_owned();
        } else if line.starts_with("test result: ") {
            let (_, seconds) = line.rsplit_once("finished in ")?;
            let seconds = seconds.strip_suffix('s')?.parse().ok()?;
            return Some(Took {
                name: self.name.clone(),
                time: Duration::try_from_secs_f64(seconds).ok()?,
            });
        }
        None
    }
}

/// Returns the name in `unittests src/lib.rs (target/debug/deps/vmc-0123456789abcdef)`.
fn program_name(text: &str) -> &str {
    let file = text.rsplit('/').next().unwrap_or(text);
    match file.rsplit_once('-') {
        Some((name, _)) => name,
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Programs, ROWS, Took, of_nextest, table};

    fn took(name: &str, millis: u64) -> Took {
        Took {
            name: name.to_owned(),
            time: Duration::from_millis(millis),
        }
    }

    #[test]
    fn the_slowest_come_first() {
        let mut all: Vec<_> = (0..ROWS as u64).map(|n| took("fast", n)).collect();
        all.push(took("slow", 61_230));
        let table = table(all);
        assert_eq!(table.len(), ROWS);
        assert_eq!(table[0], "    61.2 s  slow");
    }

    #[test]
    fn nextest_times_each_test() {
        let wraps = Some(took("vmc rings::wraps", 1_012));
        assert_eq!(
            of_nextest("  PASS [   1.012s] (  3/541) vmc rings::wraps"),
            wraps
        );
        assert_eq!(of_nextest("  FAIL [   1.012s] vmc rings::wraps"), wraps);
        for other in [
            "  SLOW [> 60.000s] vmc rings::wraps",
            "     Summary [   0.102s] 25 tests run: 25 passed, 0 skipped",
            "   Compiling vmc v0.1.0",
        ] {
            assert_eq!(of_nextest(other), None, "{other}");
        }
    }

    #[test]
    fn cargo_test_times_each_program() {
        let mut programs = Programs::default();
        let mut line = |text| programs.line(text);
        assert_eq!(
            line("     Running unittests src/lib.rs (target/debug/deps/vmc-0123456789abcdef)"),
            None
        );
        let result = "test result: ok. 1 passed; 0 failed; 0 ignored; finished in 0.10s";
        assert_eq!(line(result), Some(took("vmc", 100)));
        assert_eq!(line("   Doc-tests kernel"), None);
        assert_eq!(line(result), Some(took("Doc-tests kernel", 100)));
        assert_eq!(line("test result: "), None);
    }
}
