//! Reads a byte string as a story of a hostile peer and its victim.
//!
//! Messages are encoded as `vmc::wire` has them; the script then spoils fields of
//! the encoded bytes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use shared_memory::Memory;
use vmc::wire::datagram::{Datagram, Kind};
use vmc::wire::message::{HEADER, Leave, MemberEvent, Message, Reason};
use vmc::wire::{References, RingNumber, RingSize};
use vmc::{Config, ConnKey, FourTuple, LeaveReason, Output, Pair, Platform, Statistics, Uuid, Vmc};

use super::peer::Peer;
use crate::endpoint::Socket;
use crate::tcp::{Connection, Path, Shared};
use crate::xen::{Clock, Dom, Holdings, Host, PAGE};

const VICTIM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
/// The addresses of the victim and its peer.
const LINK: Pair = Pair {
    local: VICTIM,
    remote: PEER,
};
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// Connections between the two.
const CONNECTIONS: usize = 3;
/// Most steps of a story; bytes beyond them are ignored.
const STEPS: usize = 400;

/// The part of the script that has not been read.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let len = (self.byte() as usize).min(most).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// Returns a word near `right`, or far from it.
    fn word(&mut self, right: u64) -> u64 {
        match self.byte() % 8 {
            0 => right,
            1 => right.wrapping_add(1),
            2 => right.wrapping_sub(1),
            3 => right.wrapping_add(self.short().into()),
            4 => right.wrapping_sub(self.short().into()),
            5 => 0,
            6 => u64::MAX,
            _ => u64::from(self.short()) << (self.byte() % 49),
        }
    }
}

struct Story {
    clock: Clock,
    victim: Vmc<Dom>,
    peer: Peer,
    connections: Vec<(Shared, Option<ConnKey>, FourTuple)>,
    /// Connections whose application has stopped writing.
    finished: [bool; CONNECTIONS],
    /// Base that the last SWITCH named.
    written: u64,
}

/// Plays a story to its end and returns what the victim counted.
///
/// # Panics
/// If the victim panics, loses count of what it holds, or does not come to rest.
pub fn run(bytes: &[u8]) -> Statistics {
    let mut script = Script(bytes);
    let flags = script.byte();
    let mut story = Story::new(flags);
    for _ in 0..STEPS {
        if script.0.is_empty() {
            break;
        }
        story.step(&mut script);
        story.turn();
    }
    story.end()
}

impl Story {
    fn new(flags: u8) -> Self {
        let host = Host::new(1);
        let clock = Clock::default();
        clock.set(SECOND);
        let dom = Dom::boot(&host, &clock, 1);
        let config = Config {
            uuid: Uuid([5; 16]),
            max_peers: 2,
            max_rings: if flags & 1 == 0 { 4 } else { 256 },
            largest_ring: if flags & 2 == 0 { 16384 } else { 65536 },
            memory: if flags & 4 == 0 { 1 << 20 } else { 128 << 10 },
            peer_timeout: 600 * SECOND,
        };
        let uuid = [if flags & 8 == 0 { 1 } else { 9 }; 16];
        let mut victim = Vmc::new(dom, config);
        victim.set_addresses(&[LINK.local]);
        let mut story = Self {
            victim,
            peer: Peer::new(Dom::boot(&host, &clock, 2), uuid),
            connections: Vec::new(),
            finished: [false; CONNECTIONS],
            written: 0,
            clock,
        };
        story.connect();
        match flags >> 4 & 3 {
            0 => story.peer_greets(),
            1 => story.victim_greets(),
            _ => {}
        }
        story
    }

    fn connect(&mut self) {
        for number in 0..CONNECTIONS as u16 {
            let path = Path {
                delay: 1,
                loss: 0,
                buffer: 1000,
            };
            let now = self.clock.get();
            let tcp = Connection::open(path, 1, now);
            for step in 1..4 {
                tcp.borrow_mut().advance(now + step);
            }
            let local = SocketAddr::new(VICTIM, 100 + number);
            let remote = SocketAddr::new(PEER, 200);
            self.connections
                .push((tcp, None, FourTuple { local, remote }));
        }
    }

    fn track(&mut self) {
        for (tcp, id, tuple) in &mut self.connections {
            if id.is_none() && !tcp.borrow().is_over(0) {
                let (sent, received) = tcp.borrow().offsets(0);
                *id = self
                    .victim
                    .track(*tuple, sent, received, tcp.borrow().is_closed(0));
            }
        }
    }

    fn peer_greets(&mut self) {
        for _ in 0..2 {
            let hello = self.peer.hello();
            self.victim.datagram(LINK, &hello);
            self.turn();
        }
        self.turn();
    }

    fn victim_greets(&mut self) {
        self.victim.greet(LINK);
        self.turn();
        self.turn();
    }

    /// Runs the victim until it has nothing to do.
    fn turn(&mut self) {
        let now = self.clock.get();
        let rung: Vec<_> = self
            .victim
            .links()
            .filter_map(|(link, port)| port.take_pending().then_some(link))
            .collect();
        for link in rung {
            self.victim.event(link);
        }
        for _ in 0..1000 {
            self.victim.poll();
            self.outputs(now);
            if !self.victim.has_work() {
                break;
            }
        }
        assert!(!self.victim.has_work(), "the victim's work does not end");
        let due = self.victim.deadline().is_some_and(|at| at.0 <= now);
        assert!(!due, "a timer is due after it was served");
        self.victim.flush();
        self.outputs(now);
        for (tcp, id, _) in &mut self.connections {
            tcp.borrow_mut().advance(now);
            if let Some(gone) = *id
                && tcp.borrow().is_over(0)
            {
                self.victim.forget(gone);
                *id = None;
            }
        }
        let (holds, says) = (self.victim.platform().holdings(), self.victim.statistics());
        assert_eq!(
            (holds.grants, holds.maps),
            (says.granted_pages, says.mapped_pages),
            "{holds:?} {says:?}"
        );
    }

    fn outputs(&mut self, now: u64) {
        while let Some(output) = self.victim.output() {
            match output {
                Output::Datagram { pair: LINK, bytes } => self.answer(&bytes),
                Output::LinkUp { .. } => self.track(),
                Output::Service(id) => self.with(id, |victim, tcp| victim.service(id, tcp), now),
                Output::Failed(id) => self.with(id, |_, tcp| vmc::Tcp::abort(tcp), now),
                Output::Readable(id) => {
                    self.with(
                        id,
                        |victim, tcp| _ = victim.read(id, tcp, &mut [0; 300]),
                        now,
                    );
                }
                _ => {}
            }
        }
    }

    /// Answers a datagram of the victim's as the protocol says.
    fn answer(&mut self, bytes: &[u8]) {
        match Datagram::decode(bytes).map(|datagram| datagram.kind) {
            Some(Kind::Challenge { .. }) => _ = self.peer.take_challenge(bytes),
            Some(Kind::Hello { .. }) => {
                if let Some(welcome) = self.peer.welcome(bytes) {
                    self.victim.datagram(LINK, &welcome);
                }
            }
            Some(Kind::Welcome { .. }) => _ = self.peer.accept(bytes),
            _ => {}
        }
    }

    fn with(&mut self, id: ConnKey, then: impl FnOnce(&mut Vmc<Dom>, &mut Socket<'_>), now: u64) {
        let mut all = self.connections.iter();
        if let Some((tcp, ..)) = all.find(|(_, own, _)| *own == Some(id)) {
            then(&mut self.victim, &mut Socket::new(tcp, 0, now));
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 => {
                let remote = [PEER, OTHER][usize::from(script.byte() % 2)];
                let bytes = script.bytes(80);
                self.victim.datagram(Pair { remote, ..LINK }, bytes);
            }
            1 => self.datagram(script),
            2 => {
                let bytes = script.bytes(255);
                self.peer.say(bytes);
            }
            3 => {
                let kind = script.byte();
                let payload = script.bytes(255);
                self.peer.message(kind, payload);
            }
            4..8 => self.sensible(script),
            8 => {
                let offset = usize::from(script.short()) * 8;
                let word = script.word(0);
                self.peer.poke(offset, word);
            }
            9 => {
                // Ring headers and doorbells, the words that matter most.
                let offset = 0x80 + usize::from(script.byte() % 144) * 8;
                let word = script.word(0);
                self.peer.poke(offset, word);
                self.peer.notify();
            }
            10 => self.poke_ring(script),
            11 => {
                let word = usize::from(script.byte());
                let bits = script.word(1);
                self.peer.doorbell(word, bits);
            }
            12 => {
                let millis = u64::from(script.byte()) * u64::from(script.byte() % 40);
                let at = self.clock.get() + millis * MILLISECOND;
                self.clock.set(at);
            }
            13 => self.application(script),
            14 => self.peer.listen(),
            _ => self.life(script),
        }
    }

    /// Sends a datagram with one byte changed.
    fn datagram(&mut self, script: &mut Script<'_>) {
        let mut bytes = match script.byte() % 4 {
            0 => self.peer.hello(),
            1 => self.peer.refused(script.short()),
            _ => {
                let hello = self.peer.hello();
                self.peer.welcome(&hello).unwrap_or_default()
            }
        };
        let (at, with) = (usize::from(script.byte()), script.byte());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= with;
        }
        self.victim.datagram(LINK, &bytes);
    }

    /// Sends a message that an honest peer might send, but for fields that the
    /// script spoils.
    fn sensible(&mut self, script: &mut Script<'_>) {
        let kind = 1 + script.byte() % 10;
        let number = u16::from(script.byte() % 6);
        let ring = RingNumber::new(number).expect("a ring number");
        let bytes = match kind {
            1 => {
                let mut frame = [0; 100];
                frame[12] = 8;
                frame[14] = 0x45;
                frame[26..30].copy_from_slice(&[10, 0, 0, script.byte() % 4]);
                frame[30..34].copy_from_slice(&[10, 0, 0, 1]);
                encoded(&Message::Frame(&frame))
            }
            2 => self.granted(ring, script),
            3 => {
                let port = 100 + u16::from(script.byte() % 4);
                let is_v6 = script.byte() & 1 != 0;
                let local = address(is_v6, 2 + script.byte() % 2);
                let base = script.word(0);
                self.written = base;
                let tuple = FourTuple {
                    local: SocketAddr::new(local, 200),
                    remote: SocketAddr::new(address(is_v6, 1), port),
                };
                let own = ring;
                encoded(&Message::Switch { own, tuple, base })
            }
            4 => {
                let reason = script.short();
                let message = Message::Confirm {
                    your: ring,
                    reason: Reason::Fallback,
                    offset: script.word(0),
                };
                spoilt(&message, 2, &reason.to_le_bytes())
            }
            5 => {
                let message = Message::Fallback {
                    own: ring,
                    reason: Reason::Fallback,
                };
                spoilt(&message, 2, &script.short().to_le_bytes())
            }
            6 => {
                let unused = script.short();
                let message = Message::Done {
                    your: ring,
                    offset: script.word(0),
                };
                spoilt(&message, 2, &unused.to_le_bytes())
            }
            7 => encoded(&Message::Retire { own: ring }),
            8 => encoded(&Message::Released { your: ring }),
            9 => {
                let event = script.byte() % 7;
                let message = Message::Member {
                    event: MemberEvent::Join,
                    uuid: Uuid([script.byte(); 16]),
                    address: address(false, script.byte() % 5),
                };
                spoilt(&message, 0, &[event])
            }
            _ => {
                let number = script.short() % 6;
                spoilt(&Message::Leave(Leave::Shutdown), 0, &number.to_le_bytes())
            }
        };
        self.peer.say(&bytes);
    }

    /// Grants a ring and returns its RING, with one reference, the size and the
    /// reserved byte as the script has them.
    fn granted(&mut self, own: RingNumber, script: &mut Script<'_>) -> Vec<u8> {
        let log2 = script.byte() % 10;
        let size = RingSize::within(PAGE << (log2 % 5));
        let victim = self.victim.platform().domid();
        let mut references = self.peer.ring(victim, size.pages());
        let (at, with) = (usize::from(script.byte()), u32::from(script.byte() % 16));
        if let Some(reference) = references.get_mut(at) {
            *reference ^= with;
        }
        let references = references.iter().flat_map(|number| number.to_le_bytes());
        let references: Vec<_> = references.collect();
        let message = Message::Ring {
            own,
            size,
            references: References(&references),
        };
        spoilt(&message, 2, &[log2, script.byte() % 3])
    }

    /// Writes into the header of a ring that the peer granted.
    fn poke_ring(&mut self, script: &mut Script<'_>) {
        let which = usize::from(script.byte());
        let offsets = [0, 0, 8, 0x10, 0x80, 0x88, 0x90];
        let offset = offsets[usize::from(script.byte() % 7)];
        let word = match offset {
            0 => script.word(self.written.wrapping_add(100)),
            8 => script.word(0) & 3,
            _ => script.word(self.written),
        };
        let count = self.peer.rings.len().max(1);
        if let Some(ring) = self.peer.rings.get(which % count) {
            assert!(ring.len() >= PAGE);
            ring.store(offset, word);
        }
        self.peer.doorbell(0, u64::MAX);
    }

    fn application(&mut self, script: &mut Script<'_>) {
        let now = self.clock.get();
        let which = usize::from(script.byte()) % CONNECTIONS;
        let (tcp, id, _) = &self.connections[which];
        let Some(id) = *id else {
            self.track();
            return;
        };
        let socket = &mut Socket::new(tcp, 0, now);
        let victim = &mut self.victim;
        match script.byte() % 8 {
            0..3 if self.finished[which] => {}
            0..3 => {
                _ = victim.write(
                    id,
                    socket,
                    &[3; 3000][..1 + usize::from(script.short() % 3000)],
                )
            }
            3 | 4 => _ = victim.read(id, socket, &mut [0; 3000]),
            5 => {
                self.finished[which] = true;
                victim.finish(id, socket);
            }
            6 => {
                self.finished[which] = true;
                victim.finish(id, socket);
                victim.release(id);
                victim.service(id, socket);
            }
            _ => {
                self.finished[which] = true;
                victim.abort(id, socket);
            }
        }
    }

    fn life(&mut self, script: &mut Script<'_>) {
        match script.byte() % 9 {
            0 => self.victim.leave(LeaveReason::Migrating),
            1 => self.victim.renew(),
            2 => self.victim.greet(LINK),
            3 => self.peer.vanish(),
            4 => self.peer.rings.clear(),
            5 => {
                let sent = self.victim.send_frame(LINK, &[1; 700]);
                assert!(
                    !sent || self.victim.links().next().is_some(),
                    "sent to nobody"
                );
            }
            // The victim answers each of them, and nobody reads the answers.
            6 => {
                for _ in 0..2000 {
                    self.sensible(&mut Script(&[2, 0, 3]));
                    self.turn();
                }
            }
            7 => {
                for _ in 0..3000 {
                    self.peer.notify();
                    self.turn();
                }
            }
            _ => self.peer_greets(),
        }
    }

    /// Destroys the peer and checks that the victim holds nothing of it.
    fn end(mut self) -> Statistics {
        self.peer.dom.end();
        let end = self.clock.get() + 8 * SECOND;
        self.turn();
        for _ in 0..2000 {
            match self.victim.deadline() {
                Some(at) if at.0 < end => self.clock.set(at.0.max(self.clock.get())),
                _ => break,
            }
            self.turn();
        }
        self.clock.set(end);
        self.turn();
        self.victim.leave(LeaveReason::Shutdown);
        self.clock.set(end + SECOND);
        self.turn();
        let clean = Holdings::default();
        let holds = self.victim.platform().holdings();
        let holds = Holdings {
            quarantined: 0,
            ..holds
        };
        assert_eq!(holds, clean, "the victim holds on to a dead peer's things");
        assert!(self.victim.is_alone(), "the victim is not alone");
        self.victim.statistics()
    }
}

/// Returns 10.0.0.`last`, or an IPv6 address that begins with the same bytes.
fn address(is_v6: bool, last: u8) -> IpAddr {
    let short = [10, 0, 0, last];
    if is_v6 {
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&short);
        octets.into()
    } else {
        short.into()
    }
}

/// Returns the bytes of a message.
fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// Returns the bytes of a message, with those of its payload from `at` on
/// replaced.
fn spoilt(message: &Message<'_>, at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = encoded(message);
    bytes[HEADER + at..][..with.len()].copy_from_slice(with);
    bytes
}
