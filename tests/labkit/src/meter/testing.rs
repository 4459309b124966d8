//! Hand-made migration streams.

use super::report::PageKind;

/// What a source says last (tools/xl/xl.h, `migrate_permission_to_go`).
pub(super) const WORD: &[u8] = b"domain is yours, you are cleared to unpause\0";

/// A stream in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream(pub(super) Vec<u8>);

impl Stream {
    /// xl's header and `config` bytes of configuration.
    pub(super) fn xl(mut self, config: usize) -> Self {
        self.0.extend(b"Xen saved domain, xl format\n \0 \r");
        for word in [0x0102_0304, 3, 0, config as u32] {
            self.little(word);
        }
        self.0.resize(self.0.len() + config, b'{');
        self
    }

    /// libxl's header and the record that leads to the libxc stream, with its headers.
    pub(super) fn headers(mut self, version: u32) -> Self {
        self.0.extend(b"LibxlFmt");
        for word in [2, 0] {
            self.0.extend(u32::to_be_bytes(word));
        }
        self = self.record(1, &[]);
        self.0.extend([0xff; 8]);
        self.0.extend(b"XENF");
        self.0.extend(version.to_be_bytes());
        self.0.extend([0; 8]);
        for word in [1, 12, 4, 14] {
            self.little(word);
        }
        self
    }

    /// A record of either layer, padded.
    pub(super) fn record(mut self, kind: u32, body: &[u8]) -> Self {
        self.little(kind);
        self.little(body.len() as u32);
        self.0.extend(body);
        let padding = body.len().next_multiple_of(8) - body.len();
        self.0.resize(self.0.len() + padding, 0);
        self
    }

    /// X86_PV_P2M_FRAMES for pfns up to `last`.
    pub(super) fn p2m(self, last: u32) -> Self {
        let frames = last as usize / 512 + 1;
        let mut body = [0, last].map(u32::to_le_bytes).concat();
        body.resize(8 + 8 * frames, 1);
        self.record(3, &body)
    }

    /// PAGE_DATA for these pfns, all of `kind`.
    pub(super) fn pages(self, pfns: impl IntoIterator<Item = u64>, kind: PageKind) -> Self {
        let bits = (0..16).find(|&bits| PageKind::of_bits(bits) == Some(kind));
        let top = u64::from(bits.expect("every type has bits")) << 60;
        let pfns: Vec<u64> = pfns.into_iter().collect();
        let mut body = Vec::new();
        body.extend((pfns.len() as u64).to_le_bytes());
        for pfn in &pfns {
            body.extend((pfn | top).to_le_bytes());
        }
        if kind.has_contents() {
            body.resize(body.len() + 4096 * pfns.len(), 0xa5);
        }
        self.record(1, &body)
    }

    /// Both ENDs and the source's word.
    pub(super) fn end(self) -> Self {
        // Something of libxl's own stands between: EMULATOR_XENSTORE_DATA.
        let mut stream = self.record(0, &[]).record(2, b"emulator").record(0, &[]);
        stream.0.extend(WORD);
        stream
    }

    /// The guest's other state, and the end.
    fn closing(self) -> Self {
        self.record(8, &[0; 24])
            .record(7, &[0; 4096])
            .record(4, &[0; 21])
            .end()
    }

    fn little(&mut self, word: u32) {
        self.0.extend(word.to_le_bytes());
    }
}

/// A guest of 2000 pfns, 1900 of them with pages: two batches, a round of 60 pages, stop-and-copy
/// of 5; 1965 pages in all.
pub(super) fn migration() -> Stream {
    opening(333, 1999)
        .pages(0..1024, PageKind::Normal)
        .pages(1024..1900, PageKind::Normal)
        .pages(100..160, PageKind::L1)
        .pages([3, 7, 100, 101, 1899], PageKind::Normal)
        .closing()
}

/// The same with 40 pfns and 27 pages, for tests that take it apart in many ways.
pub(super) fn small_migration() -> Stream {
    opening(21, 39)
        .pages(0..20, PageKind::Normal)
        .pages([5, 6], PageKind::L1)
        .pages([3, 7, 10, 11, 19], PageKind::Normal)
        .closing()
}

fn opening(config: usize, last_pfn: u32) -> Stream {
    Stream::default()
        .xl(config)
        .headers(3)
        .record(2, &[8, 4, 0, 0, 0, 0, 0, 0])
        .record(0x10, &[])
        .p2m(last_pfn)
}
