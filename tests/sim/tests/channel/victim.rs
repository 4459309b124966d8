//! A guest whose peer is controlled by hand.

use std::net::{IpAddr, Ipv4Addr};

use sim::puppet::Peer;
use sim::tcp::Shared;
use sim::xen::{Clock, Dom, Host, SharedHost};
use vmc::wire::datagram::{Datagram, Kind, NO_COOKIE};
use vmc::{Config, ConnKey, FourTuple, Output, Pair, PeerState, Vmc};

use super::pair::{config, established};

/// A guest with a link to a peer that breaks the protocol when told to.
pub(super) struct Victim {
    host: SharedHost,
    pub(super) vmc: Vmc<Dom>,
    pub(super) peer: Peer,
    pub(super) clock: Clock,
    pub(super) outputs: Vec<Output>,
}

impl Victim {
    pub(super) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    /// Its address, and the peer's.
    pub(super) const LINK: Pair = Pair {
        local: Self::LOCAL.0,
        remote: Self::PEER,
    };
    /// Its end of the connection.
    pub(super) const LOCAL: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 100);
    /// The peer's end.
    pub(super) const REMOTE: (IpAddr, u16) = (Self::PEER, 200);

    /// Returns a guest that has never heard of its peer.
    pub(super) fn alone() -> Self {
        Self::with(config(1))
    }

    /// The same with other limits.
    pub(super) fn with(config: Config) -> Self {
        let (host, clock) = (Host::new(1), Clock::default());
        clock.set(1);
        let mut vmc = Vmc::new(Dom::boot(&host, &clock, 1), config);
        vmc.set_addresses(&[Self::LINK.local]);
        let peer = Peer::new(Dom::boot(&host, &clock, 2), [2; 16]);
        Self {
            host,
            vmc,
            peer,
            clock,
            outputs: Vec::new(),
        }
    }

    /// Returns a guest with a link that it owns.
    pub(super) fn linked() -> Self {
        Self::alone().linked_now()
    }

    /// Makes a link that the guest owns.
    pub(super) fn linked_now(self) -> Self {
        let mut victim = self;
        victim.greet_it();
        let welcome = victim.outputs.iter().find_map(|output| match output {
            Output::Datagram { bytes, .. } => {
                let kind = Datagram::decode(bytes)?.kind;
                matches!(kind, Kind::Welcome { .. }).then(|| bytes.clone())
            }
            _ => None,
        });
        let welcome = welcome.expect("an answer");
        victim.peer.accept(&welcome).expect("what was offered");
        victim.turn();
        assert_eq!(victim.vmc.peer(Self::LINK), PeerState::Linked);
        victim
    }

    /// The peer says HELLO, and again with the cookie that it gets.
    pub(super) fn greet_it(&mut self) {
        for _ in 0..2 {
            let hello = self.peer.hello();
            self.vmc.datagram(Self::LINK, &hello);
            self.turn();
            for output in &self.outputs {
                if let Output::Datagram { bytes, .. } = output {
                    self.peer.take_challenge(bytes);
                }
            }
        }
    }

    /// Returns another guest, at 10.0.0.`last`, and the pair of addresses with it.
    pub(super) fn another(&self, last: u8) -> (Peer, Pair) {
        let dom = Dom::boot(&self.host, &self.clock, last.into());
        let remote = IpAddr::from([10, 0, 0, last]);
        (Peer::new(dom, [last; 16]), Self::pair_with(remote))
    }

    /// Returns the victim's address and another.
    pub(super) fn pair_with(remote: IpAddr) -> Pair {
        Pair {
            remote,
            ..Self::LINK
        }
    }

    /// `peer` says HELLO from an address, and again with the cookie that it gets; returns the answer
    /// to that, if there is one.
    pub(super) fn greeted_by(&mut self, peer: &mut Peer, pair: Pair) -> Option<Datagram> {
        peer.cookie = NO_COOKIE;
        let mut answer = None;
        for _ in 0..2 {
            let before = self.outputs.len();
            self.vmc.datagram(pair, &peer.hello());
            self.turn();
            for output in &self.outputs[before..] {
                if let Output::Datagram { bytes, .. } = output
                    && !peer.take_challenge(bytes)
                {
                    answer = Datagram::decode(bytes);
                }
            }
        }
        answer
    }

    /// Makes a link with `peer`, which greets from an address.
    pub(super) fn link_with(&mut self, peer: &mut Peer, pair: Pair) {
        let welcome = self.greeted_by(peer, pair).expect("an answer");
        peer.accept(&welcome.encode()).expect("what was offered");
        self.turn();
        assert_eq!(self.vmc.peer(pair), PeerState::Linked);
    }

    /// Opens a connection to the peer, with the victim as client.
    pub(super) fn connect(&mut self) -> (ConnKey, Shared) {
        let tuple = FourTuple {
            local: Self::LOCAL.into(),
            remote: Self::REMOTE.into(),
        };
        let conn = self.vmc.track(tuple, 0, 0, false).expect("room");
        (conn, established(self.clock.get()))
    }

    pub(super) fn turn(&mut self) {
        let links = self.vmc.links();
        let rung = links.filter_map(|(link, port)| port.take_pending().then_some(link));
        for link in rung.collect::<Vec<_>>() {
            self.vmc.event(link);
        }
        self.vmc.poll();
        while let Some(output) = self.vmc.output() {
            self.outputs.push(output);
        }
        self.vmc.flush();
    }

    /// Runs the victim for `nanos`, from timer to timer.
    pub(super) fn pass(&mut self, nanos: u64) {
        let end = self.clock.get() + nanos;
        self.turn();
        while let Some(at) = self.vmc.deadline().filter(|at| at.0 <= end) {
            self.clock.set(at.0);
            self.turn();
        }
        self.clock.set(end);
        self.turn();
    }
}
