//! Pages and rounds, from the entries of the PAGE_DATA records.
//!
//! The stream does not mark its rounds. They are told apart by how the source makes them
//! (xg_sr_save.c, xc_sr_save.c before Xen 4.15): `send_dirty_pages` walks the pfns upwards, collects
//! them in batches of `MAX_BATCH_SIZE` (1024) and flushes what is left at the end of the round. So
//! a round has ended when a batch is not full, or, after a round of exactly whole batches, when the
//! pfn does not rise. Two rounds are taken for one only if the first is of whole batches and all
//! pfns of the second lie above it.
//!
//! Stop-and-copy is the last round: `send_memory_live` ends the pre-copy after at most five rounds,
//! or before when fewer than 50 pages are dirty (these it still sends as a round of their own; a
//! round without a dirty page leaves nothing in the stream), and
//! `suspend_and_send_dirty` sends one round more. A suspended guest always leaves dirty pages, its
//! stack and its page tables at least, so that round is never empty. A stream of `xl save` has one
//! round, with the guest suspended.

use std::collections::BTreeMap;

use super::parser::PAGE_BYTES;
use super::report::{PageKind, Round, StreamReport};

/// `MAX_BATCH_SIZE` of xg_save_restore.h.
const FULL_BATCH: u32 = 1024;

/// The pfns below this are counted: 16 GiB of memory.
const MOST_PFNS: u64 = 1 << 22;

/// The most rounds that are kept apart. Xen's own tools make six.
const MOST_ROUNDS: usize = 256;

/// How many pfns the report names.
const MOST_NAMED: usize = 16;

/// The most repeats that the report counts; a higher count is reported as this one.
const MOST_TIMES: usize = 16;

/// The most runs of pfns that are named for a round: enough for 64 MiB with gaps everywhere.
const MOST_PIECES: usize = 8192;

/// The counts; see the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The pfns with contents in each round, if asked for: first and last of each run.
    named: Option<Vec<Vec<(u64, u64)>>>,
    /// How often the contents of each pfn were sent.
    sent: Vec<u16>,
    pages: u64,
    empty: u64,
    verified: u64,
    by_kind: BTreeMap<PageKind, u64>,
    rounds: Vec<Round>,
    /// The last entry's pfn if its record was full: the round may go on.
    unfinished_at: Option<u64>,
    /// The entries of the record whose first entry is still to come.
    begun: Option<u32>,
    /// Whether the record that goes past is full.
    full: bool,
    /// Set once the source sends all pages again for comparison (`verify_frames`).
    verifying: bool,
}

impl Ledger {
    /// Keeps the pfns of each round from now on.
    pub(super) fn name_pfns(&mut self) {
        self.named = Some(Vec::new());
    }

    /// Returns how many rounds have begun.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Notes the head of a PAGE_DATA record with this many entries.
    pub(super) fn batch(&mut self, entries: u32) {
        self.begun = Some(entries);
    }

    /// Counts the next entry of the record.
    pub(super) fn entry(&mut self, pfn: u64, kind: PageKind, now_ms: f64) {
        if self.verifying {
            return;
        }
        if let Some(entries) = self.begun.take() {
            self.full = entries >= FULL_BATCH;
            self.begin_record(pfn, now_ms);
        }
        self.unfinished_at = self.full.then_some(pfn);
        *self.by_kind.entry(kind).or_default() += 1;
        if let Some(round) = self.rounds.last_mut() {
            round.entries += 1;
            round.bytes += 8;
            round.end_ms = now_ms;
        }
        if !kind.has_contents() {
            self.empty += 1;
            return;
        }
        self.name(pfn);
        if pfn < MOST_PFNS {
            let at = pfn as usize;
            if at >= self.sent.len() {
                self.sent.resize(at + 1, 0);
            }
            self.sent[at] = self.sent[at].saturating_add(1);
        }
    }

    /// Counts the contents of a page.
    pub(super) fn page(&mut self, now_ms: f64) {
        if self.verifying {
            self.verified += 1;
            return;
        }
        self.pages += 1;
        if let Some(round) = self.rounds.last_mut() {
            round.pages += 1;
            round.bytes += PAGE_BYTES;
            round.end_ms = now_ms;
        }
    }

    /// Notes that from now on pages are sent only for comparison.
    pub(super) fn verify(&mut self) {
        self.verifying = true;
    }

    /// Returns the page contents so far, without those for comparison.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Writes the counts into `report`.
    pub(super) fn fill(&self, report: &mut StreamReport) {
        report.pages_sent = self.pages;
        report.entries_empty = self.empty;
        report.pages_verified = self.verified;
        report.entries_by_kind = self.by_kind.clone();
        report.rounds = self.rounds.clone();
        report.round_pfns = self.named.clone().unwrap_or_default();
        let mut times = vec![0; MOST_TIMES];
        let mut often = Vec::new();
        for (pfn, &count) in self
            .sent
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            report.pages_distinct += 1;
            times[usize::from(count).min(MOST_TIMES) - 1] += 1;
            if count > 1 {
                often.push((pfn as u64, u32::from(count)));
            }
        }
        while times.last() == Some(&0) {
            times.pop();
        }
        report.sent_times = times;
        often.sort_by_key(|&(pfn, count)| (std::cmp::Reverse(count), pfn));
        often.truncate(MOST_NAMED);
        report.most_sent = often;
    }

    /// Notes that `pfn` is sent in the running round.
    fn name(&mut self, pfn: u64) {
        let rounds = self.rounds.len();
        let Some(named) = &mut self.named else { return };
        named.resize(rounds, Vec::new());
        let Some(round) = named.last_mut() else {
            return;
        };
        let room = round.len() < MOST_PIECES;
        match round.last_mut() {
            Some((_, last)) if *last + 1 == pfn => *last = pfn,
            _ if room => round.push((pfn, pfn)),
            _ => {}
        }
    }

    /// Counts a record whose first entry is `pfn`, in the running round or in a new one.
    fn begin_record(&mut self, pfn: u64, now_ms: f64) {
        let goes_on = self.unfinished_at.is_some_and(|last| pfn > last);
        if !goes_on && self.rounds.len() < MOST_ROUNDS {
            self.rounds.push(Round {
                start_ms: now_ms,
                end_ms: now_ms,
                ..Round::default()
            });
        }
        if let Some(round) = self.rounds.last_mut() {
            round.records += 1;
            // The record's own head and the batch's.
            round.bytes += 16;
        }
    }
}
