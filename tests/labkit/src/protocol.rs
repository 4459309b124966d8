//! The protocol between the lab's host side and the agent in dom0.
//!
//! The host writes one [`Job`] as JSON to [`JOB_PATH`]. The agent writes one [`Line`] as JSON per
//! text line to [`REPORT_DEVICE`], the last of them [`Line::Done`]. Both sides use these types, so
//! the format has one definition.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kind::Kind;

/// The path of the agent's job in dom0.
pub const JOB_PATH: &str = "/lab/job.json";

/// The character device that carries the agent's lines to the host.
pub const REPORT_DEVICE: &str = "/dev/lab";

/// The folder of the guest images (ELF kernels), one file per image name.
pub const IMAGE_FOLDER: &str = "/lab/images";

/// The longest line that the agent writes, in bytes without its newline. A longer text is split
/// into several lines of the same kind, so a reader needs only a bounded buffer.
pub const MAX_LINE_BYTES: usize = 256 * 1024;

/// What the agent is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The scenario's name, for example `boot`, `run`, `test`, `idle`, `bench`.
    pub scenario: String,
    /// The scenario's parameters ([`mod@crate::parameters`]).
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Whether QEMU runs with `-icount`: one nanosecond per instruction, idle time skipped. Figures
    /// are then repeatable, and are called virtual time.
    #[serde(default)]
    pub virtual_time: bool,
    /// What the domains are built as.
    #[serde(default)]
    pub guest: Kind,
}

/// How a scenario or a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything the case checks held.
    Passed,
    /// A check did not hold, a deadline passed, or the case panicked.
    Failed,
    /// The case could not run here; its detail says why.
    Skipped,
}

/// One line of the agent's report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// Sends a line for the reader's log.
    Log {
        /// The text, without a final newline.
        text: String,
    },
    /// A new part of the scenario begins.
    Phase {
        /// The part's name, in a few words.
        text: String,
    },
    /// A piece of a file to be kept beside the result. Pieces with the same name are appended in
    /// the order of arrival; the first starts the file anew.
    File {
        /// The file's name, without a folder.
        name: String,
        /// The piece's text. Bytes that are not UTF-8 have been replaced.
        text: String,
    },
    /// A test case ended.
    Case {
        /// The case's name.
        name: String,
        /// How it ended.
        outcome: Outcome,
        /// What was measured, or why it failed or was skipped.
        detail: String,
    },
    /// The scenario's result: an object whose keys carry their units.
    Result {
        /// The object that goes into `result.json`.
        value: Map<String, Value>,
    },
    /// The end of the report. A report without this line was cut short.
    Done,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Job, Line, Outcome};

    fn text(line: &Line) -> String {
        serde_json::to_string(line).expect("a line is plain data")
    }

    #[test]
    fn lines_have_the_agreed_shape() {
        assert_eq!(text(&Line::Done), r#"{"kind":"done"}"#);
        let log = Line::Log { text: "a".into() };
        assert_eq!(text(&log), r#"{"kind":"log","text":"a"}"#);
        let case = Line::Case {
            name: "ping".into(),
            outcome: Outcome::Skipped,
            detail: String::new(),
        };
        assert_eq!(
            text(&case),
            r#"{"kind":"case","name":"ping","outcome":"skipped","detail":""}"#
        );
    }

    #[test]
    fn a_job_without_parameters_is_complete() {
        let job: Job =
            serde_json::from_value(json!({"scenario": "boot"})).expect("the rest has defaults");
        assert!(job.params.is_empty());
        assert!(!job.virtual_time);
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert!(serde_json::from_str::<Line>(r#"{"kind":"nothing"}"#).is_err());
    }
}
