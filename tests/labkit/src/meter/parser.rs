//! Parses what a migration's source sends: bytes in any split become events.
//!
//! Layers, outermost first: xl's header and configuration (Xen's tools/xl/xl.h,
//! `struct save_file_header`), the libxl stream (docs/specs/libxl-migration-stream.pandoc, version
//! 2), inside its LIBXC_CONTEXT record the libxc stream (docs/specs/libxc-migration-stream.pandoc,
//! versions 2 and 3), and after libxl's END the source's word that the target may go on.
//!
//! A file of `xl save` is the same stream without the last word. The parser buffers at most
//! [`LARGEST_PIECE`] bytes. It reports once that it cannot parse the stream, and ignores the rest.

use super::report::PageKind;

/// The largest piece that is parsed as a whole: xl's header.
const LARGEST_PIECE: usize = 48;

/// Bytes of a page; streams with another page size cannot be parsed.
pub(super) const PAGE_BYTES: u64 = 4096;

/// `REC_LENGTH_MAX` of xc_sr_stream_format.h.
const LONGEST_RECORD: u32 = 128 << 20;

/// `savefileheader_magic` of xl.h.
const XL_MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";

/// `SAVEFILE_BYTEORDER_VALUE` of xl.h.
const XL_BYTE_ORDER: u32 = 0x0102_0304;

/// `PAGE_DATA_PFN_MASK` of xc_sr_stream_format.h.
const PFN_MASK: u64 = 0x000f_ffff_ffff_ffff;

/// libxl's record types (docs/specs/libxl-migration-stream.pandoc).
mod libxl {
    pub(super) const END: u32 = 0;
    pub(super) const LIBXC_CONTEXT: u32 = 1;
}

/// libxc's record types (docs/specs/libxc-migration-stream.pandoc).
pub(super) mod libxc {
    pub(in crate::meter) const END: u32 = 0x00;
    pub(in crate::meter) const PAGE_DATA: u32 = 0x01;
    pub(in crate::meter) const P2M_FRAMES: u32 = 0x03;
    pub(in crate::meter) const VERIFY: u32 = 0x0d;
}

/// Something seen in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// xl's header, before this many bytes of configuration.
    Config { bytes: u32 },
    /// The libxc stream begins, in this version of its specification.
    Image { version: u32 },
    /// The Xen that the domain comes from.
    Domain { xen_major: u32, xen_minor: u32 },
    /// The head of a libxc record.
    Record { kind: u32 },
    /// The size of the guest's pfn space, from X86_PV_P2M_FRAMES.
    PfnSpace { pages: u64 },
    /// The head of a PAGE_DATA record with this many entries.
    Batch { entries: u32 },
    /// One entry of it.
    Entry { pfn: u64, kind: PageKind },
    /// The end of one page's contents.
    Page,
    /// libxl's END: the domain is complete.
    End,
    /// A byte of the source's last word, after END.
    Word,
    /// The stream cannot be parsed; this is the last event.
    NotUnderstood(Confusion),
}

/// Why a stream cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confusion {
    /// It does not begin with xl's header.
    NotXl,
    /// xl's header is of the other byte order.
    XlByteOrder,
    /// No libxl stream of version 2, little-endian, after the configuration.
    NotLibxl,
    /// No libxc stream of version 2 or 3, little-endian, in LIBXC_CONTEXT.
    NotLibxc,
    /// A page size other than 4 KiB.
    PageSize,
    /// A record longer than any that Xen's tools write.
    LongRecord,
    /// A PAGE_DATA record whose length is not that of its entries and pages.
    PageData,
    /// A page type that the specification does not have.
    PageType,
    /// An X86_PV_P2M_FRAMES record too short for its header.
    PfnSpace,
}

/// What the next piece is.
#[derive(Clone, Copy, Debug)]
enum Expected {
    XlHeader,
    LibxlHeader,
    LibxlRecord,
    ImageHeader,
    DomainHeader,
    Record,
    P2mHeader {
        rest: u64,
    },
    BatchHeader {
        length: u64,
    },
    Entries {
        left: u32,
        with_data: u64,
        room: u64,
    },
    Contents {
        left: u64,
    },
    Word,
    Nothing,
}

impl Expected {
    fn bytes(self) -> usize {
        match self {
            Self::XlHeader => LARGEST_PIECE,
            Self::ImageHeader => 24,
            Self::LibxlHeader | Self::DomainHeader => 16,
            Self::LibxlRecord
            | Self::Record
            | Self::P2mHeader { .. }
            | Self::BatchHeader { .. }
            | Self::Entries { .. } => 8,
            Self::Word => 1,
            Self::Contents { .. } | Self::Nothing => 0,
        }
    }
}

/// The parser; see the module.
#[derive(Debug)]
pub(super) struct Parser {
    expected: Expected,
    piece: [u8; LARGEST_PIECE],
    filled: usize,
    /// Bytes to pass over before the next piece.
    skip: u64,
    offset: u64,
}

impl Parser {
    /// A parser at the first byte of a stream.
    pub(super) fn new() -> Self {
        Self {
            expected: Expected::XlHeader,
            piece: [0; LARGEST_PIECE],
            filled: 0,
            skip: 0,
            offset: 0,
        }
    }

    /// Takes the next bytes and hands each event to `sink`, with the offset in the stream right
    /// after the bytes that made it.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut sink: impl FnMut(u64, Event)) {
        loop {
            if matches!(self.expected, Expected::Nothing) {
                self.offset += bytes.len() as u64;
                return;
            }
            let skipped = self.skip.min(bytes.len() as u64) as usize;
            self.skip -= skipped as u64;
            self.offset += skipped as u64;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                return;
            }
            let wanted = self.expected.bytes();
            let taken = (wanted - self.filled).min(bytes.len());
            self.piece[self.filled..][..taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            self.offset += taken as u64;
            bytes = &bytes[taken..];
            if self.filled < wanted {
                return;
            }
            self.filled = 0;
            let offset = self.offset;
            if let Err(confusion) = self.step(&mut |event| sink(offset, event)) {
                sink(offset, Event::NotUnderstood(confusion));
                self.expected = Expected::Nothing;
            }
        }
    }

    /// Parses the complete piece and decides what comes next.
    fn step(&mut self, tell: &mut impl FnMut(Event)) -> Result<(), Confusion> {
        match self.expected {
            Expected::XlHeader => {
                if self.piece[..32] != XL_MAGIC[..] {
                    return Err(Confusion::NotXl);
                }
                if self.u32_at(32) != XL_BYTE_ORDER {
                    return Err(Confusion::XlByteOrder);
                }
                let bytes = self.u32_at(44);
                tell(Event::Config { bytes });
                self.next(u64::from(bytes), Expected::LibxlHeader);
            }
            Expected::LibxlHeader => {
                let [version, options] = [self.big_u32_at(8), self.big_u32_at(12)];
                if self.piece[..8] != *b"LibxlFmt" || version != 2 || options & 1 != 0 {
                    return Err(Confusion::NotLibxl);
                }
                self.next(0, Expected::LibxlRecord);
            }
            Expected::LibxlRecord => {
                let (kind, length) = self.record_head()?;
                match kind {
                    libxl::END => {
                        tell(Event::End);
                        self.next(padded(length), Expected::Word);
                    }
                    libxl::LIBXC_CONTEXT => self.next(padded(length), Expected::ImageHeader),
                    _ => self.next(padded(length), Expected::LibxlRecord),
                }
            }
            Expected::ImageHeader => {
                let version = self.big_u32_at(12);
                let little_endian = self.piece[17] & 1 == 0;
                let marked = self.piece[..8] == [0xff; 8] && self.piece[8..12] == *b"XENF";
                if !marked || !matches!(version, 2 | 3) || !little_endian {
                    return Err(Confusion::NotLibxc);
                }
                tell(Event::Image { version });
                self.next(0, Expected::DomainHeader);
            }
            Expected::DomainHeader => {
                if u16::from_le_bytes([self.piece[4], self.piece[5]]) != 12 {
                    return Err(Confusion::PageSize);
                }
                tell(Event::Domain {
                    xen_major: self.u32_at(8),
                    xen_minor: self.u32_at(12),
                });
                self.next(0, Expected::Record);
            }
            Expected::Record => self.record(tell)?,
            Expected::P2mHeader { rest } => {
                let pages = u64::from(self.u32_at(4)) + 1;
                tell(Event::PfnSpace { pages });
                self.next(rest, Expected::Record);
            }
            Expected::BatchHeader { length } => {
                let left = self.u32_at(0);
                let room = length.checked_sub(8 + 8 * u64::from(left));
                let room = room.filter(|_| left > 0).ok_or(Confusion::PageData)?;
                tell(Event::Batch { entries: left });
                let with_data = 0;
                self.next(
                    0,
                    Expected::Entries {
                        left,
                        with_data,
                        room,
                    },
                );
            }
            Expected::Entries {
                left,
                mut with_data,
                room,
            } => {
                let entry = u64::from(self.u32_at(0)) | u64::from(self.u32_at(4)) << 32;
                let kind = PageKind::of_bits((entry >> 60) as u8).ok_or(Confusion::PageType)?;
                let pfn = entry & PFN_MASK;
                tell(Event::Entry { pfn, kind });
                with_data += u64::from(kind.has_contents());
                let left = left - 1;
                if left > 0 {
                    self.next(
                        0,
                        Expected::Entries {
                            left,
                            with_data,
                            room,
                        },
                    );
                } else if with_data * PAGE_BYTES == room {
                    self.contents(with_data);
                } else {
                    return Err(Confusion::PageData);
                }
            }
            Expected::Contents { left } => {
                tell(Event::Page);
                self.contents(left - 1);
            }
            Expected::Word => tell(Event::Word),
            Expected::Nothing => {}
        }
        Ok(())
    }

    fn record(&mut self, tell: &mut impl FnMut(Event)) -> Result<(), Confusion> {
        let (kind, length) = self.record_head()?;
        tell(Event::Record { kind });
        match kind {
            // Back in the libxl stream.
            libxc::END => self.next(padded(length), Expected::LibxlRecord),
            libxc::PAGE_DATA if length < 8 => return Err(Confusion::PageData),
            libxc::PAGE_DATA => {
                let length = u64::from(length);
                self.next(0, Expected::BatchHeader { length });
            }
            libxc::P2M_FRAMES if length < 8 => return Err(Confusion::PfnSpace),
            libxc::P2M_FRAMES => {
                let rest = padded(length) - 8;
                self.next(0, Expected::P2mHeader { rest });
            }
            _ => self.next(padded(length), Expected::Record),
        }
        Ok(())
    }

    /// Expects the contents of `left` more pages. A PAGE_DATA record needs no padding: all its
    /// parts are multiples of 8 bytes.
    fn contents(&mut self, left: u64) {
        if left > 0 {
            self.next(PAGE_BYTES, Expected::Contents { left });
        } else {
            self.next(0, Expected::Record);
        }
    }

    fn next(&mut self, skip: u64, expected: Expected) {
        self.skip = skip;
        self.expected = expected;
    }

    /// Type and length of a record of either layer.
    fn record_head(&self) -> Result<(u32, u32), Confusion> {
        match (self.u32_at(0), self.u32_at(4)) {
            (_, LONGEST_RECORD..) => Err(Confusion::LongRecord),
            head => Ok(head),
        }
    }

    fn four_at(&self, at: usize) -> [u8; 4] {
        let piece = &self.piece;
        [piece[at], piece[at + 1], piece[at + 2], piece[at + 3]]
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.four_at(at))
    }

    fn big_u32_at(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.four_at(at))
    }
}

/// A record's body with its padding.
fn padded(length: u32) -> u64 {
    u64::from(length).next_multiple_of(8)
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
