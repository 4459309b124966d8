//! A guest's console, as xenconsoled keeps it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::deadline::Deadline;
use crate::process::tail;

/// The folder in which xenconsoled, started with `--log=all`, keeps one file per guest.
pub const FOLDER: &str = "/var/log/xen/console";

/// The interval between two looks at the file. The guest's own speed does not depend on it.
const PAUSE: Duration = Duration::from_millis(20);

/// The console text of one guest. A restarted domain of its name continues the file; a domain that
/// was migrated or restored may continue in another file ([`Self::continue_in`]). Clones share
/// this.
#[derive(Clone, Debug)]
pub struct Console {
    parts: Arc<Mutex<Vec<Part>>>,
}

/// A piece of the guest's text.
#[derive(Clone, Debug)]
struct Part {
    path: PathBuf,
    /// Its first byte in the file. It ends where the next part in the same file begins.
    offset: u64,
}

impl Console {
    /// The console of the guest called `name`.
    pub fn of(name: &str) -> Self {
        let path = PathBuf::from(FOLDER).join(format!("guest-{name}.log"));
        Self::at(path)
    }

    fn at(path: PathBuf) -> Self {
        let parts = vec![Part { path, offset: 0 }];
        Self {
            parts: Arc::new(Mutex::new(parts)),
        }
    }

    /// The console of the guest called `name` after it was migrated to this host. xenconsoled names
    /// the file when it first sees the domain, while xl still calls it `NAME--incoming`.
    pub fn incoming(name: &str) -> Self {
        Self::of(&format!("{name}--incoming"))
    }

    /// Continues the text in the file of `other`, from its byte `offset`.
    pub fn continue_in(&self, other: &Self, offset: u64) {
        let path = other.parts().last().map(|part| part.path.clone());
        if let Some(path) = path {
            self.parts().push(Part { path, offset });
        }
    }

    /// Returns the size of the file that the guest writes to now.
    pub fn bytes(&self) -> u64 {
        let path = self.parts().last().map(|part| part.path.clone());
        let file = path.and_then(|path| fs::metadata(path).ok());
        file.map_or(0, |file| file.len())
    }

    /// Returns all whole lines so far, without carriage returns. A line that the guest is still
    /// writing is left out: a reader would take it for a shorter one.
    pub fn text(&self) -> String {
        self.since(0, false).0
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of bytes so far, as an offset for [`Self::since`].
    pub fn end(&self) -> usize {
        let bounds = self.bounds();
        bounds.iter().map(|(_, piece)| piece.len()).sum()
    }

    /// Returns the file of each part, in order, and the part's range in it.
    fn bounds(&self) -> Vec<(PathBuf, Range<usize>)> {
        let parts = self.parts();
        let bounds = parts.iter().enumerate().map(|(number, part)| {
            let mut later = parts[number + 1..].iter();
            let end = later.find(|later| later.path == part.path);
            let end = end.map_or_else(
                || fs::metadata(&part.path).map_or(0, |file| file.len()),
                |later| later.offset,
            );
            let begin = part.offset as usize;
            (part.path.clone(), begin..(end as usize).max(begin))
        });
        bounds.collect()
    }

    /// Reads the bytes of all parts, in order, from byte `offset`. Earlier bytes are skipped,
    /// because the guests share their processor with the agent and a console only grows.
    fn contents(&self, offset: usize) -> Vec<u8> {
        let mut contents = Vec::new();
        let mut skip = offset;
        for (path, piece) in self.bounds() {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            let wanted = piece.len() - skipped;
            let begin = (piece.start + skipped) as u64;
            let mut read = || {
                let mut file = File::open(&path)?;
                file.seek(SeekFrom::Start(begin))?;
                file.take(wanted as u64).read_to_end(&mut contents)
            };
            // A file that cannot be read is still empty.
            if wanted > 0 {
                read().unwrap_or_default();
            }
        }
        contents
    }

    /// Returns its last lines, for an error message.
    pub fn tail(&self) -> String {
        tail(&self.since(0, true).0, 15)
    }

    /// Returns the whole lines from byte `offset`, and the offset for the next call. With `rest`,
    /// an unfinished line is included.
    pub fn since(&self, offset: usize, rest: bool) -> (String, usize) {
        let mut new = self.contents(offset);
        if !rest {
            let end = new.iter().rposition(|&byte| byte == b'\n');
            new.truncate(end.map_or(0, |at| at + 1));
        }
        let text = String::from_utf8_lossy(&new).replace('\r', "");
        (text, offset + new.len())
    }

    /// Removes the files of an earlier guest of the name.
    pub fn clear(&self) {
        for part in self.parts().iter() {
            // The first guest of the name finds no file.
            let _ = fs::remove_file(&part.path);
        }
    }

    /// Waits until `text` has been printed and returns its whole line.
    pub fn wait_for(&self, text: &str, deadline: Deadline) -> Result<String> {
        self.wait_since(0, text, deadline)
    }

    /// Waits until `text` has been printed after byte `offset` and returns its whole line.
    pub fn wait_since(&self, mut offset: usize, text: &str, deadline: Deadline) -> Result<String> {
        let found = deadline.poll(PAUSE, &format!("{text:?} on the console"), || {
            let (new, next) = self.since(offset, false);
            offset = next;
            let line = new.lines().find(|line| line.contains(text));
            Ok(line.map(str::to_owned))
        });
        match found {
            Ok(line) => Ok(line),
            Err(error) => bail!("{error}; console:\n{}", self.tail()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Console;
    use crate::process::scratch_file;
    use std::fs;

    #[test]
    fn text_goes_on_in_other_files_and_in_the_same_one_again() {
        let first = scratch_file("console-1");
        let second = scratch_file("console-2");
        fs::write(&first, "booted\r\n").expect("a scratch file");
        fs::write(&second, "of another guest\n").expect("a scratch file");
        let console = Console::at(first.clone());
        let clone = console.clone();
        let other = Console::at(second.clone());
        let offset = other.bytes();
        fs::write(&second, "of another guest\nmigrated\n").expect("a scratch file");
        console.continue_in(&other, offset);
        assert_eq!(clone.text(), "booted\nmigrated\n");
        let again = Console::at(first.clone());
        let offset = again.bytes();
        console.continue_in(&again, offset);
        fs::write(&first, "booted\r\nrestored\n").expect("a scratch file");
        assert_eq!(clone.text(), "booted\nmigrated\nrestored\n");
        assert_eq!(console.since(8, false).0, "migrated\nrestored\n");
        fs::write(&first, "booted\r\nrestored\nand then").expect("a scratch file");
        assert_eq!(clone.text(), "booted\nmigrated\nrestored\n", "half a line");
        assert!(clone.tail().ends_with("and then"));
        clone.clear();
        assert!(!first.exists() && !second.exists());
    }
}
