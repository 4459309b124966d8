//! The meter's report about a stream. Times are milliseconds since the meter's start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A migration stream in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// How it ended.
    pub ended: Ended,
    /// Whether libxl's END was seen: the whole domain has been sent.
    pub complete: bool,
    /// Why and at which byte the stream could no longer be parsed. The counts end there.
    pub not_understood: Option<String>,
    /// The meter's start, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How long it ran.
    pub took_ms: f64,
    /// The Xen that the domain comes from, as `4.14`.
    pub xen: Option<String>,
    /// The version of the libxc stream.
    pub stream_version: Option<u32>,
    /// Bytes from the source to the target that were passed on.
    pub bytes: u64,
    /// Bytes from the target to the source.
    pub bytes_back: u64,
    /// Bytes of xl's configuration of the domain, part of `bytes`.
    pub config_bytes: u64,
    /// The size of the guest's pfn space in pages, V_mem, which the stream of a PV guest has.
    pub v_mem_pages: Option<u64>,
    /// Page contents sent, repeats included: V_mig.
    pub pages_sent: u64,
    /// How many different pfns these were.
    pub pages_distinct: u64,
    /// Entries without contents: the pfn had no page, or its page could not be sent at that moment.
    pub entries_empty: u64,
    /// Page contents that `--debug` sent only for comparison; not in any other count.
    pub pages_verified: u64,
    /// Entries by page type, without those for comparison.
    pub entries_by_kind: BTreeMap<PageKind, u64>,
    /// Records of the libxc stream by type, as hexadecimal numbers.
    pub records: BTreeMap<String, u64>,
    /// The rounds. The last one of a complete stream is the stop-and-copy round.
    pub rounds: Vec<Round>,
    /// The pfns of each round, first and last of each run, if the meter was asked for them.
    #[serde(default)]
    pub round_pfns: Vec<Vec<(u64, u64)>>,
    /// How many pfns were sent once, twice, and so on; the first number is for once.
    pub sent_times: Vec<u64>,
    /// The pfns sent most often, with their counts, the most frequent first.
    pub most_sent: Vec<(u64, u32)>,
    /// What was sent in each tenth of a second; empty ones are left out.
    pub timeline: Vec<Slot>,
    /// xl's words before and after the stream.
    pub handshake: Handshake,
}

impl StreamReport {
    /// Returns the round during which the domain was suspended, if the stream is complete.
    pub fn stop_and_copy(&self) -> Option<&Round> {
        self.rounds.last().filter(|_| self.complete)
    }

    /// Returns how many of the pages `wanted` were sent in each round. `wanted` has the first and
    /// last pfn of each run, without overlaps. The result is empty if the meter was not asked for
    /// pfns.
    pub fn sent_of(&self, wanted: &[(u64, u64)]) -> Vec<u64> {
        let both =
            |&(a, b): &(u64, u64), &(c, d): &(u64, u64)| (b.min(d) + 1).saturating_sub(a.max(c));
        let in_round = |round: &Vec<(u64, u64)>| {
            let pairs = round
                .iter()
                .flat_map(|sent| wanted.iter().map(move |w| both(sent, w)));
            pairs.sum()
        };
        self.round_pfns.iter().map(in_round).collect()
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The target reported how the start of the domain went ([`Handshake::status`]).
    Answered,
    /// The source closed it before that.
    #[default]
    BySource,
    /// The target closed it before that, or ended.
    ByTarget,
    /// The meter cut it, as told.
    ByCut,
}

/// One pass over the guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The time of its first entry.
    pub start_ms: f64,
    /// The time of its last entry or page.
    pub end_ms: f64,
    /// Its entries, with and without contents.
    pub entries: u64,
    /// The page contents in it.
    pub pages: u64,
    /// Its PAGE_DATA records.
    pub records: u64,
    /// The bytes of these records.
    pub bytes: u64,
}

/// A tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// When it begins.
    pub start_ms: u64,
    /// Bytes from the source.
    pub bytes: u64,
    /// Page contents.
    pub pages: u64,
}

/// When each word of tools/xl/xl_migrate.c was complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handshake {
    /// The target's banner: it waits for the stream.
    pub banner_ms: Option<f64>,
    /// The target has the whole domain.
    pub ready_ms: Option<f64>,
    /// The source's first byte of permission to start it.
    pub go_ms: Option<f64>,
    /// The target has started the domain, or failed to.
    pub report_ms: Option<f64>,
    /// xl's code for that: 0 when the domain runs.
    pub status: Option<u8>,
    /// Whether the target sent something else.
    pub unexpected: bool,
}

/// The type of a page in a PAGE_DATA record, `XEN_DOMCTL_PFINFO_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// A page of data.
    Normal,
    /// A page table of level 1, not pinned.
    L1,
    /// A page table of level 2, not pinned.
    L2,
    /// A page table of level 3, not pinned.
    L3,
    /// A page table of level 4, not pinned.
    L4,
    /// A pinned page table of level 1.
    L1Pinned,
    /// A pinned page table of level 2.
    L2Pinned,
    /// A pinned page table of level 3.
    L3Pinned,
    /// A pinned page table of level 4.
    L4Pinned,
    /// A page with a hardware error.
    Broken,
    /// A page to be allocated, whose contents do not matter.
    AllocateOnly,
    /// No page at this pfn, or one that could not be read at that moment.
    Invalid,
}

impl PageKind {
    /// Decodes a type from its four bits; returns `None` for a reserved value.
    pub(super) fn of_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Normal,
            0x1 => Self::L1,
            0x2 => Self::L2,
            0x3 => Self::L3,
            0x4 => Self::L4,
            0x9 => Self::L1Pinned,
            0xa => Self::L2Pinned,
            0xb => Self::L3Pinned,
            0xc => Self::L4Pinned,
            0xd => Self::Broken,
            0xe => Self::AllocateOnly,
            0xf => Self::Invalid,
            _ => return None,
        })
    }

    /// Whether the record holds the page's contents.
    pub(super) fn has_contents(self) -> bool {
        !matches!(self, Self::Broken | Self::AllocateOnly | Self::Invalid)
    }
}
