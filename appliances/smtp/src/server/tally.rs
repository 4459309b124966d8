//! Counting what a client does without getting a mail through.
//!
//! A client that only keeps its place, or tries out names, is first slowed down and then told to
//! go (RFC 5321 7.8 and 4.2.5 leave both to the server).

use crate::config::Config;

/// The counts of one session.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    bad: u32,
    idle: u32,
    refused: u32,
}

impl Tally {
    /// Counts a bad command; returns whether it is the last one.
    pub(crate) fn bad(&mut self, config: &Config) -> bool {
        self.bad = self.bad.saturating_add(1);
        reached(self.bad, config.max_bad_commands)
    }

    /// Counts a command that no mail has come of; returns whether it is one too many.
    pub(crate) fn idle(&mut self, config: &Config) -> bool {
        let spent = reached(self.idle, config.max_idle_commands);
        self.idle = self.idle.saturating_add(1);
        spent
    }

    /// Counts a refused recipient.
    pub(crate) fn refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// Whether there were too many refused recipients for another one.
    pub(crate) fn has_too_many_refused(&self, config: &Config) -> bool {
        reached(self.refused, config.max_refused_recipients)
    }

    /// Takes note that the next hop has taken a mail.
    pub(crate) fn delivered(&mut self) {
        self.idle = 0;
        self.refused = 0;
    }

    /// Whether one of the counts has come half the way to its limit.
    pub(crate) fn is_slow(&self, config: &Config) -> bool {
        let half = |count: u32, limit: u32| limit > 0 && count > limit / 2;
        half(self.bad, config.max_bad_commands)
            || half(self.idle, config.max_idle_commands)
            || half(self.refused, config.max_refused_recipients)
    }
}

fn reached(count: u32, limit: u32) -> bool {
    limit > 0 && count >= limit
}
