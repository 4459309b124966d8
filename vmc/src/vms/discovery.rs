//! Who lives on this host? One datagram asks (design rule R1); the answer is
//! believed when it has been proved (`proof`).

use core::net::IpAddr;

use super::control::Side;
use super::datagram::{Datagram, Kind, Nonce, Refusal};
use super::resume::Resume;
use super::{Asking, PeerState};
use crate::channel::Vmc;
use crate::config::Mode;
use crate::limits::{HELLO_AGAIN, HELLO_TIMEOUT, REMOTE};
use crate::output::Output;
use crate::platform::{Instant, Platform};

impl<P: Platform> Vmc<P> {
    /// Finds out whether a Causeway of this host lives at `address`, where
    /// that is not known: the first contact sends HELLO.
    pub fn greet(&mut self, address: IpAddr) {
        if self.config.mode == Mode::Off || self.parted {
            return;
        }
        let now = self.platform.now();
        if self.state_at(address, now) != PeerState::Unknown {
            return;
        }
        let mut nonce = [0; 16];
        self.platform.random(&mut nonce);
        self.vms.ask(
            address,
            Asking {
                nonce,
                since: now,
                sent: 1,
                next: now.after(HELLO_AGAIN[0]),
            },
        );
        self.send(address, nonce, Kind::Hello);
    }

    /// What is known of the guest at `address`.
    pub fn peer(&self, address: IpAddr) -> PeerState {
        self.state_at(address, self.platform.now())
    }

    fn state_at(&self, address: IpAddr, now: Instant) -> PeerState {
        let Some(element) = self.vms.element(address) else {
            return PeerState::Unknown;
        };
        if element.link.is_some() {
            PeerState::Linked
        } else if element.asking.is_some() || element.candidate.is_some() {
            PeerState::Asking
        } else if element.remote_until.is_some_and(|until| now < until) {
            PeerState::Remote
        } else {
            PeerState::Unknown
        }
    }

    /// A datagram has come in on [`PORT`](crate::PORT), from that port.
    pub fn datagram(&mut self, from: IpAddr, bytes: &[u8]) {
        if let Some(resume) = Resume::decode(bytes)
            && resume.uuid != self.config.uuid
            && self.config.mode != Mode::Off
        {
            if self.resumed(from, &resume) {
                self.stats.datagrams += 1;
            } else {
                self.stats.datagrams_dropped += 1;
            }
            return;
        }
        let datagram = Datagram::decode(bytes)
            .filter(|datagram| datagram.uuid != self.config.uuid && self.config.mode != Mode::Off);
        let taken = datagram.is_some_and(|datagram| match datagram.kind {
            Kind::Hello => self.hello(from, &datagram),
            Kind::Welcome {
                nonce_b,
                reference,
                port,
            } => self.welcome(from, &datagram, nonce_b, reference, port),
            Kind::Refused(_) => self.refused(from, datagram.nonce_a),
        });
        if taken {
            self.stats.datagrams += 1;
        } else {
            self.stats.datagrams_dropped += 1;
        }
    }

    fn hello(&mut self, from: IpAddr, hello: &Datagram) -> bool {
        if self.parted {
            self.send(from, hello.nonce_a, Kind::Refused(Refusal::Leaving));
            return true;
        }
        // Nobody grants pages to himself: the other is on another host.
        if hello.domid == self.platform.domid() {
            self.send(from, hello.nonce_a, Kind::Refused(Refusal::NotCoResident));
            return true;
        }
        let element = self.vms.element(from).copied().unwrap_or_default();
        if let Some((index, link)) = element
            .candidate
            .and_then(|index| Some((index, self.links.get(index)?)))
        {
            if link.nonce_a == hello.nonce_a && link.uuid == hello.uuid {
                self.send_welcome(index);
                return true;
            }
            // We have mapped what was offered from this address: nobody ends
            // that with a datagram.
            if link.side == Side::Mapper {
                return true;
            }
        }
        // Both greet: the greater one answers.
        if element.asking.is_some() && self.config.uuid < hello.uuid {
            return true;
        }
        if let Err(refusal) = self.offer(from, hello) {
            self.send(from, hello.nonce_a, Kind::Refused(refusal));
        }
        true
    }

    fn welcome(
        &mut self,
        from: IpAddr,
        welcome: &Datagram,
        nonce_b: Nonce,
        reference: u32,
        port: u32,
    ) -> bool {
        let asked = self.vms.element(from).and_then(|element| element.asking);
        if asked.is_none_or(|asking| asking.nonce != welcome.nonce_a) {
            // Late, repeated, or never asked for.
            return false;
        }
        if let Err(refusal) = self.accept(from, welcome, nonce_b, reference, port) {
            let until = self.platform.now().after(REMOTE);
            self.vms.set_remote(from, until);
            self.send(from, welcome.nonce_a, Kind::Refused(refusal));
        }
        true
    }

    fn refused(&mut self, from: IpAddr, nonce_a: Nonce) -> bool {
        let Some(element) = self.vms.element(from).copied() else {
            return false;
        };
        if element.asking.is_some_and(|asking| asking.nonce == nonce_a) {
            let until = self.platform.now().after(REMOTE);
            self.vms.set_remote(from, until);
            return true;
        }
        match element.candidate {
            Some(index)
                if self
                    .links
                    .get(index)
                    .is_some_and(|link| link.nonce_a == nonce_a) =>
            {
                self.withdraw(index);
                true
            }
            _ => false,
        }
    }

    /// Sends HELLOs that are due again, and gives up.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        loop {
            let due = self.vms.asked().find(|(_, asking)| now >= asking.next);
            let Some((address, mut asking)) = due else {
                return;
            };
            if now >= asking.since.after(HELLO_TIMEOUT) {
                self.vms.set_remote(address, now.after(REMOTE));
                continue;
            }
            asking.sent += 1;
            let next = HELLO_AGAIN.get(asking.sent - 1).copied();
            asking.next = asking.since.after(next.unwrap_or(HELLO_TIMEOUT));
            self.vms.ask(address, asking);
            self.send(address, asking.nonce, Kind::Hello);
        }
    }

    /// When the next HELLO is due.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.vms.asked().map(|(_, asking)| asking.next).min()
    }

    pub(super) fn send(&mut self, to: IpAddr, nonce_a: Nonce, kind: Kind) {
        let datagram = Datagram {
            domid: self.platform.domid(),
            uuid: self.config.uuid,
            nonce_a,
            kind,
        };
        self.output_if_room(Output::Datagram {
            to,
            bytes: datagram.encode(),
        });
    }
}
