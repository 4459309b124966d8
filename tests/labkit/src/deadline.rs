//! Deadlines.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A point in time at which waiting ends, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// The deadline `seconds` from now.
    pub fn seconds(seconds: u64) -> Self {
        Self::after(Duration::from_secs(seconds))
    }

    /// Returns the time left, zero if the deadline has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns the time left, at least a millisecond: a socket time-out of zero would mean "for
    /// ever".
    pub fn socket_timeout(self) -> Duration {
        self.remaining().max(Duration::from_millis(1))
    }

    /// Whether the deadline has passed.
    pub fn passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Calls `check` until it yields a value, with `pause` between two calls. The last call comes
    /// after the deadline, to give a slow machine its chance.
    pub fn poll<T>(
        self,
        pause: Duration,
        what: &str,
        mut check: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            let over = self.passed();
            if let Some(value) = check()? {
                return Ok(value);
            }
            if over {
                bail!("deadline passed while waiting for {what}");
            }
            sleep(pause.min(self.remaining().max(Duration::from_millis(1))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Deadline;
    use std::time::Duration;

    #[test]
    fn polling_ends_with_the_value_or_the_deadline() {
        let mut asked = 0;
        let value = Deadline::seconds(60).poll(Duration::ZERO, "three", || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(value.ok(), Some(3));
        let never = Deadline::after(Duration::ZERO)
            .poll(Duration::ZERO, "nothing", || Ok(None::<()>))
            .expect_err("nothing comes");
        assert!(never.to_string().contains("nothing"));
    }
}
