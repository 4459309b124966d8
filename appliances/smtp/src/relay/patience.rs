//! How much of the client's patience the next hop has used up.
//!
//! The client waits for one answer, while the relay may have to connect, to be greeted and to give
//! several commands. Each step gets what the steps before it left, less a share for those behind
//! it, so that the sum stays below what the client waits (RFC 5321 4.5.3.2.3).

use core::time::Duration;

use crate::client::Stage;

/// Shares into which the time is divided: connection, greeting, EHLO, HELO, RSET, MAIL one each,
/// the recipient's answer three.
const SHARES: u32 = 9;

/// Shares that a connection must have left to be worth opening a second time.
const SHARES_TO_CONNECT: u32 = 7;

/// The time since the client began to wait.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// The driver's clock, if it tells the time.
    now: Option<Duration>,
    since: Option<Duration>,
    /// What the steps so far may have taken; counts only without a clock.
    granted: Duration,
}

impl Patience {
    /// Takes note of the time.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = Some(now);
    }

    /// Begins anew: the client waits for another answer.
    pub(crate) fn begin(&mut self) {
        self.since = self.now;
        self.granted = Duration::ZERO;
    }

    /// Takes note of a step that is over and might have lasted for `limit`.
    pub(crate) fn step(&mut self, limit: Duration) {
        self.granted = self.granted.saturating_add(limit);
    }

    /// Returns what is left of `total`.
    fn left(&self, total: Duration) -> Duration {
        let used = match self.now.zip(self.since) {
            Some((now, since)) => now.saturating_sub(since),
            None => self.granted,
        };
        total.saturating_sub(used)
    }

    /// Returns how long the step at `stage`, or that of connecting (`None`), may last.
    pub(crate) fn limit(&self, total: Duration, stage: Option<Stage>) -> Duration {
        let behind = match stage {
            None => 7,
            Some(Stage::Greeting) => 6,
            Some(Stage::Ehlo) => 5,
            Some(Stage::Helo | Stage::Reset) => 4,
            Some(Stage::Mail) => 3,
            _ => 0,
        };
        let reserve = total / SHARES * behind;
        self.left(total).saturating_sub(reserve)
    }

    /// Whether enough is left for another connection. Without a clock nothing is known to have
    /// passed, so the next steps get their time anew.
    pub(crate) fn allows_to_connect(&mut self, total: Duration) -> bool {
        if self.now.is_none() {
            self.granted = Duration::ZERO;
        }
        self.left(total) >= total / SHARES * SHARES_TO_CONNECT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Duration = Duration::from_secs(270);

    #[test]
    fn fast_steps_leave_their_time_to_slow_ones() {
        let mut patience = Patience::default();
        patience.tick(Duration::from_secs(1000));
        patience.begin();
        patience.step(Duration::from_secs(30));
        patience.tick(Duration::from_secs(1001));
        let limit = patience.limit(TOTAL, Some(Stage::Rcpt));
        assert_eq!(limit, Duration::from_secs(269));
        assert!(patience.allows_to_connect(TOTAL));
        patience.tick(Duration::from_secs(1100));
        assert!(!patience.allows_to_connect(TOTAL));
        patience.tick(Duration::from_secs(9999));
        assert_eq!(patience.limit(TOTAL, Some(Stage::Rcpt)), Duration::ZERO);
    }

    #[test]
    fn without_a_clock_each_step_is_taken_to_last_as_long_as_it_may() {
        let mut patience = Patience::default();
        patience.begin();
        let mut sum = Duration::ZERO;
        for stage in [
            None,
            Some(Stage::Greeting),
            Some(Stage::Ehlo),
            Some(Stage::Helo),
            Some(Stage::Mail),
            Some(Stage::Rcpt),
        ] {
            let limit = patience.limit(TOTAL, stage);
            assert!(limit >= Duration::from_secs(30), "{stage:?}: {limit:?}");
            patience.step(limit);
            sum += limit;
        }
        assert_eq!(sum, TOTAL);
    }
}
