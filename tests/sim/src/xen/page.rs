//! Pages that several domains see at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shared_memory::Memory;

use super::moment;

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// What a hostile domain does to the pages that it shares, at any moment.
#[derive(Debug)]
pub struct Tamper {
    random: RefCell<fastrand::Rng>,
    /// One in this many accesses is spoilt; 0 spoils none.
    one_in: Cell<u32>,
}

impl Tamper {
    /// Returns a tamperer that does nothing yet.
    #[must_use]
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            one_in: Cell::new(0),
        })
    }

    /// Spoils one in `one_in` accesses from now on; 0 spoils none.
    pub fn set(&self, one_in: u32) {
        self.one_in.set(one_in);
    }

    fn strikes(&self) -> bool {
        match self.one_in.get() {
            0 => false,
            one_in => self.random.borrow_mut().u32(..one_in) == 0,
        }
    }

    /// Returns a word that suits a liar: near the right one, far away, or noise.
    fn lie(&self, word: u64) -> u64 {
        let random = &mut self.random.borrow_mut();
        match random.u32(..6) {
            0 => word.wrapping_add(1),
            1 => word.wrapping_sub(1),
            2 => word.wrapping_add(random.u64(..1 << 20)),
            3 => 0,
            4 => u64::MAX,
            _ => random.u64(..),
        }
    }
}

/// One page, and what spoils it.
#[derive(Debug)]
pub(super) struct Page {
    bytes: RefCell<Box<[u8; PAGE]>>,
    tamper: RefCell<Option<Rc<Tamper>>>,
    /// What its own domain has left in it, if another one has written it since. Such
    /// writes are not in the log of dirty pages that a migration sends: this may be
    /// what is sent.
    logged: RefCell<Option<Box<[u8; PAGE]>>>,
    /// Whether that was so when the domain was suspended.
    is_lost: Cell<bool>,
    /// Whether what its own domain writes to it is sent after the suspend.
    is_last_round: Cell<bool>,
    /// Whether the domain has written it in the last round: it is sent as it is after the suspend,
    /// whoever writes to it until then.
    is_logged: Cell<bool>,
}

impl Page {
    pub(super) fn zeroed() -> Rc<Self> {
        Rc::new(Self {
            bytes: RefCell::new(Box::new([0; PAGE])),
            tamper: RefCell::new(None),
            logged: RefCell::new(None),
            is_lost: Cell::new(false),
            is_last_round: Cell::new(false),
            is_logged: Cell::new(false),
        })
    }

    /// Notes that the log of dirty pages is not read any more before the suspend.
    pub(super) fn begin_last_round(&self) {
        self.is_last_round.set(true);
    }

    /// Notes that the domain is suspended. What others write from here on is
    /// sent, or does not matter.
    pub(super) fn suspend(&self) {
        self.is_lost.set(self.logged.borrow().is_some());
        self.is_last_round.set(false);
        self.is_logged.set(false);
    }

    /// Returns the page after a migration: a copy, with old bytes if the log missed a
    /// change.
    pub(super) fn copied(&self) -> Rc<Self> {
        let logged = self.logged.borrow();
        let logged = logged.as_ref().filter(|_| self.is_lost.get());
        Rc::new(Self {
            bytes: match logged {
                Some(logged) => RefCell::new(logged.clone()),
                None => self.bytes.clone(),
            },
            tamper: RefCell::new(None),
            logged: RefCell::new(None),
            is_lost: Cell::new(false),
            is_last_round: Cell::new(false),
            is_logged: Cell::new(false),
        })
    }

    /// Notes a write that is about to be made, by the page's own domain or by another
    /// one.
    fn note_write(&self, is_foreign: bool) {
        let mut logged = self.logged.borrow_mut();
        if !is_foreign {
            *logged = None;
            self.is_logged.set(self.is_last_round.get());
        } else if !self.is_logged.get() {
            logged.get_or_insert_with(|| self.bytes.borrow().clone());
        }
    }

    pub(super) fn expose(&self, tamper: &Rc<Tamper>) {
        *self.tamper.borrow_mut() = Some(Rc::clone(tamper));
    }

    fn get(&self, offset: usize) -> u64 {
        let bytes = self.bytes.borrow();
        u64::from_le_bytes(*bytes[offset..].first_chunk().expect("aligned"))
    }

    fn set(&self, offset: usize, word: u64, is_foreign: bool) {
        self.note_write(is_foreign);
        self.bytes.borrow_mut()[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// Gives the hostile domain a turn in the middle of somebody's call.
    fn strike(&self, offset: usize) {
        let tamper = self.tamper.borrow();
        if let Some(tamper) = tamper.as_ref().filter(|tamper| tamper.strikes()) {
            let offset = offset & !7;
            let lie = tamper.lie(self.get(offset));
            self.set(offset, lie, true);
        }
    }
}

/// Adjacent pages as one domain sees them.
#[derive(Debug, Clone)]
pub struct Pages {
    pub(super) pages: Rc<RefCell<Vec<Rc<Page>>>>,
    is_mapped: bool,
}

impl Pages {
    /// Returns pages of the domain that sees them, or, if `is_mapped`, of
    /// another one.
    pub(super) fn new(pages: Vec<Rc<Page>>, is_mapped: bool) -> Self {
        Self {
            pages: Rc::new(RefCell::new(pages)),
            is_mapped,
        }
    }

    fn word<R>(&self, offset: usize, with: impl FnOnce(&Page, usize) -> R) -> R {
        assert!(offset.is_multiple_of(8), "a word at {offset:#x}");
        moment::pass();
        let page = &self.pages.borrow()[offset / PAGE];
        let result = with(page, offset % PAGE);
        page.strike(offset % PAGE);
        result
    }

    fn chunks(
        &self,
        mut offset: usize,
        len: usize,
        mut with: impl FnMut(&Page, usize, usize, usize),
    ) {
        let pages = self.pages.borrow();
        let mut done = 0;
        while done < len {
            let at = offset % PAGE;
            let step = (PAGE - at).min(len - done);
            let page = &pages[offset / PAGE];
            moment::pass();
            with(page, at, done, step);
            page.strike(at);
            done += step;
            offset += step;
        }
    }
}

impl Memory for Pages {
    fn len(&self) -> usize {
        self.pages.borrow().len() * PAGE
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        let len = into.len();
        self.chunks(offset, len, |page, at, done, step| {
            into[done..done + step].copy_from_slice(&page.bytes.borrow()[at..at + step]);
        });
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.chunks(offset, from.len(), |page, at, done, step| {
            page.note_write(self.is_mapped);
            page.bytes.borrow_mut()[at..at + step].copy_from_slice(&from[done..done + step]);
        });
    }

    fn load(&self, offset: usize) -> u64 {
        self.word(offset, Page::get)
    }

    fn store(&self, offset: usize, value: u64) {
        self.word(offset, |page, at| page.set(at, value, self.is_mapped));
    }

    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset, |page, at| {
            let old = page.get(at);
            page.set(at, old | bits, self.is_mapped);
            old
        })
    }

    fn swap(&self, offset: usize, value: u64) -> u64 {
        self.word(offset, |page, at| {
            let old = page.get(at);
            page.set(at, value, self.is_mapped);
            old
        })
    }

    fn fence(&self) {}
}
