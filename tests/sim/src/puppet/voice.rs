//! A hostile domain as it speaks from one address to one victim: it follows a
//! sequence of phrases.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use shared_memory::Memory;
use vmc::FourTuple;
use vmc::wire::datagram::{Datagram, Kind};
use vmc::wire::message::{Leave, MemberEvent, Message, Reason};
use vmc::wire::{References, RingNumber, RingSize};
use vmc::{DomId, Platform, Uuid};

use super::peer::Peer;
use super::phrase::Phrase;
use crate::tcp::Shared;
use crate::xen::{Dom, Mapping, PAGE};

/// Port of its end of connections, of the first one.
const PORT: u16 = 1000;
/// Bytes written to a ring at once.
const BYTES: u64 = 3000;
/// How long it waits for an answer.
const PATIENCE: u64 = 300_000_000;
/// How long a step takes.
const STEP: u64 = 60_000;

/// What a voice wants of the world.
#[derive(Debug)]
pub enum Stage {
    /// It sends a datagram to its victim.
    Datagram(Vec<u8>),
    /// It opens a TCP connection to its victim from this port.
    Connect(u16),
    /// It goes on under another address.
    Move,
}

/// The ring of a RING or GRANTED of the victim's.
struct Heard {
    number: u16,
    mapping: Option<Mapping>,
}

/// A hostile domain, at one address, with one victim.
pub struct Voice {
    /// The puppet.
    pub peer: Peer,
    /// Its address.
    pub address: IpAddr,
    /// Number of its victim.
    pub victim: usize,
    /// The victim's address.
    pub victim_address: IpAddr,
    /// When it goes on.
    pub wake_at: u64,
    /// Frames that the victim has sent by the link.
    pub frames: Vec<Vec<u8>>,
    program: VecDeque<Phrase>,
    whole: Vec<Phrase>,
    times: u32,
    /// What is left of a long phrase.
    rest: u16,
    waits_until: Option<u64>,
    offers: bool,
    holds: bool,
    is_mute: bool,
    welcome: Option<Vec<u8>>,
    connections: Vec<(Shared, SocketAddr)>,
    next_port: u16,
    next_ring: u16,
    /// Rings of its own that it wrote, with their bases.
    written: Vec<(u16, u64)>,
    /// Rings that it asked for.
    asked: Vec<Heard>,
    /// The victim's rings.
    theirs: Vec<Heard>,
    /// Mappings of rings that it says it gave back.
    kept: Vec<Mapping>,
    random: fastrand::Rng,
}

fn number(number: u16) -> RingNumber {
    RingNumber::new(number % 256).unwrap_or_else(|| unreachable!("below 512"))
}

impl Voice {
    /// Returns a voice that follows `program` this many times.
    #[must_use]
    pub fn new(
        dom: Dom,
        ends: (IpAddr, usize, IpAddr),
        program: &[Phrase],
        times: u32,
        seed: u64,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut uuid = [0; 16];
        random.fill(&mut uuid);
        let (address, victim, victim_address) = ends;
        Self {
            peer: Peer::new(dom, uuid),
            address,
            victim,
            victim_address,
            wake_at: 0,
            frames: Vec::new(),
            program: program.iter().copied().collect(),
            whole: program.to_vec(),
            times,
            rest: 0,
            waits_until: None,
            offers: true,
            holds: false,
            is_mute: false,
            welcome: None,
            connections: Vec::new(),
            next_port: PORT,
            next_ring: 0,
            written: Vec::new(),
            asked: Vec::new(),
            theirs: Vec::new(),
            kept: Vec::new(),
            random,
        }
    }

    /// Whether it has said all.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.program.is_empty() && self.times <= 1
    }

    /// A connection that it asked for is there.
    pub fn connected(&mut self, tcp: Shared) {
        let end = SocketAddr::new(self.address, self.next_port - 1);
        self.connections.push((tcp, end));
    }

    /// Takes a datagram of its victim; returns the answer.
    pub fn datagram(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        match Datagram::decode(bytes)?.kind {
            Kind::Challenge { .. } => self.peer.take_challenge(bytes).then(|| self.peer.hello()),
            Kind::Hello { .. } if self.offers => {
                self.forget_link();
                self.peer.welcome(bytes)
            }
            Kind::Welcome { .. } if self.holds => {
                self.welcome = Some(bytes.to_vec());
                None
            }
            Kind::Welcome { .. } => {
                self.forget_link();
                _ = self.peer.accept(bytes);
                None
            }
            _ => None,
        }
    }

    fn forget_link(&mut self) {
        self.written.clear();
        self.asked.clear();
        self.theirs.clear();
        self.next_ring = 0;
        self.is_mute = false;
    }

    /// Does the next step at `now`; returns what the world is to do.
    pub fn step(&mut self, now: u64) -> Option<Stage> {
        self.wake_at = now + STEP + self.random.u64(..STEP);
        if !self.is_mute {
            self.listen();
        }
        if self.program.is_empty() && self.times > 1 {
            self.times -= 1;
            self.program.extend(&self.whole);
        }
        let phrase = *self.program.front()?;
        let is_waiting = self.waits_until.is_some();
        let deadline = *self.waits_until.get_or_insert(now + PATIENCE);
        let (stage, is_over) = self.speak(phrase, is_waiting, now);
        if is_over || now >= deadline {
            self.program.pop_front();
            self.waits_until = None;
            self.rest = 0;
        }
        stage
    }

    /// Says as much of a phrase as is possible now. `is_waiting`: it has begun.
    fn speak(&mut self, phrase: Phrase, is_waiting: bool, now: u64) -> (Option<Stage>, bool) {
        match phrase {
            Phrase::Move => return (Some(Stage::Move), true),
            Phrase::Greet | Phrase::GreetAndHold if !is_waiting => {
                self.holds = phrase == Phrase::GreetAndHold;
                self.welcome = None;
                self.random.fill(&mut self.peer.nonce_a);
                return (Some(Stage::Datagram(self.peer.hello())), false);
            }
            Phrase::Greet => return (None, self.peer.has_link()),
            Phrase::GreetAndHold => return (None, self.welcome.is_some()),
            Phrase::Open => {
                if let Some(welcome) = self.welcome.take() {
                    self.forget_link();
                    _ = self.peer.accept(&welcome);
                }
            }
            Phrase::Offer(offers) => self.offers = offers,
            Phrase::Connect => {
                self.next_port += 1;
                return (Some(Stage::Connect(self.next_port - 1)), true);
            }
            Phrase::Write => {
                let is_ready = |tcp: &Shared| tcp.borrow().is_established(0);
                match self.connections.last() {
                    Some((tcp, _)) if !is_ready(tcp) => return (None, false),
                    Some(_) => self.write(),
                    None => {}
                }
            }
            Phrase::Toggle(count) => {
                return (
                    None,
                    self.many(2 * count, |_, at| Message::Migrating(at % 2 == 0)),
                );
            }
            Phrase::Members(count) => {
                return (
                    None,
                    self.many(count, |random, _| Message::Member {
                        event: [MemberEvent::Join, MemberEvent::Gone, MemberEvent::Arrived]
                            [random.usize(..3)],
                        uuid: Uuid([random.u8(..); 16]),
                        address: IpAddr::from([10, 0, random.u8(..3), random.u8(..6)]),
                    }),
                );
            }
            Phrase::Frames(count) => {
                let mut frame = [0; 80];
                frame[12] = 8;
                frame[14] = 0x45;
                if let IpAddr::V4(address) = self.address {
                    frame[26..30].copy_from_slice(&address.octets());
                }
                return (None, self.many(count, |_, _| Message::Frame(&frame)));
            }
            Phrase::Ask { count, log2 } => return (None, self.ask(count, log2)),
            Phrase::Retire => self.retire(),
            Phrase::Answer(takes) => self.answer(takes),
            Phrase::Fallback => {
                for (own, _) in std::mem::take(&mut self.written) {
                    self.tell(&Message::Fallback {
                        own: number(own),
                        reason: Reason::Fallback,
                    });
                }
            }
            Phrase::Leave(reason) => self.tell(&Message::Leave(match reason {
                1 => Leave::Shutdown,
                2 => Leave::Migrating,
                _ => Leave::Answer,
            })),
            Phrase::Freeze => {
                self.peer.announce_freeze();
                self.peer.freeze();
            }
            Phrase::Close => self.peer.close(),
            Phrase::Vanish => {
                self.theirs.clear();
                self.peer.vanish();
            }
            Phrase::Reset => {
                for (tcp, _) in &self.connections {
                    tcp.borrow_mut().abort(0, now);
                }
            }
            Phrase::Resume(count) => {
                self.rest += 1;
                return (Some(Stage::Datagram(self.resume())), self.rest >= count);
            }
            Phrase::Mute(is_mute) => self.is_mute = is_mute,
            Phrase::Sleep(nanos) => self.wake_at = now + nanos,
        }
        (None, true)
    }

    fn tell(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        if self.peer.room() >= bytes.len() {
            self.peer.say(&bytes);
        }
    }

    /// Says `count` messages, as many as there is room for now; returns whether
    /// that was all.
    fn many<'a>(
        &mut self,
        count: u16,
        mut message: impl FnMut(&mut fastrand::Rng, u16) -> Message<'a>,
    ) -> bool {
        let mut bytes = Vec::new();
        let room = self.peer.room();
        while self.rest < count {
            let start = bytes.len();
            message(&mut self.random, self.rest).encode(&mut bytes);
            if bytes.len() > room {
                bytes.truncate(start);
                break;
            }
            self.rest += 1;
        }
        self.peer.say(&bytes);
        self.rest >= count || !self.peer.has_link()
    }

    /// Reads what the victim says, and answers as an honest guest would.
    fn listen(&mut self) {
        for (kind, payload) in self.peer.hear() {
            match Message::decode(kind, &payload) {
                Some(Message::Granted {
                    your, references, ..
                }) if !references.is_empty() => {
                    let references: Vec<_> = references.iter().collect();
                    let mapping = self.peer.map(&references);
                    self.asked.push(Heard {
                        number: your.get(),
                        mapping,
                    });
                }
                Some(Message::Ring {
                    own, references, ..
                }) => {
                    let references: Vec<_> = references.iter().collect();
                    let mapping = self.peer.map(&references);
                    self.theirs.push(Heard {
                        number: own.get(),
                        mapping,
                    });
                }
                Some(Message::Frame(frame)) => self.frames.push(frame.to_vec()),
                Some(Message::Retire { own }) => {
                    self.theirs.retain(|ring| ring.number != own.get());
                    self.tell(&Message::Released { your: own });
                }
                _ => {}
            }
        }
    }

    /// Grants a ring, SWITCHes the last connection to it, and writes.
    fn write(&mut self) {
        let Some((_, local)) = self.connections.last().map(|(tcp, end)| (tcp, *end)) else {
            return;
        };
        let (own, size) = (self.next_ring, RingSize::within(PAGE));
        let references = self.peer.ring(self.peer.victim, size.pages());
        if references.is_empty() || !self.peer.has_link() {
            return;
        }
        self.next_ring += 1;
        let bytes: Vec<_> = references
            .iter()
            .flat_map(|one| one.to_le_bytes())
            .collect();
        if let Some(ring) = self.peer.rings.last() {
            ring.store(0, BYTES);
        }
        self.tell(&Message::Ring {
            own: number(own),
            size,
            references: References(&bytes),
        });
        let tuple = FourTuple {
            local,
            remote: SocketAddr::new(self.victim_address, 7),
        };
        self.tell(&Message::Switch {
            own: number(own),
            tuple,
            base: 0,
        });
        self.written.push((own, BYTES));
        self.peer
            .doorbell(usize::from(own / 64) % 8, 1 << (own % 64));
    }

    /// Asks for rings in pages of the victim.
    fn ask(&mut self, count: u16, log2: u8) -> bool {
        let size = RingSize::from_log2(log2.min(8)).unwrap_or(RingSize::LARGEST);
        if !self.peer.has_link() {
            return true;
        }
        if self.rest == 0 {
            for _ in 0..count {
                self.tell(&Message::Ask {
                    own: number(self.next_ring),
                    size,
                });
                self.next_ring += 1;
            }
            self.rest = 1;
        }
        self.asked.len() >= usize::from(count)
    }

    /// RETIRE for every ring that was asked for, none of which is unmapped.
    fn retire(&mut self) {
        for ring in std::mem::take(&mut self.asked) {
            self.tell(&Message::Retire {
                own: number(ring.number),
            });
            self.kept.extend(ring.mapping);
        }
    }

    /// Answers the victim's rings, with what it took from them.
    fn answer(&mut self, takes: bool) {
        for ring in std::mem::take(&mut self.theirs) {
            let tail = ring.mapping.as_ref().map_or(0, |ring| ring.load(0));
            let offset = if takes { tail & !(1 << 63) } else { 0 };
            if let Some(ring) = &ring.mapping {
                ring.store(0x80, offset);
            }
            let your = number(ring.number);
            if self.random.bool() {
                self.tell(&Message::Done { your, offset });
            } else {
                self.tell(&Message::Confirm {
                    your,
                    reason: Reason::Fallback,
                    offset,
                });
            }
        }
    }

    fn resume(&mut self) -> Vec<u8> {
        let entries: Vec<_> = self
            .connections
            .iter()
            .rev()
            .take(20)
            .map(|(_, local)| {
                let local = (local.ip(), local.port());
                let offset = self.random.u64(..5000);
                ([local, (self.victim_address, 7)], offset)
            })
            .collect();
        self.peer.resume(&entries)
    }

    /// Its domain.
    #[must_use]
    pub fn domid(&self) -> DomId {
        self.peer.dom.domid()
    }

    /// Its TCP connections.
    pub fn connections(&self) -> impl Iterator<Item = &Shared> {
        self.connections.iter().map(|(tcp, _)| tcp)
    }
}
