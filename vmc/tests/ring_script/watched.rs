//! Memory that checks what the victim does, and that the peer can change at any
//! moment.

use std::cell::RefCell;
use std::collections::VecDeque;

use shared_memory::Memory;
use vmc::ring::{Geometry, HEADER_BYTES};

use super::MARGIN;

/// Where the halves of a header begin.
pub(crate) const PRODUCERS: usize = 0x00;
pub(crate) const CONSUMERS: usize = 0x80;
const WORDS: [usize; 3] = [0x00, 0x08, 0x10];

/// A word that the peer stores once the victim has made `wait` more accesses.
struct Strike {
    wait: u8,
    field: usize,
    value: u64,
}

struct Inside {
    bytes: Vec<u8>,
    strikes: VecDeque<Strike>,
    /// Every value that the peer's index has had.
    claims: Vec<u64>,
    /// How often the victim has fetched it in this call.
    fetched: u32,
    /// Whether the victim's first call has begun; from then on it may write
    /// only its own half.
    begun: bool,
}

pub(crate) struct Watched {
    geometry: Geometry,
    /// The half of the header that the victim writes, and the one that it reads.
    own: usize,
    peers: usize,
    inside: RefCell<Inside>,
}

impl Watched {
    /// Returns memory in which a producer has begun a ring at `base`.
    pub(crate) fn new(geometry: Geometry, base: u64, own: usize) -> Self {
        let watched = Self {
            geometry,
            own,
            peers: PRODUCERS + CONSUMERS - own,
            inside: RefCell::new(Inside {
                bytes: vec![0; geometry.data + geometry.capacity + MARGIN],
                strikes: VecDeque::new(),
                claims: Vec::new(),
                fetched: 0,
                begun: false,
            }),
        };
        for half in [PRODUCERS, CONSUMERS] {
            watched.put(half, base);
            watched.put(half + 0x10, base);
        }
        watched
    }

    pub(crate) const fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) const fn peers(&self) -> usize {
        self.peers
    }

    /// Stores a word of the header, in either half, as the peer.
    pub(crate) fn put(&self, field: usize, value: u64) {
        self.inside.borrow_mut().put(self, field, value);
    }

    /// Writes bytes anywhere in header and data, as the peer.
    pub(crate) fn scribble(&self, at: usize, bytes: &[u8]) {
        let data = self.geometry.data..self.geometry.data + self.geometry.capacity;
        let header = self.geometry.header..self.geometry.header + HEADER_BYTES;
        let mut inside = self.inside.borrow_mut();
        let places = header.chain(data).cycle();
        let places = places.skip(at % (HEADER_BYTES + self.geometry.capacity));
        for (place, &byte) in places.zip(bytes) {
            inside.bytes[place] = byte;
        }
        let tail = inside.word(self.geometry.header + self.peers);
        inside.claims.push(tail);
    }

    /// Has the peer store a word in the middle of what the victim does.
    pub(crate) fn strike(&self, wait: u8, field: usize, value: u64) {
        let strike = Strike { wait, field, value };
        self.inside.borrow_mut().strikes.push_back(strike);
    }

    /// Notes that the victim begins a call; before the first, nobody else has
    /// seen the ring.
    pub(crate) fn call(&self) {
        let mut inside = self.inside.borrow_mut();
        inside.begun = true;
        inside.fetched = 0;
    }

    /// Whether `holds` is true of a value that the peer's index has had.
    pub(crate) fn claimed(&self, holds: impl Fn(u64) -> bool) -> bool {
        self.inside
            .borrow()
            .claims
            .iter()
            .any(|&claim| holds(claim))
    }

    /// Returns a word of the header as it stands.
    pub(crate) fn word(&self, field: usize) -> u64 {
        self.inside.borrow().word(self.geometry.header + field)
    }

    /// Checks that the margins around header and data are unchanged.
    pub(crate) fn check_margins(&self) {
        let inside = self.inside.borrow();
        let Geometry {
            header,
            data,
            capacity,
        } = self.geometry;
        for margin in [
            &inside.bytes[..header],
            &inside.bytes[header + HEADER_BYTES..data],
            &inside.bytes[data + capacity..],
        ] {
            assert!(margin.iter().all(|&byte| byte == 0));
        }
    }

    /// Begins an access of the victim's: the strikes that are due come first.
    fn access(&self) -> std::cell::RefMut<'_, Inside> {
        let mut inside = self.inside.borrow_mut();
        while let Some(strike) = inside.strikes.pop_front_if(|strike| strike.wait == 0) {
            inside.put(self, strike.field, strike.value);
        }
        if let Some(strike) = inside.strikes.front_mut() {
            strike.wait -= 1;
        }
        inside
    }

    fn check_data(&self, offset: usize, len: usize) {
        let Geometry { data, capacity, .. } = self.geometry;
        assert!(offset >= data && offset + len <= data + capacity);
    }
}

impl Inside {
    fn word(&self, offset: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[offset..offset + 8]);
        u64::from_le_bytes(word)
    }

    fn set(&mut self, offset: usize, value: u64) {
        self.bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn put(&mut self, watched: &Watched, field: usize, value: u64) {
        self.set(watched.geometry.header + field, value);
        if field == watched.peers {
            self.claims.push(value);
        }
    }
}

impl Memory for Watched {
    fn len(&self) -> usize {
        self.inside.borrow().bytes.len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.check_data(offset, into.len());
        into.copy_from_slice(&self.access().bytes[offset..offset + into.len()]);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        assert_eq!(self.own, PRODUCERS, "only the producer writes data");
        self.check_data(offset, from.len());
        self.access().bytes[offset..offset + from.len()].copy_from_slice(from);
    }

    fn load(&self, offset: usize) -> u64 {
        let field = offset - self.geometry.header;
        let known = WORDS.map(|word| self.peers + word);
        assert!(known.contains(&field), "{field:#x} is not the peer's");
        let mut inside = self.access();
        if field == self.peers {
            inside.fetched += 1;
            assert_eq!(inside.fetched, 1, "an index is fetched once");
        }
        inside.word(offset)
    }

    fn store(&self, offset: usize, value: u64) {
        let field = offset - self.geometry.header;
        let known = WORDS.map(|word| self.own + word);
        let mut inside = self.access();
        assert!(
            known.contains(&field) || !inside.begun,
            "{field:#x} is not the victim's"
        );
        inside.set(offset, value);
    }

    fn fetch_or(&self, _: usize, _: u64) -> u64 {
        panic!("no ring needs it");
    }

    fn swap(&self, _: usize, _: u64) -> u64 {
        panic!("no ring needs it");
    }

    fn fence(&self) {
        drop(self.access());
    }
}
