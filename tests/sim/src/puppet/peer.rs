//! The peer: both roles of making a link, and raw access to everything after.

use std::net::{IpAddr, SocketAddr};

use shared_memory::Memory;
use vmc::wire::control::{self, LINK_PAGES, Side, SideState};
use vmc::wire::datagram::{Cookie, Datagram, Kind, NO_COOKIE, Refusal};
use vmc::wire::message::{HEADER, Message, Reason};
use vmc::wire::resume::{Entry, Resume};
use vmc::wire::{Nonce, RingNumber, doorbell};
use vmc::{DomId, FourTuple, Platform, Uuid};

use crate::xen::{Dom, Mapping, PAGE, Port, Region};

/// Where the words of a ring are in its header (docs/protocol.md, "The ring of one
/// direction").
const TAIL: usize = 0x00;
const HEAD: usize = 0x80;
const DATA_AT: usize = 0x90;

/// The link's pages, and which side owns them.
enum Link {
    None,
    Owned(Region),
    Mapped(Mapping),
}

/// The peer. It has at most one link.
pub struct Peer {
    /// Its domain.
    pub dom: Dom,
    /// The identity that it claims.
    pub uuid: [u8; 16],
    link: Link,
    port: Option<Port>,
    /// Bytes of messages written so far.
    tail: u64,
    /// The nonce that is sent to the owner.
    pub nonce_a: Nonce,
    /// The cookie that its HELLO carries.
    pub cookie: Cookie,
    /// The nonce that it gave to the victim, or got from it.
    pub nonce_b: Nonce,
    /// Rings granted to the victim.
    pub rings: Vec<Region>,
    /// The victim's domain, as its datagrams say.
    pub victim: DomId,
}

/// Returns the four-tuple of a connection as its sender sees it.
fn four_tuple([local, remote]: [(IpAddr, u16); 2]) -> FourTuple {
    FourTuple {
        local: SocketAddr::from(local),
        remote: SocketAddr::from(remote),
    }
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
            cookie: NO_COOKIE,
            nonce_b: [0; 16],
            rings: Vec::new(),
            victim: 0,
        }
    }

    /// Returns a datagram of the exchange that `nonce_a` names.
    fn datagram(&self, kind: Kind) -> Vec<u8> {
        let datagram = Datagram {
            domid: self.dom.domid(),
            uuid: Uuid(self.uuid),
            nonce_a: self.nonce_a,
            kind,
        };
        datagram.encode()
    }

    /// Returns a HELLO.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        let cookie = self.cookie;
        self.datagram(Kind::Hello { cookie })
    }

    /// Takes a CHALLENGE: the next HELLO carries its cookie. Returns whether it was
    /// one.
    pub fn take_challenge(&mut self, bytes: &[u8]) -> bool {
        let kind = Datagram::decode(bytes).map(|datagram| datagram.kind);
        let Some(Kind::Challenge { cookie }) = kind else {
            return false;
        };
        self.cookie = cookie;
        true
    }

    /// Returns a REFUSED with any number as its reason.
    #[must_use]
    pub fn refused(&self, reason: u16) -> Vec<u8> {
        let mut bytes = self.datagram(Kind::Refused(Refusal::NotCoResident));
        bytes[40..42].copy_from_slice(&reason.to_le_bytes());
        bytes
    }

    /// Returns a RESUME for the link that ended. For each connection it names
    /// its ends as the peer sees them, and the offset from which the peer takes
    /// bytes.
    #[must_use]
    pub fn resume(&self, entries: &[([(IpAddr, u16); 2], u64)]) -> Vec<u8> {
        let entries = entries.iter().map(|&(ends, offset)| Entry {
            tuple: four_tuple(ends),
            offset,
            heard: 0,
        });
        let entries: Vec<_> = entries.collect();
        let uuid = Uuid(self.uuid);
        Resume::encode(uuid, self.dom.domid(), self.nonce_b, false, &entries)
    }

    /// Answers a HELLO, as the owner of a link does.
    pub fn welcome(&mut self, hello: &[u8]) -> Option<Vec<u8>> {
        let hello = Datagram::decode(hello)?;
        self.nonce_a = hello.nonce_a;
        self.victim = hello.domid;
        let region = self.dom.grant(hello.domid, LINK_PAGES).ok()?;
        let mut references = Vec::new();
        self.dom.references(&region, &mut references);
        control::write(&region, &self.nonce_a, &references);
        let port = self.dom.open_port(hello.domid).ok()?;
        self.nonce_b = [9; 16];
        let bytes = self.datagram(Kind::Welcome {
            nonce_b: self.nonce_b,
            reference: references[0],
            port: self.dom.port_number(&port),
        });
        control::set_state(&region, Side::Owner, SideState::Open);
        self.link = Link::Owned(region);
        self.port = Some(port);
        self.tail = 0;
        Some(bytes)
    }

    /// Accepts a WELCOME, as the mapper of a link does. It trusts the control
    /// page: only a victim has something to lose.
    pub fn accept(&mut self, welcome: &[u8]) -> Option<()> {
        let Datagram { domid, kind, .. } = Datagram::decode(welcome)?;
        let Kind::Welcome {
            nonce_b,
            reference,
            port,
        } = kind
        else {
            return None;
        };
        self.nonce_b = nonce_b;
        self.victim = domid;
        let control = self.dom.map(domid, &[reference]).ok()?;
        let references = control::references(&control, reference);
        let pages = self.dom.map(domid, &references).ok()?;
        self.port = Some(self.dom.bind_port(domid, port).ok()?);
        control::write_proof(&pages, &self.nonce_b);
        control::set_state(&pages, Side::Mapper, SideState::Open);
        self.link = Link::Mapped(pages);
        self.tail = 0;
        self.notify();
        Some(())
    }

    /// Returns the link's pages, and the side of the link that this peer is.
    fn pages(&self) -> Option<(&dyn Memory, Side)> {
        match &self.link {
            Link::None => None,
            Link::Owned(region) => Some((region, Side::Owner)),
            Link::Mapped(mapping) => Some((mapping, Side::Mapper)),
        }
    }

    /// Appends bytes to the peer's messages, and rings.
    pub fn say(&mut self, bytes: &[u8]) {
        let mut tail = self.tail;
        let Some((pages, side)) = self.pages() else {
            return;
        };
        let ring = side.outgoing();
        for byte in bytes {
            let at = (tail % ring.capacity as u64) as usize;
            pages.write(ring.data + at, &[*byte]);
            tail += 1;
        }
        pages.store(ring.header + TAIL, tail);
        self.tail = tail;
        self.doorbell(0, 0);
    }

    /// Sends a message of any kind with any payload.
    pub fn message(&mut self, kind: u8, payload: &[u8]) {
        let len = (payload.len() as u16).to_le_bytes();
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend([kind, 0, len[0], len[1]]);
        bytes.extend(payload);
        self.say(&bytes);
    }

    /// Sends a message that is right in itself.
    fn tell(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.say(&bytes);
    }

    /// Sends SWITCH: the stream from the peer's address and port to the victim's
    /// continues in `ring` from offset `base` on.
    ///
    /// # Panics
    /// If a link has no ring of this number.
    pub fn switch(&mut self, ring: u16, tuple: [(IpAddr, u16); 2], base: u64) {
        self.tell(&Message::Switch {
            own: RingNumber::new(ring).expect("a ring number"),
            tuple: four_tuple(tuple),
            base,
        });
    }

    /// Whether it has a link, as far as it knows.
    #[must_use]
    pub const fn has_link(&self) -> bool {
        !matches!(self.link, Link::None)
    }

    /// Takes all whole messages of the victim, each with its kind.
    pub fn hear(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut heard = Vec::new();
        let Some((pages, side)) = self.pages() else {
            return heard;
        };
        let ring = side.incoming();
        let tail = pages.load(ring.header + TAIL);
        let mut head = pages.load(ring.header + HEAD);
        let read = |from: u64, len: usize| -> Vec<u8> {
            let byte = |offset: u64| {
                let mut byte = [0];
                let at = (offset % ring.capacity as u64) as usize;
                pages.read(ring.data + at, &mut byte);
                byte[0]
            };
            (from..from + len as u64).map(byte).collect()
        };
        while tail.saturating_sub(head) >= HEADER as u64 {
            let header = read(head, HEADER);
            let len = usize::from(u16::from_le_bytes([header[2], header[3]]));
            if tail.saturating_sub(head) < (HEADER + len) as u64 {
                break;
            }
            heard.push((header[0], read(head + HEADER as u64, len)));
            head += (HEADER + len) as u64;
        }
        pages.store(ring.header + HEAD, head);
        pages.store(ring.header + DATA_AT, head + 1);
        if !heard.is_empty() {
            self.doorbell(0, 0);
        }
        heard
    }

    /// Returns how many more bytes of messages fit into its ring.
    #[must_use]
    pub fn room(&self) -> usize {
        self.pages().map_or(0, |(pages, side)| {
            let ring = side.outgoing();
            let head = pages.load(ring.header + HEAD);
            ring.capacity
                .saturating_sub(self.tail.saturating_sub(head) as usize)
        })
    }

    /// Maps pages of the victim.
    #[must_use]
    pub fn map(&mut self, references: &[u32]) -> Option<Mapping> {
        self.dom.map(self.victim, references).ok()
    }

    /// Takes all messages of the victim without reading them.
    pub fn listen(&self) {
        if let Some((pages, side)) = self.pages() {
            let header = side.incoming().header;
            let tail = pages.load(header + TAIL);
            pages.store(header + HEAD, tail);
            pages.store(header + DATA_AT, tail.wrapping_add(1));
        }
        self.doorbell(0, 0);
    }

    /// Rings the victim for messages, and for each ring whose bit is set in a
    /// word of the doorbell. `word` counts from 0: 8 words of *data*, then 8 of
    /// *space*.
    pub fn doorbell(&self, word: usize, bits: u64) {
        let Some((pages, side)) = self.pages() else {
            return;
        };
        let (bell, word) = (side.peer_bell(), word % 16);
        doorbell::ring_messages(&pages, bell);
        for bit in (0..64).filter(|bit| bits & 1 << bit != 0) {
            let Some(ring) = RingNumber::from_index(64 * (word % 8) + bit) else {
                continue;
            };
            if word < 8 {
                doorbell::ring_data(&pages, bell, ring);
            } else {
                doorbell::ring_space(&pages, bell, ring);
            }
        }
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
        if let Some((pages, _)) = self.pages() {
            pages.store((offset % (LINK_PAGES * PAGE)) & !7, word);
        }
    }

    /// Sends CONFIRM: it has consumed the victim's `ring` up to `offset`, and
    /// falls back to TCP.
    ///
    /// # Panics
    /// If a link has no ring of this number.
    pub fn confirm(&mut self, ring: u16, offset: u64) {
        self.tell(&Message::Confirm {
            your: RingNumber::new(ring).expect("a ring number"),
            reason: Reason::Fallback,
            offset,
        });
    }

    /// Uses the link no longer, and says so; keeps what it has mapped.
    pub fn close(&self) {
        if let Some((pages, side)) = self.pages() {
            control::set_state(&pages, side, SideState::Closed);
        }
        self.notify();
    }

    /// Writes *frozen*, and notifies its victim as a guest does that was not
    /// expected to be suspended.
    pub fn announce_freeze(&self) {
        if let Some((pages, side)) = self.pages() {
            control::set_state(&pages, side, SideState::Frozen);
        }
        self.notify();
    }

    /// Is suspended: writes *frozen*, and lets go of everything at once.
    pub fn freeze(&mut self) {
        if let Some((pages, side)) = self.pages() {
            control::set_state(&pages, side, SideState::Frozen);
        }
        self.vanish();
    }

    /// Grants a ring to `domid` and returns its references; the list is empty if
    /// that failed.
    pub fn ring(&mut self, domid: u16, pages: usize) -> Vec<u32> {
        let mut references = Vec::new();
        if let Ok(region) = self.dom.grant(domid, pages) {
            self.dom.references(&region, &mut references);
            self.rings.push(region);
        }
        references
    }

    /// Drops the link without a word.
    pub fn vanish(&mut self) {
        self.port = None;
        self.link = Link::None;
    }
}
