//! The transmit ring: frames are copied into granted pages, which are reused once the backend has
//! answered.

use alloc::vec::Vec;

use kernel::PAGE_SIZE;
use kernel::ring::FrontRing;

use super::Violation;
use super::netif::{
    MAX_SLOTS, MAX_TX_SIZE, RSP_NULL, RSP_OKAY, TxRequest, TxResponse, encode_gso_tcpv4, tx_flag,
};
use super::pages::{Backend, Granted, PageError};
use super::statistics::LinkStatistics;

/// Pages that the largest frame takes.
pub(super) const MAX_PAGES: usize = MAX_TX_SIZE.div_ceil(PAGE_SIZE);

// Every backend must accept what we send.
const _: () = assert!(MAX_PAGES <= MAX_SLOTS);

/// What the backend is to do with a frame's checksum and size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offload {
    /// Complete the checksum, of which the field holds only the pseudo-header's sum.
    pub(super) checksum: bool,
    /// Cut the frame, which is TCP over IPv4, into segments with this many bytes of payload.
    pub(super) segment: Option<u16>,
}

/// The part of a frame in one page, until the backend answers for it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    number: u64,
    len: usize,
    /// In the first piece of a frame: the length of the whole frame, and its segment size.
    head: Option<(usize, Option<u16>)>,
}

/// A frame that the backend has not answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub(super) frame: Vec<u8>,
    /// See [`Offload::segment`].
    pub(super) segment: Option<u16>,
}

/// The transmitting half of a connection.
pub(super) struct Transmitter<P: Granted> {
    ring: FrontRing<P, 12, 4>,
    /// Indexed by the id of a page's requests.
    pages: Vec<P>,
    free: Vec<u16>,
    /// The piece in each page that the backend has.
    sent: Vec<Option<Piece>>,
    /// The number of the next piece; pieces are numbered in the order in which they are queued.
    next_piece: u64,
    /// Slots of extra info that are not answered yet.
    extras: u32,
    max_pages: usize,
    /// Pages, and also slots, that must be free for [`Self::room`].
    reserve: usize,
    unpublished: bool,
}

impl<P: Granted> Transmitter<P> {
    /// Makes a ring for `backend`, and grants it pages as they are needed, at most `max_pages`.
    /// There is room for the next frame if `reserve` pages are free.
    pub(super) fn new(
        backend: &mut impl Backend<Page = P>,
        max_pages: usize,
        reserve: usize,
    ) -> Result<Self, PageError> {
        let ring = FrontRing::new(backend.page(true)?);
        let capacity = ring.capacity() as usize;
        let mut transmitter = Self {
            ring,
            pages: Vec::new(),
            free: Vec::new(),
            sent: Vec::new(),
            next_piece: 0,
            extras: 0,
            max_pages: max_pages.clamp(reserve, capacity),
            reserve,
            unpublished: false,
        };
        // Without room for one frame of any size the device would never send.
        transmitter.grow(backend, reserve)?;
        Ok(transmitter)
    }

    /// Sets how many pages, and slots, must be free for the next frame; missing pages are granted
    /// when they are needed.
    pub(super) fn set_reserve(&mut self, reserve: usize) {
        self.reserve = reserve;
        self.max_pages = self.max_pages.max(reserve);
    }

    /// Returns the grant reference of the ring itself.
    pub(super) fn ring_reference(&self) -> u32 {
        self.ring.page().reference()
    }

    fn grow(
        &mut self,
        backend: &mut impl Backend<Page = P>,
        count: usize,
    ) -> Result<(), PageError> {
        for _ in 0..count {
            self.pages.push(backend.page(false)?);
            self.free.push((self.pages.len() - 1) as u16);
            self.sent.push(None);
        }
        Ok(())
    }

    /// Whether a frame of any size can be sent now. To that end takes back pages that the backend
    /// has answered for, and grants more if that is not enough.
    pub(super) fn room(
        &mut self,
        backend: &mut impl Backend<Page = P>,
        statistics: &mut LinkStatistics,
    ) -> Result<bool, Violation> {
        if !self.has_room() {
            self.reap(statistics)?;
        }
        if self.free.len() < self.reserve && self.pages.len() < self.max_pages {
            let more = (self.max_pages - self.pages.len()).min(self.reserve);
            if self.grow(backend, more).is_err() {
                self.max_pages = self.pages.len();
            }
        }
        Ok(self.has_room())
    }

    /// Whether the next frame may have to wait for the backend.
    pub(super) fn is_full(&self) -> bool {
        !self.has_room()
    }

    fn has_room(&self) -> bool {
        self.free.len() >= self.reserve && self.ring.free_requests() as usize > self.reserve
    }

    /// Queues a frame. Returns false, and queues nothing, if it is empty or too long, or if there
    /// is no room.
    pub(super) fn send(&mut self, frame: &[u8], offload: Offload) -> bool {
        let pages = frame.len().div_ceil(PAGE_SIZE);
        let slots = pages + usize::from(offload.segment.is_some());
        if frame.is_empty()
            || frame.len() > MAX_TX_SIZE
            || pages > self.free.len()
            || slots > self.ring.free_requests() as usize
        {
            return false;
        }
        for (index, piece) in frame.chunks(PAGE_SIZE).enumerate() {
            // Counted above.
            let Some(id) = self.free.pop() else {
                return false;
            };
            let page = &self.pages[usize::from(id)];
            page.write(0, piece);
            let mut flags = 0;
            if index + 1 < pages {
                flags |= tx_flag::MORE_DATA;
            }
            if index == 0 && offload.checksum {
                flags |= tx_flag::CSUM_BLANK | tx_flag::DATA_VALIDATED;
            }
            if index == 0 && offload.segment.is_some() {
                flags |= tx_flag::EXTRA_INFO;
            }
            let size = if index == 0 { frame.len() } else { piece.len() };
            let request = TxRequest {
                gref: page.reference(),
                offset: 0,
                flags,
                id,
                size: size as u16,
            };
            self.sent[usize::from(id)] = Some(Piece {
                number: self.next_piece,
                len: piece.len(),
                head: (index == 0).then_some((frame.len(), offload.segment)),
            });
            self.next_piece += 1;
            self.ring.push(&request.encode());
            if index == 0
                && let Some(mss) = offload.segment
            {
                self.ring.push(&encode_gso_tcpv4(mss));
                self.extras += 1;
            }
        }
        self.unpublished = true;
        true
    }

    /// Takes back the pages that the backend has answered for.
    pub(super) fn reap(&mut self, statistics: &mut LinkStatistics) -> Result<(), Violation> {
        // Ends after as many responses as the ring holds: no requests are made meanwhile.
        while let Some(slot) = self.ring.pop().map_err(|_| Violation::TransmitOverrun)? {
            let response = TxResponse::decode(slot);
            if response.status == RSP_NULL {
                self.extras = self.extras.checked_sub(1).ok_or(Violation::TransmitExtra)?;
                continue;
            }
            let piece = self.sent.get_mut(usize::from(response.id));
            if piece.and_then(Option::take).is_none() {
                return Err(Violation::TransmitId);
            }
            self.free.push(response.id);
            if response.status != RSP_OKAY {
                statistics.tx_refused_by_backend += 1;
            }
        }
        Ok(())
    }

    /// Returns the frames that the backend has not answered for, oldest first. A frame that it has
    /// answered for in part is left out: the backend has seen all of it.
    pub(super) fn unanswered(&self) -> Vec<Unanswered> {
        let mut pieces: Vec<_> = self
            .sent
            .iter()
            .zip(&self.pages)
            .filter_map(|(piece, page)| piece.map(|piece| (piece, page)))
            .collect();
        pieces.sort_unstable_by_key(|(piece, _)| piece.number);
        let mut pieces = pieces.into_iter().peekable();
        let mut frames = Vec::new();
        while let Some((first, page)) = pieces.next() {
            let Some((len, segment)) = first.head else {
                continue;
            };
            let mut frame = Vec::new();
            if frame.try_reserve_exact(len).is_err() {
                // As if the backend had lost it.
                continue;
            }
            frame.resize(first.len, 0);
            page.read(0, &mut frame);
            let mut number = first.number;
            while let Some((piece, page)) =
                pieces.next_if(|(piece, _)| piece.number == number + 1 && piece.head.is_none())
            {
                let at = frame.len();
                frame.resize(at + piece.len, 0);
                page.read(0, &mut frame[at..]);
                number = piece.number;
            }
            if frame.len() == len {
                frames.push(Unanswered { frame, segment });
            }
        }
        frames
    }

    /// Shows the backend what was queued. Returns whether it wants a notification; `None` if
    /// nothing was queued.
    pub(super) fn publish(&mut self) -> Option<bool> {
        core::mem::take(&mut self.unpublished).then(|| self.ring.publish())
    }

    /// Asks for an event at the next response; true if there is one already.
    pub(super) fn rearm(&mut self) -> bool {
        self.ring.rearm()
    }

    /// Returns the number of pages granted.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }
}
