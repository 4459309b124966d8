//! Finds outages in a log of pings.

use std::time::Duration;

/// A reply that takes longer than this is late: the guest was held up. A reply takes a tenth of a
/// millisecond, or some milliseconds on a busy emulated machine.
pub const LATE: Duration = Duration::from_millis(50);

/// One ping. Times count from the probe's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// When it was sent.
    pub sent: Duration,
    /// When its answer came, if one did.
    pub answered: Option<Duration>,
}

/// A time without replies as the client sees it: from the first request without a timely reply to
/// the next reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When the first request without a timely reply was sent.
    pub begin: Duration,
    /// When the next reply came; `None` if none came before the log's end.
    pub end: Option<Duration>,
    /// How many requests sent in this time were never answered.
    pub lost: usize,
}

impl Outage {
    /// Returns its length in milliseconds; `None` if it had no end.
    pub fn ms(&self) -> Option<f64> {
        Some((self.end? - self.begin).as_secs_f64() * 1000.0)
    }
}

impl Ping {
    fn in_time(self) -> bool {
        self.answered.is_some_and(|at| at <= self.sent + LATE)
    }
}

/// Finds the outages in `log`, which is in the order of sending. Requests sent less than [`LATE`]
/// before `end` may still be answered and are left out.
pub fn outages(log: &[Ping], end: Duration) -> Vec<Outage> {
    let judged = log.partition_point(|ping| ping.sent + LATE <= end);
    let log = &log[..judged];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = log[at..].iter().position(|ping| !ping.in_time()) {
        let rest = &log[at + first..];
        let begin = rest[0].sent;
        // Replies to later requests may overtake a held one, so the earliest of all counts.
        let answer = rest.iter().filter_map(|ping| ping.answered).min();
        let length = match answer {
            Some(answer) => rest.partition_point(|ping| ping.sent < answer),
            None => rest.len(),
        };
        found.push(Outage {
            begin,
            end: answer,
            lost: rest[..length]
                .iter()
                .filter(|ping| ping.answered.is_none())
                .count(),
        });
        // At least the missing request itself lies before the reply.
        at += first + length.max(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Ping, outages};
    use std::time::Duration;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Pings every 5 ms for a second; `answer` gives the answer's delay in milliseconds.
    fn log(answer: fn(u64) -> Option<u64>) -> Vec<Ping> {
        let ping = |sent| Ping {
            sent: ms(sent),
            answered: answer(sent).map(|delay| ms(sent + delay)),
        };
        (0..1000).step_by(5).map(ping).collect()
    }

    fn seen(answer: fn(u64) -> Option<u64>) -> Vec<(u128, Option<u128>, usize)> {
        let found = outages(&log(answer), ms(1000));
        let numbers = found.iter().map(|outage| {
            let end = outage.end.map(|end| end.as_millis());
            (outage.begin.as_millis(), end, outage.lost)
        });
        numbers.collect()
    }

    #[test]
    fn no_outage_while_answers_are_in_time() {
        assert_eq!(seen(|sent| Some(1 + sent % 40)), []);
    }

    #[test]
    fn lost_requests_are_an_outage_from_the_first_to_the_next_answer() {
        let gap = |sent| (!(200..410).contains(&sent)).then_some(1);
        assert_eq!(seen(gap), [(200, Some(411), 42)]);
        let single = |sent| (sent != 300).then_some(1);
        assert_eq!(seen(single), [(300, Some(306), 1)]);
    }

    #[test]
    fn held_requests_count_until_they_are_answered() {
        // The guest stands still from 200 to 400 and answers everything then.
        let held = |sent| {
            Some(if (200..400).contains(&sent) {
                400 - sent
            } else {
                1
            })
        };
        assert_eq!(seen(held), [(200, Some(400), 0)]);
    }

    #[test]
    fn two_outages_are_two_and_an_open_one_has_no_end() {
        let twice = |sent| match sent {
            100..200 | 500.. => None,
            _ => Some(1),
        };
        assert_eq!(seen(twice), [(100, Some(201), 20), (500, None, 91)]);
    }

    #[test]
    fn what_may_still_be_answered_is_not_judged() {
        assert_eq!(seen(|sent| (sent < 955).then_some(1)), []);
    }
}
