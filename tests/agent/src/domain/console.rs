//! A guest's console, as xenconsoled keeps it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::deadline::Deadline;
use crate::process::tail;

/// Where xenconsoled, started with `--log=guest`, keeps one file per guest.
pub(crate) const FOLDER: &str = "/var/log/xen/console";

/// How often the file is looked at while waiting. The guest's own speed does not depend on it.
const PAUSE: Duration = Duration::from_millis(20);

/// The console log of one guest name. A restarted domain of that name continues the file.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    path: PathBuf,
}

impl Console {
    /// The console of the guest called `name`.
    pub(crate) fn of(name: &str) -> Self {
        Self {
            path: PathBuf::from(FOLDER).join(format!("guest-{name}.log")),
        }
    }

    /// The console that the guest called `name` has had since it was migrated to this host:
    /// xenconsoled names the file when it first sees the domain, which xl still calls so.
    pub(crate) fn incoming(name: &str) -> Self {
        Self::of(&format!("{name}--incoming"))
    }

    /// Everything so far, without carriage returns; empty before the first byte.
    pub(crate) fn text(&self) -> String {
        fs::read(&self.path)
            .map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', ""))
            .unwrap_or_default()
    }

    /// Its last lines, for an error message.
    pub(crate) fn tail(&self) -> String {
        tail(&self.text(), 15)
    }

    /// The whole lines from byte `offset` on, and where the next call continues. With `rest`, also
    /// a line that has no end yet.
    pub(crate) fn since(&self, offset: usize, rest: bool) -> (String, usize) {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let new = bytes.get(offset..).unwrap_or_default();
        let whole = new
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let new = if rest { new } else { &new[..whole] };
        let text = String::from_utf8_lossy(new).replace('\r', "");
        (text, offset + new.len())
    }

    /// Removes what an earlier guest of the name left.
    pub(crate) fn clear(&self) {
        // There is nothing to remove the first time.
        let _ = fs::remove_file(&self.path);
    }

    /// Waits until `text` has been printed and returns its whole line.
    pub(crate) fn wait_for(&self, text: &str, deadline: Deadline) -> Result<String> {
        self.wait_for_times(text, 1, deadline)
    }

    /// Waits until `text` has been printed in `times` lines and returns the last of them.
    pub(crate) fn wait_for_times(
        &self,
        text: &str,
        times: usize,
        deadline: Deadline,
    ) -> Result<String> {
        let found = deadline.poll(PAUSE, &format!("{text:?} on the console"), || {
            let console = self.text();
            let line = console
                .lines()
                .filter(|line| line.contains(text))
                .nth(times - 1);
            Ok(line.map(str::to_owned))
        });
        match found {
            Ok(line) => Ok(line),
            Err(error) => bail!("{error}; console:\n{}", self.tail()),
        }
    }
}
