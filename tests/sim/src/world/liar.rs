//! A domain that speaks in whole, grammatical but hostile sequences, to several
//! guests and from several addresses at once; and what it may cost them.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use vmc::{DomId, FourTuple, Pair, Platform};

use super::{Event, Flow, MILLISECOND, World};
use crate::endpoint::Endpoint;
use crate::frames::Cargo;
use crate::ledger::Ledger;
use crate::network::Datagram;
use crate::place::liars;
use crate::plan::Plan;
use crate::puppet::{Phrase, Stage, Voice};
use crate::tcp::{Connection, Path};
use crate::xen::Dom;

/// The number that the liar has where guests have theirs.
pub(super) const LIAR: usize = usize::MAX;

/// The hostile domain.
pub(super) struct Liar {
    dom: Dom,
    voices: Vec<Voice>,
    moves: u16,
}

impl Liar {
    pub(super) const fn new(dom: Dom) -> Self {
        Self {
            dom,
            voices: Vec::new(),
            moves: 0,
        }
    }

    pub(super) fn domid(&self) -> DomId {
        self.dom.domid()
    }

    /// Returns an address that it has not used before.
    fn fresh(&mut self, is_v6: bool) -> IpAddr {
        self.moves += 1;
        liars(self.moves, is_v6)
    }
}

impl World {
    /// Boots the liar.
    pub(super) fn let_liar_in(&mut self) {
        let seed = self.random.u64(..);
        let dom = Dom::boot(&self.hosts[0], &self.wires.clock, seed);
        self.liar = Some(Liar::new(dom));
    }

    /// Has the liar speak to a guest, from a new address.
    pub(super) fn lie(&mut self, victim: usize, slot: usize, program: &[Phrase], times: u32) {
        let addresses = &self.guests[victim].addresses;
        let victim_address = slot
            .checked_rem(addresses.len())
            .and_then(|slot| addresses.get(slot).copied());
        let (Some(liar), Some(victim_address)) = (&mut self.liar, victim_address) else {
            return;
        };
        let address = liar.fresh(victim_address.is_ipv6());
        let seed = self.random.u64(..);
        let ends = (address, victim, victim_address);
        let voice = Voice::new(liar.dom.twin(), ends, program, times, seed);
        liar.voices.push(voice);
        let at = self.now() + self.random.u64(..MILLISECOND);
        self.at(at, Event::Voice(self.liar_voices() - 1));
    }

    fn liar_voices(&self) -> usize {
        self.liar.as_ref().map_or(0, |liar| liar.voices.len())
    }

    /// A voice does its next step.
    pub(super) fn speak(&mut self, index: usize) {
        let now = self.now();
        let Some(voice) = self
            .liar
            .as_mut()
            .and_then(|liar| liar.voices.get_mut(index))
        else {
            return;
        };
        let stage = voice.step(now);
        let (at, is_done) = (voice.wake_at, voice.is_done());
        for frame in std::mem::take(&mut voice.frames) {
            if let Some(Cargo::Segment { tcp, side, id }) = self.wires.frames.claim(&frame) {
                tcp.borrow_mut().arrive_by_link(side, id, now);
            }
        }
        match stage {
            None => {}
            Some(Stage::Datagram(bytes)) => self.utter(index, bytes),
            Some(Stage::Connect(port)) => self.intrude(index, port),
            Some(Stage::Move) => {
                if let Some(liar) = &mut self.liar {
                    let is_v6 = liar.voices[index].address.is_ipv6();
                    liar.voices[index].address = liar.fresh(is_v6);
                }
            }
        }
        if !is_done {
            self.at(at, Event::Voice(index));
        }
    }

    fn utter(&mut self, index: usize, bytes: Vec<u8>) {
        let now = self.now();
        if let Some(liar) = &self.liar {
            let voice = &liar.voices[index];
            let datagram = Datagram {
                from: voice.address,
                to: voice.victim_address,
                origin: Some(LIAR),
                bytes,
            };
            self.wires.network.send(now, &datagram);
        }
    }

    /// Opens a TCP connection from a voice to its victim.
    fn intrude(&mut self, index: usize, port: u16) {
        let now = self.now();
        let seed = self.random.u64(..);
        let Some(voice) = self.liar.as_mut().map(|liar| &mut liar.voices[index]) else {
            return;
        };
        let (victim, pair) = (
            voice.victim,
            Pair {
                local: voice.address,
                remote: voice.victim_address,
            },
        );
        if !self.guests[victim].is_up() || self.wires.places.owner(pair.remote) != Some(victim) {
            return;
        }
        let tcp = Connection::open_routed(Path::NEAR, seed, now, [false, true]);
        voice.connected(Rc::clone(&tcp));
        let number = self.connections;
        self.connections += 1;
        self.report.connections += 1;
        let ledger = Ledger::new(number, [LIAR, victim], true);
        ledger.borrow_mut().gone[0] = true;
        let tuple = FourTuple {
            local: SocketAddr::new(pair.remote, 7),
            remote: SocketAddr::new(pair.local, port),
        };
        let plan = Plan::stream(9000);
        let endpoint = Endpoint::new(Rc::clone(&ledger), 1, Rc::clone(&tcp), tuple, plan);
        self.guests[victim].endpoints.push(endpoint);
        self.flows.push(Flow {
            ledger,
            tcp,
            pair,
            due: None,
        });
    }

    /// Takes a datagram for one of the liar's addresses.
    pub(super) fn tell_liar(&mut self, datagram: &Datagram) {
        let Some(liar) = &mut self.liar else {
            return;
        };
        let mut voices = liar.voices.iter_mut();
        let index = voices.position(|voice| voice.address == datagram.to);
        let answer = index.and_then(|index| {
            let bytes = liar.voices[index].datagram(&datagram.bytes)?;
            Some((index, bytes))
        });
        if let Some((index, bytes)) = answer {
            self.utter(index, bytes);
        }
    }

    /// Destroys the liar.
    pub(super) fn destroy_liar(&mut self) {
        self.hush_liar();
        if let Some(mut liar) = self.liar.take() {
            self.wires.log.note(|| "the liar is destroyed".to_owned());
            liar.dom.end();
            self.liar_was = Some(liar.domid());
        }
    }

    /// Ends the liar's TCP connections, as TCP does in the end.
    pub(super) fn hush_liar(&mut self) {
        let Some(liar) = &self.liar else {
            return;
        };
        for tcp in liar.voices.iter().flat_map(Voice::connections) {
            let mut tcp = tcp.borrow_mut();
            tcp.bury(0);
            if !tcp.is_over(1) {
                tcp.fail(1);
            }
        }
    }
}
