//! Puts the slots of a received packet together in a private buffer.
//!
//! Everything in a slot is only the backend's claim: ranges are checked against the page, sizes
//! against the largest packet possible, and a packet with any fault in it is dropped as a whole,
//! to the end of its chain of slots.

use alloc::vec::Vec;

use kernel::PAGE_SIZE;

use super::checksum::Trust;
use super::headers::ETHERNET;
use super::netif::{RxExtra, RxResponse, rx_flag};

/// Bytes of the largest frame: an unsegmented packet of 64 KiB less one byte, and its Ethernet
/// header.
pub(super) const MAX_FRAME: usize = 65535 + ETHERNET;

/// Why a received packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The backend reports an error for one of its slots.
    BackendError,
    /// A slot's data would lie outside its page.
    BadRange,
    /// The slots hold more bytes than the largest packet.
    TooLong,
    /// An extra info has a type that does not exist.
    BadExtra,
    /// There is no memory for a packet of this length.
    NoMemory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    First,
    Extra,
    Fragment,
}

/// A packet that is being put together.
pub(super) struct Assembler {
    frame: Vec<u8>,
    expect: Expect,
    /// Flags of the first slot.
    flags: u16,
    refused: Option<Refused>,
}

impl Assembler {
    pub(super) fn new() -> Self {
        Self {
            frame: Vec::new(),
            expect: Expect::First,
            flags: 0,
            refused: None,
        }
    }

    /// Whether the next slot holds extra info instead of a response.
    pub(super) fn expects_extra(&self) -> bool {
        self.expect == Expect::Extra
    }

    /// Takes a response; `copy` copies out of its page from the given offset. Returns the result if
    /// the slot was the packet's last; the packet is then in [`Self::frame`] until the next slot
    /// comes.
    pub(super) fn data(
        &mut self,
        response: RxResponse,
        copy: impl FnOnce(usize, &mut [u8]),
    ) -> Option<Result<Trust, Refused>> {
        if self.expect == Expect::First {
            self.frame.clear();
            self.flags = response.flags;
            self.refused = None;
        }
        if let Err(refused) = self.append(response, copy) {
            self.refused.get_or_insert(refused);
        }
        // Extra info belongs to the first slot; in other slots the flag has no meaning.
        if self.expect == Expect::First && response.flags & rx_flag::EXTRA_INFO != 0 {
            self.expect = Expect::Extra;
            return None;
        }
        self.go_on(response.flags & rx_flag::MORE_DATA != 0)
    }

    /// Takes a slot of extra info. Returns the result as [`Self::data`] does.
    pub(super) fn extra(&mut self, slot: [u8; 8]) -> Option<Result<Trust, Refused>> {
        let Some(extra) = RxExtra::decode(slot) else {
            self.refused.get_or_insert(Refused::BadExtra);
            return self.go_on(self.flags & rx_flag::MORE_DATA != 0);
        };
        if extra.more {
            return None;
        }
        self.go_on(self.flags & rx_flag::MORE_DATA != 0)
    }

    /// Returns the packet that the last slot completed.
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    fn append(
        &mut self,
        response: RxResponse,
        copy: impl FnOnce(usize, &mut [u8]),
    ) -> Result<(), Refused> {
        let len = usize::try_from(response.status).map_err(|_| Refused::BackendError)?;
        let offset = usize::from(response.offset);
        if offset + len > PAGE_SIZE {
            return Err(Refused::BadRange);
        }
        let at = self.frame.len();
        if at + len > MAX_FRAME {
            return Err(Refused::TooLong);
        }
        self.frame.try_reserve(len).map_err(|_| Refused::NoMemory)?;
        self.frame.resize(at + len, 0);
        copy(offset, &mut self.frame[at..]);
        Ok(())
    }

    fn go_on(&mut self, more: bool) -> Option<Result<Trust, Refused>> {
        if more {
            self.expect = Expect::Fragment;
            return None;
        }
        self.expect = Expect::First;
        let vouched = rx_flag::CSUM_BLANK | rx_flag::DATA_VALIDATED;
        Some(match self.refused {
            Some(refused) => Err(refused),
            None if self.flags & vouched != 0 => Ok(Trust::Vouched),
            None => Ok(Trust::Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GSO: [u8; 8] = [1, 0, 0xa8, 0x05, 1, 0, 0, 0];

    fn response(offset: u16, flags: u16, status: i16) -> RxResponse {
        RxResponse {
            id: 0,
            offset,
            flags,
            status,
        }
    }

    fn feed(assembler: &mut Assembler, slot: RxResponse) -> Option<Result<Trust, Refused>> {
        assembler.data(slot, |offset, into| into.fill(offset as u8))
    }

    #[test]
    fn one_slot() {
        let mut assembler = Assembler::new();
        let done = feed(&mut assembler, response(2, rx_flag::CSUM_BLANK, 60));
        assert_eq!(done, Some(Ok(Trust::Vouched)));
        assert_eq!(assembler.frame(), [2; 60]);
        assert_eq!(
            feed(&mut assembler, response(3, 0, 10)),
            Some(Ok(Trust::Unknown))
        );
        assert_eq!(assembler.frame(), [3; 10]);
    }

    #[test]
    fn fragments_and_extra_info() {
        let mut assembler = Assembler::new();
        let first = rx_flag::EXTRA_INFO | rx_flag::MORE_DATA | rx_flag::DATA_VALIDATED;
        assert_eq!(feed(&mut assembler, response(0, first, 4096)), None);
        assert!(assembler.expects_extra());
        let more = [4, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(assembler.extra(more), None);
        assert!(assembler.expects_extra());
        assert_eq!(assembler.extra(GSO), None);
        assert!(!assembler.expects_extra());
        let fragment = response(0, rx_flag::MORE_DATA, 4096);
        assert_eq!(feed(&mut assembler, fragment), None);
        let last = feed(&mut assembler, response(5, 0, 100));
        assert_eq!(last, Some(Ok(Trust::Vouched)));
        assert_eq!(assembler.frame().len(), 8292);
        assert_eq!(assembler.frame()[8192..], [5; 100]);
    }

    #[test]
    fn extra_info_can_end_a_packet() {
        let mut assembler = Assembler::new();
        assert_eq!(
            feed(&mut assembler, response(0, rx_flag::EXTRA_INFO, 100)),
            None
        );
        assert_eq!(assembler.extra(GSO), Some(Ok(Trust::Unknown)));
    }

    #[test]
    fn a_bad_slot_spoils_its_packet_and_no_other() {
        let bad = [
            (response(0, 0, -1), Refused::BackendError),
            (response(4000, 0, 97), Refused::BadRange),
            (response(65535, 0, i16::MAX), Refused::BadRange),
            (response(0, 0, 4097), Refused::BadRange),
        ];
        for (slot, refused) in bad {
            let mut assembler = Assembler::new();
            assert_eq!(
                feed(&mut assembler, response(0, rx_flag::MORE_DATA, 10)),
                None
            );
            let slot = RxResponse {
                flags: rx_flag::MORE_DATA,
                ..slot
            };
            assert_eq!(feed(&mut assembler, slot), None);
            assert_eq!(feed(&mut assembler, response(0, 0, 10)), Some(Err(refused)));
            assert_eq!(
                feed(&mut assembler, response(1, 0, 10)),
                Some(Ok(Trust::Unknown))
            );
            assert_eq!(assembler.frame(), [1; 10]);
        }
    }

    #[test]
    fn a_chain_without_end_takes_no_more_than_the_largest_frame() {
        let mut assembler = Assembler::new();
        for _ in 0..1000 {
            assert_eq!(
                feed(&mut assembler, response(0, rx_flag::MORE_DATA, 4096)),
                None
            );
            assert!(assembler.frame().len() <= MAX_FRAME);
        }
        assert_eq!(
            feed(&mut assembler, response(0, 0, 1)),
            Some(Err(Refused::TooLong))
        );
    }

    #[test]
    fn an_unknown_extra_spoils_the_packet() {
        let mut assembler = Assembler::new();
        let first = response(0, rx_flag::EXTRA_INFO | rx_flag::MORE_DATA, 10);
        assert_eq!(feed(&mut assembler, first), None);
        assert_eq!(assembler.extra([9; 8]), None);
        assert_eq!(
            feed(&mut assembler, response(0, 0, 10)),
            Some(Err(Refused::BadExtra))
        );
    }
}
