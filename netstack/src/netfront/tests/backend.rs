//! A backend that works as netback does, or as a test tells it to.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::Deref;
use core::sync::atomic::Ordering;

use kernel::shared::{SharedMemory, SharedPage};
use smoltcp::phy::{Device, RxToken, TxToken};
use smoltcp::time::Instant;

use super::super::connection::{Connection, Features};
use super::super::device::Netfront;
use super::super::pages::{Backend, Granted, PageError};

/// Offsets of the two producer indices, the two event indices and the slots (`io/ring.h`).
const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const SLOTS: usize = 64;

/// A page that both sides of a test see.
#[derive(Clone)]
pub(super) struct FakePage {
    page: Rc<SharedPage>,
    reference: u32,
}

impl Deref for FakePage {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.page
    }
}

impl Granted for FakePage {
    fn reference(&self) -> u32 {
        self.reference
    }
}

/// The memory that has been granted, and the events that were sent.
#[derive(Clone, Default)]
pub(super) struct Fake {
    pages: Rc<RefCell<Vec<(FakePage, bool)>>>,
    pub(super) notified: Rc<Cell<usize>>,
    /// Pages left before the guest runs out.
    pub(super) supply: Rc<Cell<Option<usize>>>,
}

impl Backend for Fake {
    type Page = FakePage;

    fn page(&mut self, writable: bool) -> Result<FakePage, PageError> {
        let mut pages = self.pages.borrow_mut();
        if self
            .supply
            .get()
            .is_some_and(|supply| pages.len() >= supply)
        {
            return Err(PageError::OutOfMemory);
        }
        let page = FakePage {
            page: Rc::new(SharedPage::new().map_err(|_| PageError::OutOfMemory)?),
            // Far from the ids, so that neither is taken for the other.
            reference: 5000 + pages.len() as u32,
        };
        pages.push((page.clone(), writable));
        Ok(page)
    }

    fn notify(&self) {
        self.notified.set(self.notified.get() + 1);
    }
}

impl Fake {
    /// Returns the page of a grant reference, and whether the backend may write to it.
    pub(super) fn granted(&self, reference: u32) -> (FakePage, bool) {
        self.pages.borrow()[reference as usize - 5000].clone()
    }

    pub(super) fn count(&self) -> usize {
        self.pages.borrow().len()
    }
}

/// The backend's end of one ring.
pub(super) struct BackRing<const SLOT: usize> {
    pub(super) page: FakePage,
    taken: u32,
    answered: u32,
}

impl<const SLOT: usize> BackRing<SLOT> {
    pub(super) fn new(page: FakePage) -> Self {
        Self {
            page,
            taken: 0,
            answered: 0,
        }
    }

    fn at(index: u32) -> usize {
        SLOTS + (index % 256) as usize * SLOT
    }

    /// Takes the next request.
    pub(super) fn take(&mut self) -> Option<[u8; SLOT]> {
        if self.page.load_u32(REQ_PROD, Ordering::Acquire) == self.taken {
            return None;
        }
        let mut slot = [0; SLOT];
        self.page.read(Self::at(self.taken), &mut slot);
        self.taken = self.taken.wrapping_add(1);
        Some(slot)
    }

    /// Puts an answer into the next slot.
    pub(super) fn answer(&mut self, response: &[u8]) {
        self.page.write(Self::at(self.answered), response);
        self.answered = self.answered.wrapping_add(1);
        self.page
            .store_u32(RSP_PROD, self.answered, Ordering::Release);
    }

    /// Claims answers that were never written.
    pub(super) fn lie(&self, ahead: u32) {
        let index = self.answered.wrapping_add(ahead);
        self.page.store_u32(RSP_PROD, index, Ordering::Release);
    }

    /// Asks for a notification at the next request.
    pub(super) fn sleep(&self) {
        self.page
            .store_u32(REQ_EVENT, self.taken.wrapping_add(1), Ordering::Release);
    }
}

/// A device and the backend behind it.
pub(super) struct Pair {
    pub(super) device: Netfront<Fake>,
    pub(super) fake: Fake,
    pub(super) tx: BackRing<12>,
    pub(super) rx: BackRing<8>,
}

pub(super) const ALL: Features = Features {
    scatter: true,
    checksum_ipv4: true,
    checksum_ipv6: true,
    segment_ipv4: true,
};

pub(super) const NOW: Instant = Instant::ZERO;

/// A received request: id and page.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) id: u16,
    pub(super) page: FakePage,
}

impl Pair {
    pub(super) fn new(features: Features) -> Self {
        let fake = Fake::default();
        let connection = Connection::new(fake.clone(), features, 256, 64).unwrap();
        let (tx, rx) = connection.ring_references();
        Self {
            device: Netfront::new(connection, 1500),
            tx: BackRing::new(fake.granted(tx).0),
            rx: BackRing::new(fake.granted(rx).0),
            fake,
        }
    }

    /// Has the guest wake up as another domain, with another backend.
    pub(super) fn migrate(&mut self, features: Features) {
        self.device.lose_connection();
        self.connect(features);
    }

    /// Connects the device to a new backend.
    pub(super) fn connect(&mut self, features: Features) {
        let fake = Fake::default();
        let connection = Connection::new(fake.clone(), features, 256, 64).unwrap();
        let (tx, rx) = connection.ring_references();
        self.tx = BackRing::new(fake.granted(tx).0);
        self.rx = BackRing::new(fake.granted(rx).0);
        self.fake = fake;
        self.device.reconnect(connection, 1500);
        self.device.finish_batch();
    }

    /// Takes the next page that the guest offers.
    pub(super) fn offer(&mut self) -> Option<Offer> {
        let slot = self.rx.take()?;
        let reference = u32::from_le_bytes(slot[4..8].try_into().unwrap());
        let (page, writable) = self.fake.granted(reference);
        assert!(writable, "receive buffers are written");
        Some(Offer {
            id: u16::from_le_bytes([slot[0], slot[1]]),
            page,
        })
    }

    /// Answers an offer.
    pub(super) fn answer(&mut self, id: u16, offset: u16, flags: u16, status: i16) {
        let mut slot = [0; 8];
        slot[0..2].copy_from_slice(&id.to_le_bytes());
        slot[2..4].copy_from_slice(&offset.to_le_bytes());
        slot[4..6].copy_from_slice(&flags.to_le_bytes());
        slot[6..8].copy_from_slice(&status.to_le_bytes());
        self.rx.answer(&slot);
    }

    /// Delivers a frame that fits into one page.
    pub(super) fn deliver(&mut self, frame: &[u8], flags: u16) {
        let offer = self.offer().expect("a page on offer");
        offer.page.write(0, frame);
        self.answer(offer.id, 0, flags, frame.len() as i16);
    }

    /// Returns what the device hands to smoltcp next.
    pub(super) fn receive(&mut self) -> Option<Vec<u8>> {
        let (token, _) = self.device.receive(NOW)?;
        Some(token.consume(<[u8]>::to_vec))
    }

    /// Sends `frame` as smoltcp would; false if there is no room.
    pub(super) fn send(&mut self, frame: &[u8], mss: Option<u16>) -> bool {
        let Some(mut token) = self.device.transmit(NOW) else {
            return false;
        };
        let mut meta = smoltcp::phy::PacketMeta::default();
        meta.segmentation_offload_size = mss.and_then(core::num::NonZeroU16::new);
        token.set_meta(meta);
        token.consume(frame.len(), |buffer| buffer.copy_from_slice(frame));
        true
    }
}

/// Makes an ARP frame, which has no checksum, filled up to `len` bytes with `byte`.
pub(super) fn arp(len: usize, byte: u8) -> Vec<u8> {
    let mut frame = alloc::vec![byte; len];
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame
}
