//! How to migrate, and the transport command that follows from it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How to migrate.
#[derive(Clone, Debug)]
pub struct Options {
    /// The target.
    pub target: Target,
    /// The bandwidth in Mbit/s; `None` for no limit. Needs the meter.
    pub bandwidth_mbit: Option<u64>,
    /// How many rounds are held to the bandwidth; `None` for all.
    pub bandwidth_rounds: Option<usize>,
    /// After how many pages the stream stops until [`Running::release`](super::Running::release). Needs the meter.
    pub hold_page: Option<u64>,
    /// Whether the report names the pfns of each round. Needs the meter.
    pub pfns: bool,
    /// After how many bytes from the source to cut the stream: both directions close at once, as
    /// when a connection is lost. Needs the meter.
    pub cut_after: Option<u64>,
    /// `xl migrate --debug`.
    pub debug: bool,
    /// How long `xl migrate` may take.
    pub limit: Duration,
    /// Whether the stream goes through the meter, which is one more process that copies the pages.
    pub meter: bool,
    /// Whether the meter writes its progress for [`Running::pages`](super::Running::pages): a small file, replaced with
    /// each piece of the stream.
    pub progress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: Target::ThisHost,
            bandwidth_mbit: None,
            bandwidth_rounds: None,
            hold_page: None,
            pfns: false,
            cut_after: None,
            debug: false,
            limit: Duration::from_secs(120),
            meter: true,
            progress: false,
        }
    }
}

/// Where a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the same host, under a new domid.
    ThisHost,
    /// To the other end of this shell command. Its standard input and output are the two directions
    /// of the link: `socat - TCP:10.0.0.2:8002`, for example.
    Elsewhere(String),
}

/// The meter's files.
#[derive(Debug)]
pub(super) struct MeterFiles<'a> {
    pub(super) report: &'a Path,
    pub(super) progress: &'a Path,
    pub(super) hold: &'a Path,
}

impl Options {
    /// Returns the command that `xl migrate -s ''` runs with `sh -c`.
    pub(super) fn transport(&self, files: &MeterFiles<'_>) -> Result<String> {
        if !self.meter
            && (self.bandwidth_mbit.is_some()
                || self.hold_page.is_some()
                || self.cut_after.is_some()
                || self.progress
                || self.pfns)
        {
            bail!("a bandwidth, a hold, a cut, pfns and the progress need the meter");
        }
        let target = match &self.target {
            Target::ThisHost => "xl migrate-receive".to_owned(),
            Target::Elsewhere(command) => format!("sh -c {}", quoted(command)),
        };
        if !self.meter {
            // `exec` replaces sh, which leaves one process less to kill.
            return Ok(format!("exec {target}"));
        }
        let agent = std::env::current_exe().context("own path")?;
        let mut command = format!(
            "exec {} meter --report {}",
            path_quoted(&agent),
            path_quoted(files.report)
        );
        if self.progress {
            command.push_str(&format!(" --progress {}", path_quoted(files.progress)));
        }
        if let Some(mbit) = self.bandwidth_mbit {
            command.push_str(&format!(" --bandwidth {mbit}"));
        }
        if let Some(rounds) = self.bandwidth_rounds {
            command.push_str(&format!(" --bandwidth-rounds {rounds}"));
        }
        if let Some(pages) = self.hold_page {
            let file = path_quoted(files.hold);
            command.push_str(&format!(" --hold-page {pages} --hold {file}"));
        }
        if self.pfns {
            command.push_str(" --pfns");
        }
        if let Some(bytes) = self.cut_after {
            command.push_str(&format!(" --cut {bytes}"));
        }
        command.push_str(" -- ");
        command.push_str(&target);
        Ok(command)
    }
}

/// Quotes `text` as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn path_quoted(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::{MeterFiles, Options, Target, quoted};
    use std::path::Path;

    fn files() -> MeterFiles<'static> {
        MeterFiles {
            report: Path::new("/tmp/r"),
            progress: Path::new("/tmp/p"),
            hold: Path::new("/tmp/h"),
        }
    }

    #[test]
    fn the_meter_stands_between_the_two_ends() {
        let options = Options {
            bandwidth_mbit: Some(8),
            hold_page: Some(7),
            cut_after: Some(99),
            ..Options::default()
        };
        let command = options.transport(&files()).expect("a command");
        let (_, arguments) = command.split_once(" meter ").expect("the meter");
        assert_eq!(
            arguments,
            "--report '/tmp/r' --bandwidth 8 --hold-page 7 --hold '/tmp/h' --cut 99 -- xl migrate-receive"
        );
    }

    #[test]
    fn another_host_without_the_meter() {
        let options = Options {
            target: Target::Elsewhere("socat - 'TCP:a:1'".into()),
            meter: false,
            ..Options::default()
        };
        let command = options.transport(&files()).expect("a command");
        assert_eq!(command, r"exec sh -c 'socat - '\''TCP:a:1'\'''");
        let throttled = Options {
            bandwidth_mbit: Some(1),
            ..options
        };
        assert!(throttled.transport(&files()).is_err());
    }

    #[test]
    fn a_shell_reads_what_was_quoted() {
        let text = r#"it's "$HOME" \ `x`"#;
        let output = crate::process::run_ok(
            "sh",
            &["-c", &format!("printf %s {}", quoted(text))],
            std::time::Duration::from_secs(60),
        );
        assert_eq!(output.expect("a shell"), text);
    }
}
