//! Collects what the agent reports: cases, files, the result.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use labkit::protocol::{Line, MAX_LINE_BYTES, Outcome};
use serde_json::{Map, Value};

use crate::counts::Counts;
use crate::log::say;
use crate::slowest::Took;

/// The report of one run so far.
pub(crate) struct Collector {
    folder: PathBuf,
    pending: Vec<u8>,
    files: BTreeSet<String>,
    /// How the cases ended.
    pub(crate) counts: Counts,
    /// The names of failed cases.
    pub(crate) failed: Vec<String>,
    /// How long each case took, on the host's clock.
    pub(crate) took: Vec<Took>,
    /// When the last case ended, or the agent began.
    since: Instant,
    /// The result's keys, if a result came.
    pub(crate) result: Option<Map<String, Value>>,
    /// Whether the agent has reported anything.
    pub(crate) started: bool,
    /// Whether the agent has reported that it is done.
    pub(crate) done: bool,
}

impl Collector {
    /// A collector that keeps reported files in `folder`.
    pub(crate) fn new(folder: &Path) -> Collector {
        Collector {
            folder: folder.to_path_buf(),
            pending: Vec::new(),
            files: BTreeSet::new(),
            counts: Counts::default(),
            failed: Vec::new(),
            took: Vec::new(),
            since: Instant::now(),
            result: None,
            started: false,
            done: false,
        }
    }

    /// Takes the next bytes of the report.
    ///
    /// # Errors
    /// A reported file cannot be written.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end())?;
        }
        if self.pending.len() > MAX_LINE_BYTES {
            say!("a line of the report is over its limit and is left out");
            self.pending.clear();
        }
        Ok(())
    }

    fn line(&mut self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let line = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(error) => {
                say!("not a line of a report ({error}): {text}");
                return Ok(());
            }
        };
        if !self.started {
            self.started = true;
            self.since = Instant::now();
        }
        match line {
            Line::Log { text } => say!("{text}"),
            Line::Phase { text } => say!("== {text}"),
            Line::File { name, text } => self.keep(&name, &text)?,
            Line::Case {
                name,
                outcome,
                detail,
            } => self.case(name, outcome, &detail),
            Line::Result { value } => self.result.get_or_insert_default().extend(value),
            Line::Done => self.done = true,
        }
        Ok(())
    }

    fn case(&mut self, name: String, outcome: Outcome, detail: &str) {
        let word = match outcome {
            Outcome::Passed => {
                self.counts.passed += 1;
                "PASS"
            }
            Outcome::Failed => {
                self.counts.failed += 1;
                "FAIL"
            }
            Outcome::Skipped => {
                self.counts.skipped += 1;
                "SKIP"
            }
        };
        let dash = if detail.is_empty() { "" } else { " - " };
        say!("{word} {name}{dash}{detail}");
        self.took.push(Took {
            name: name.clone(),
            time: self.since.elapsed(),
        });
        self.since = Instant::now();
        if outcome == Outcome::Failed {
            self.failed.push(name);
        }
    }

    fn keep(&mut self, name: &str, text: &str) -> Result<()> {
        // The name comes from another machine, so it may only name a file in the folder.
        let safe = !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !safe {
            say!("a file with the name {name:?} is not kept");
            return Ok(());
        }
        let path = self.folder.join(name);
        let first = self.files.insert(name.to_owned());
        File::options()
            .create(true)
            .write(true)
            .append(!first)
            .truncate(first)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot keep {}", path.display()))
    }

    /// Returns the paths of the guests' consoles among the reported files.
    pub(crate) fn guest_consoles(&self) -> impl Iterator<Item = PathBuf> {
        self.files
            .iter()
            .filter(|name| name.starts_with("guest-"))
            .map(|name| self.folder.join(name))
    }
}

/// Returns the last `lines` lines of the file at `path`; empty if there is none.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Collector, tail};
    use crate::counts::Counts;

    fn collector() -> (tempfile::TempDir, Collector) {
        let folder = tempfile::tempdir().expect("a folder");
        let collector = Collector::new(folder.path());
        (folder, collector)
    }

    #[test]
    fn lines_may_come_in_pieces() {
        let (_folder, mut collector) = collector();
        let text = b"{\"kind\":\"result\",\"value\":{\"sent\":3}}\n{\"kind\":\"done\"}\n";
        for piece in text.chunks(7) {
            assert!(!collector.done);
            collector.feed(piece).expect("no file is written");
        }
        assert!(collector.done);
        let result = collector.result.expect("it came");
        assert_eq!(result["sent"], 3);
    }

    #[test]
    fn cases_are_counted_and_noise_is_not() {
        let (_folder, mut collector) = collector();
        let case = |outcome: &str| {
            format!(
                "{{\"kind\":\"case\",\"name\":\"c\",\"outcome\":\"{outcome}\",\"detail\":\"\"}}\n"
            )
        };
        let text = [
            case("passed"),
            case("failed"),
            "not json\n{\"kind\":\"unheard\"}\n\n".to_owned(),
            case("skipped"),
            case("passed"),
        ]
        .concat();
        collector.feed(text.as_bytes()).expect("no file is written");
        assert_eq!(
            collector.counts,
            Counts {
                passed: 2,
                failed: 1,
                skipped: 1
            }
        );
        assert_eq!(collector.failed, ["c"]);
    }

    #[test]
    fn files_stay_in_their_folder_and_grow() {
        let (folder, mut collector) = collector();
        let old = folder.path().join("guest-a.log");
        std::fs::write(&old, "of an earlier run").expect("written");
        for (name, text) in [
            ("guest-a.log", "one\\n"),
            ("../x", "no"),
            ("guest-a.log", "two\\n"),
        ] {
            let line = format!("{{\"kind\":\"file\",\"name\":\"{name}\",\"text\":\"{text}\"}}\n");
            collector.feed(line.as_bytes()).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&old).expect("there"), "one\ntwo\n");
        assert_eq!(tail(&old, 1), "two");
        assert_eq!(collector.guest_consoles().collect::<Vec<_>>(), [old]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
