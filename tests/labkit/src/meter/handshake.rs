//! The target's answers to the source: fixed words, then one byte of status.
//!
//! The words are those of tools/xl/xl.h; the ones after the banner are sent with their closing
//! zero (tools/xl/xl_migrate.c, `migrate_receive`).

use super::report::Handshake;

const BANNER: &[u8] = b"xl migration receiver ready, send binary domain data.\n";
const READY: &[u8] = b"domain received, ready to unpause\0";
const REPORT: &[u8] = b"my copy unpause results are as follows\0";

/// Compares the target's bytes with the expected ones.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// How many bytes were as expected.
    taken: usize,
}

impl Answers {
    /// Takes the next bytes from the target and notes in `seen` which answers they complete.
    pub(super) fn push(&mut self, bytes: &[u8], now_ms: f64, seen: &mut Handshake) {
        for &byte in bytes {
            if seen.unexpected || seen.status.is_some() {
                // After a failure comes the source's permission to resume, which says nothing new.
                return;
            }
            let due = BANNER.iter().chain(READY).chain(REPORT).nth(self.taken);
            match due {
                None => seen.status = Some(byte),
                Some(&due) if due != byte => seen.unexpected = true,
                Some(_) => self.taken += 1,
            }
            let whole = |at: &mut Option<f64>, end: usize| {
                if at.is_none() && self.taken == end {
                    *at = Some(now_ms);
                }
            };
            whole(&mut seen.banner_ms, BANNER.len());
            whole(&mut seen.ready_ms, BANNER.len() + READY.len());
            whole(
                &mut seen.report_ms,
                BANNER.len() + READY.len() + REPORT.len(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, BANNER, READY, REPORT};
    use crate::meter::report::Handshake;

    fn whole() -> Vec<u8> {
        [BANNER, READY, REPORT, &[0]].concat()
    }

    #[test]
    fn a_good_target_byte_by_byte() {
        let (mut answers, mut seen) = (Answers::default(), Handshake::default());
        for (at, byte) in whole().iter().enumerate() {
            answers.push(&[*byte], at as f64, &mut seen);
        }
        assert_eq!(seen.banner_ms, Some(BANNER.len() as f64 - 1.0));
        assert_eq!(
            seen.ready_ms,
            Some((BANNER.len() + READY.len()) as f64 - 1.0)
        );
        assert_eq!(seen.status, Some(0));
        assert!(!seen.unexpected);
    }

    #[test]
    fn a_target_that_fails_to_start_the_domain() {
        let mut bytes = whole();
        *bytes.last_mut().expect("the status") = 3;
        bytes.extend(b"domain is yours, you are cleared to unpause\0");
        let (mut answers, mut seen) = (Answers::default(), Handshake::default());
        answers.push(&bytes, 1.0, &mut seen);
        assert_eq!(seen.status, Some(3));
        assert!(!seen.unexpected);
    }

    #[test]
    fn nonsense_is_noticed_and_nothing_after_it_counts() {
        let (mut answers, mut seen) = (Answers::default(), Handshake::default());
        answers.push(b"xl: command not found", 1.0, &mut seen);
        answers.push(&whole(), 2.0, &mut seen);
        assert!(seen.unexpected);
        assert_eq!(seen.banner_ms, None);
    }
}
