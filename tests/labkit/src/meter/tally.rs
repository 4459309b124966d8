//! The meter's state for one stream, with the point at which to cut it.

use std::collections::BTreeMap;

use super::handshake::Answers;
use super::ledger::Ledger;
use super::parser::{Confusion, Event, Parser, libxc};
use super::report::{Ended, Slot, StreamReport};

/// The width of a slot of the time line.
const SLOT_MS: u64 = 100;

/// The most slots, for ten minutes; later bytes are added to the last one.
const MOST_SLOTS: usize = 6000;

/// The most types of records that are told apart. Xen has 19.
const MOST_KINDS: usize = 64;

/// Where to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// After this many bytes.
    Byte(u64),
    /// After the contents of this many pages.
    Page(u64),
}

/// The state; see the module.
#[derive(Debug)]
pub(super) struct Tally {
    parser: Parser,
    ledger: Ledger,
    answers: Answers,
    report: StreamReport,
    kinds: BTreeMap<u32, u64>,
    cut: Option<Cut>,
}

impl Tally {
    /// The tally of a stream that has not begun.
    pub(super) fn new(cut: Option<Cut>) -> Self {
        Self {
            parser: Parser::new(),
            ledger: Ledger::default(),
            answers: Answers::default(),
            report: StreamReport::default(),
            kinds: BTreeMap::new(),
            cut,
        }
    }

    /// The same tally, with the pfns of each round in its report.
    pub(super) fn naming_pfns(mut self) -> Self {
        self.ledger.name_pfns();
        self
    }

    /// Returns how many rounds have begun.
    pub(super) fn rounds(&self) -> usize {
        self.ledger.rounds()
    }

    /// Takes the next bytes from the source. Returns how many of them to pass on: fewer than all if
    /// the stream is to be cut there.
    pub(super) fn forward(&mut self, bytes: &[u8], now_ms: f64) -> usize {
        let before = self.report.bytes;
        let pages_before = self.ledger.pages();
        let whole = before + bytes.len() as u64;
        let mut cut_at = match self.cut {
            Some(Cut::Byte(at)) if at < whole => Some(at.max(before)),
            _ => None,
        };
        let page_cut = match self.cut {
            Some(Cut::Page(count)) => count,
            _ => u64::MAX,
        };
        let Self {
            parser,
            ledger,
            report,
            kinds,
            ..
        } = self;
        parser.push(bytes, |offset, event| match event {
            Event::Config { bytes } => report.config_bytes = u64::from(bytes),
            Event::Image { version } => report.stream_version = Some(version),
            Event::Domain {
                xen_major,
                xen_minor,
            } => {
                report.xen = Some(format!("{xen_major}.{xen_minor}"));
            }
            Event::Record { kind } => {
                if kinds.len() < MOST_KINDS || kinds.contains_key(&kind) {
                    *kinds.entry(kind).or_default() += 1;
                }
                if kind == libxc::VERIFY {
                    ledger.verify();
                }
            }
            Event::PfnSpace { pages } => report.v_mem_pages = Some(pages),
            Event::Batch { entries } => ledger.batch(entries),
            Event::Entry { pfn, kind } => ledger.entry(pfn, kind, now_ms),
            Event::Page => {
                ledger.page(now_ms);
                if cut_at.is_none() && ledger.pages() >= page_cut {
                    cut_at = Some(offset);
                }
            }
            Event::End => report.complete = true,
            Event::Word if report.handshake.go_ms.is_none() => {
                report.handshake.go_ms = Some(now_ms);
            }
            Event::Word => {}
            Event::NotUnderstood(confusion) => {
                report.not_understood = Some(complaint(confusion, offset));
            }
        });
        let passed = cut_at.map_or(whole, |at| at.min(whole)) - before;
        report.bytes += passed;
        let pages = ledger.pages() - pages_before;
        slot(&mut report.timeline, now_ms, passed, pages);
        passed as usize
    }

    /// Takes the next bytes from the target.
    pub(super) fn back(&mut self, bytes: &[u8], now_ms: f64) {
        self.report.bytes_back += bytes.len() as u64;
        self.answers.push(bytes, now_ms, &mut self.report.handshake);
    }

    /// Returns the bytes passed on and the page contents in them, so far.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.report.bytes, self.ledger.pages())
    }

    /// Returns the report about a stream that ends now.
    pub(super) fn report(&self, ended: Ended, started_unix_ms: u64, took_ms: f64) -> StreamReport {
        let answered = self.report.handshake.status.is_some();
        let mut report = StreamReport {
            ended: if answered { Ended::Answered } else { ended },
            started_unix_ms,
            took_ms,
            ..self.report.clone()
        };
        report.records = self
            .kinds
            .iter()
            .map(|(kind, count)| (format!("{kind:#04x}"), *count))
            .collect();
        self.ledger.fill(&mut report);
        report
    }
}

fn complaint(confusion: Confusion, offset: u64) -> String {
    let what = match confusion {
        Confusion::NotXl => "no header of xl",
        Confusion::XlByteOrder => "xl's header is of the other byte order",
        Confusion::NotLibxl => "no libxl stream of version 2",
        Confusion::NotLibxc => "no libxc stream of version 2 or 3",
        Confusion::PageSize => "pages are not of 4 KiB",
        Confusion::LongRecord => "a record that is too long",
        Confusion::PageData => "a PAGE_DATA record of the wrong length",
        Confusion::PageType => "a reserved page type",
        Confusion::PfnSpace => "an X86_PV_P2M_FRAMES record that is too short",
    };
    format!("{what}, before byte {offset}")
}

fn slot(timeline: &mut Vec<Slot>, now_ms: f64, bytes: u64, pages: u64) {
    let start_ms = now_ms as u64 / SLOT_MS * SLOT_MS;
    let full = timeline.len() >= MOST_SLOTS;
    match timeline.last_mut() {
        Some(slot) if full || slot.start_ms >= start_ms => {
            slot.bytes += bytes;
            slot.pages += pages;
        }
        _ => timeline.push(Slot {
            start_ms,
            bytes,
            pages,
        }),
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
