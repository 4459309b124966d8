//! The peer: both roles of making a link, and raw access to everything after.

use std::net::IpAddr;

use shared_memory::Memory;
use vmc::Platform;

use crate::xen::{Dom, Mapping, PAGE, Port, Region};

const CONTROL_PAGES: usize = 9;
/// Where things are in the control page (docs/protocol.md, "The link").
const NONCE_A: usize = 0x10;
const REFERENCES: usize = 0x20;
const PROOF: usize = 0x80;
const MAPPER_STATE: usize = 0x90;
const OWNER_STATE: usize = 0xc0;
const OPEN: u64 = 1;
const FROZEN: u64 = 3;
/// A kind of message.
const SWITCH: u8 = 3;
/// A kind of message.
const CONFIRM: u8 = 4;

/// A kind of datagram: the question for a link.
pub const HELLO: u8 = 1;
/// A kind of datagram: the owner's offer.
pub const WELCOME: u8 = 2;
/// A kind of datagram: no link.
pub const REFUSED: u8 = 3;
/// A kind of datagram: offsets after a suspend.
const RESUME: u8 = 4;

/// The link's pages, and which side owns them.
enum Link {
    None,
    Owned(Region),
    Mapped(Mapping),
}

/// The peer: it has one link at most.
pub struct Peer {
    /// Its domain.
    pub dom: Dom,
    /// The identity that it claims.
    pub uuid: [u8; 16],
    link: Link,
    port: Option<Port>,
    /// Bytes of messages written so far.
    tail: u64,
    /// The nonce that goes to the owner.
    pub nonce_a: [u8; 16],
    /// The one that it gave to the victim, or got from it.
    pub nonce_b: [u8; 16],
    /// Rings granted to the victim.
    pub rings: Vec<Region>,
}

/// Returns a datagram up to and including its nonce A.
fn header(kind: u8, domid: u16, uuid: &[u8; 16], nonce_a: &[u8; 16]) -> Vec<u8> {
    let mut bytes = b"XVMC\x01".to_vec();
    bytes.push(kind);
    bytes.extend(domid.to_le_bytes());
    bytes.extend(uuid);
    bytes.extend(nonce_a);
    bytes
}

/// A four-tuple as its sender sees it: its own end first.
fn four_tuple(ends: [(IpAddr, u16); 2]) -> Vec<u8> {
    let family = if ends[0].0.is_ipv4() { 4 } else { 6 };
    let mut bytes = vec![family, 0, 0, 0];
    for (_, port) in ends {
        bytes.extend(port.to_le_bytes());
    }
    for (address, _) in ends {
        let mut octets = [0; 16];
        match address {
            IpAddr::V4(address) => octets[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => octets = address.octets(),
        }
        bytes.extend(octets);
    }
    bytes
}

impl Peer {
    /// Returns a peer without a link.
    #[must_use]
    pub fn new(dom: Dom, uuid: [u8; 16]) -> Self {
        Self {
            dom,
            uuid,
            link: Link::None,
            port: None,
            tail: 0,
            nonce_a: [7; 16],
            nonce_b: [0; 16],
            rings: Vec::new(),
        }
    }

    /// Returns a HELLO.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        header(HELLO, self.dom.domid(), &self.uuid, &self.nonce_a)
    }

    /// Returns a REFUSED for `reason`.
    #[must_use]
    pub fn refused(&self, reason: u16) -> Vec<u8> {
        let mut bytes = header(REFUSED, self.dom.domid(), &self.uuid, &self.nonce_a);
        bytes.extend(reason.to_le_bytes());
        bytes.resize(56, 0);
        bytes
    }

    /// Returns a RESUME for the link that ended: of each connection, its ends
    /// as the peer sees them and the offset from which on it takes bytes.
    #[must_use]
    pub fn resume(&self, entries: &[([(IpAddr, u16); 2], u64)]) -> Vec<u8> {
        let mut bytes = header(RESUME, self.dom.domid(), &self.uuid, &self.nonce_b);
        for (ends, offset) in entries {
            bytes.extend(four_tuple(*ends));
            bytes.extend(offset.to_le_bytes());
        }
        bytes
    }

    /// Answers a HELLO, as the owner of a link does.
    pub fn welcome(&mut self, hello: &[u8]) -> Option<Vec<u8>> {
        let domid = u16::from_le_bytes(*hello.get(6..8)?.first_chunk()?);
        self.nonce_a.copy_from_slice(hello.get(24..40)?);
        let region = self.dom.grant(domid, CONTROL_PAGES).ok()?;
        let mut references = Vec::new();
        self.dom.references(&region, &mut references);
        region.write(0, b"XVMCLINK");
        region.store(8, 1);
        region.write(NONCE_A, &self.nonce_a);
        for (index, reference) in references[1..].iter().enumerate() {
            region.write(REFERENCES + 4 * index, &reference.to_le_bytes());
        }
        let port = self.dom.open_port(domid).ok()?;
        self.nonce_b = [9; 16];
        let mut bytes = header(WELCOME, self.dom.domid(), &self.uuid, &self.nonce_a);
        bytes.extend(self.nonce_b);
        bytes.extend(references[0].to_le_bytes());
        bytes.extend(self.dom.port_number(&port).to_le_bytes());
        region.store(OWNER_STATE, OPEN);
        self.link = Link::Owned(region);
        self.port = Some(port);
        self.tail = 0;
        Some(bytes)
    }

    /// Takes up a WELCOME, as the mapper of a link does.
    pub fn accept(&mut self, welcome: &[u8]) -> Option<()> {
        let word = |at: usize| Some(u32::from_le_bytes(*welcome.get(at..at + 4)?.first_chunk()?));
        let domid = u16::from_le_bytes(*welcome.get(6..8)?.first_chunk()?);
        self.nonce_b.copy_from_slice(welcome.get(40..56)?);
        let mut references = vec![word(56)?];
        let control = self.dom.map(domid, &references).ok()?;
        for index in 0..CONTROL_PAGES - 1 {
            let mut bytes = [0; 4];
            control.read(REFERENCES + 4 * index, &mut bytes);
            references.push(u32::from_le_bytes(bytes));
        }
        let pages = self.dom.map(domid, &references).ok()?;
        self.port = Some(self.dom.bind_port(domid, word(60)?).ok()?);
        pages.write(PROOF, &self.nonce_b);
        pages.store(MAPPER_STATE, OPEN);
        self.link = Link::Mapped(pages);
        self.tail = 0;
        self.notify();
        Some(())
    }

    fn pages(&self) -> Option<&dyn Memory> {
        match &self.link {
            Link::None => None,
            Link::Owned(region) => Some(region),
            Link::Mapped(mapping) => Some(mapping),
        }
    }

    fn is_owner(&self) -> bool {
        matches!(self.link, Link::Owned(_))
    }

    /// Appends bytes to the peer's messages, and rings.
    pub fn say(&mut self, bytes: &[u8]) {
        let (header, data) = if self.is_owner() {
            (0x200, 5 * PAGE)
        } else {
            (0x100, PAGE)
        };
        let mut tail = self.tail;
        let Some(pages) = self.pages() else {
            return;
        };
        for byte in bytes {
            pages.write(data + (tail % (4 * PAGE as u64)) as usize, &[*byte]);
            tail += 1;
        }
        pages.store(header, tail);
        self.tail = tail;
        self.doorbell(0, 0);
    }

    /// Says a message, right or wrong.
    pub fn message(&mut self, kind: u8, payload: &[u8]) {
        let mut bytes = vec![kind, 0];
        bytes.extend((payload.len() as u16).to_le_bytes());
        bytes.extend(payload);
        self.say(&bytes);
    }

    /// Says SWITCH: the stream from its own address and port to the victim's
    /// goes on in `ring`, from offset `base` on.
    pub fn switch(&mut self, ring: u16, tuple: [(IpAddr, u16); 2], base: u64) {
        let mut payload = ring.to_le_bytes().to_vec();
        payload.extend([0, 0]);
        payload.extend(four_tuple(tuple));
        payload.extend(base.to_le_bytes());
        self.message(SWITCH, &payload);
    }

    /// Takes all messages of the victim unread.
    pub fn listen(&self) {
        let header = if self.is_owner() { 0x100 } else { 0x200 };
        if let Some(pages) = self.pages() {
            let tail = pages.load(header);
            pages.store(header + 0x80, tail);
            pages.store(header + 0x90, tail.wrapping_add(1));
        }
        self.doorbell(0, 0);
    }

    /// Rings the victim: messages, and the bits of a word of rings. `word` 0
    /// to 7 are those of *data*, 8 to 15 those of *space*.
    pub fn doorbell(&self, word: usize, bits: u64) {
        let base = if self.is_owner() { 0x400 } else { 0x300 };
        let Some(pages) = self.pages() else {
            return;
        };
        let mut summary = 1;
        if bits != 0 {
            pages.fetch_or(base + 0x40 + 8 * (word % 16), bits);
            summary |= 1 << (8 + word % 16);
        }
        pages.fetch_or(base, summary);
        self.notify();
    }

    /// Raises the event channel.
    pub fn notify(&self) {
        if let Some(port) = &self.port {
            self.dom.notify(port);
        }
    }

    /// Writes a word anywhere into the link's pages.
    pub fn poke(&self, offset: usize, word: u64) {
        if let Some(pages) = self.pages() {
            pages.store((offset % (CONTROL_PAGES * PAGE)) & !7, word);
        }
    }

    /// Says CONFIRM: it has consumed the victim's `ring` up to `offset`, and
    /// goes back to TCP.
    pub fn confirm(&mut self, ring: u16, offset: u64) {
        let mut payload = ring.to_le_bytes().to_vec();
        payload.extend([0, 0]);
        payload.extend(offset.to_le_bytes());
        self.message(CONFIRM, &payload);
    }

    /// Is suspended: writes *frozen*, and lets go of everything at once.
    pub fn freeze(&mut self) {
        let state = if self.is_owner() {
            OWNER_STATE
        } else {
            MAPPER_STATE
        };
        self.poke(state, FROZEN);
        self.vanish();
    }

    /// Grants a ring to `domid` and says its references.
    pub fn ring(&mut self, domid: u16, pages: usize) -> Vec<u32> {
        let mut references = Vec::new();
        if let Ok(region) = self.dom.grant(domid, pages) {
            self.dom.references(&region, &mut references);
            self.rings.push(region);
        }
        references
    }

    /// Gives the link up without a word.
    pub fn vanish(&mut self) {
        self.port = None;
        self.link = Link::None;
    }
}
