//! A lock between the labs of one checkout.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::log::say;
use crate::process::TICK;

/// A lock, held until it is dropped or the program dies.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock on `path`, waiting at most `limit`.
    ///
    /// # Errors
    /// Returns an error if another lab holds it for longer, or if the file cannot be made.
    pub(crate) fn take(path: &Path, limit: Duration) -> Result<Lock> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let deadline = Instant::now() + limit;
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            if Instant::now() > deadline {
                bail!(
                    "another lab has held {} for too long: wait for it, or end it",
                    path.display()
                );
            }
            if !said {
                say!("waiting for another lab that holds {}", path.display());
                said = true;
            }
            interrupt::check()?;
            thread::sleep(TICK);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Lock;

    #[test]
    fn only_one_holds_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = Lock::take(&path, Duration::ZERO).expect("it is free");
        assert!(Lock::take(&path, Duration::ZERO).is_err());
        drop(first);
        // A process that another test has just forked holds a copy until it calls exec.
        assert!(Lock::take(&path, Duration::from_secs(10)).is_ok());
    }
}
