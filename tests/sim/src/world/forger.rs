//! Hosts elsewhere that forge datagrams. They see what is sent to addresses of
//! their own, and nothing else.

use std::net::IpAddr;

use vmc::wire::datagram::{Cookie, Datagram as Discovery, Kind, Refusal};
use vmc::wire::resume::{Entry, Resume};
use vmc::{FourTuple, Uuid};

use super::{Event, World};
use crate::network::Datagram;
use crate::place::v4;
use crate::scenario::{Claim, Forged, Forgery};

/// Subnet of the forgers' own addresses.
const SUBNET: u8 = 77;

/// An address of the forgers.
pub(crate) const fn own(last: u8) -> IpAddr {
    v4(SUBNET, last)
}

/// What the forgers have heard.
#[derive(Debug, Default)]
pub(super) struct Forgers {
    /// The last datagram to one of their addresses.
    heard: Option<Discovery>,
    /// The last cookie that one of them got.
    cookie: Option<Cookie>,
}

impl World {
    /// Takes a datagram for an address that no guest has.
    pub(super) fn tell_forgers(&mut self, datagram: &Datagram) {
        let IpAddr::V4(to) = datagram.to else {
            return;
        };
        if to.octets()[2] == SUBNET
            && let Some(heard) = Discovery::decode(&datagram.bytes)
        {
            if let Kind::Challenge { cookie } = heard.kind {
                self.forgers.cookie = Some(cookie);
            }
            self.forgers.heard = Some(heard);
        }
    }

    /// Sends forged datagrams, one after the other.
    pub(super) fn forge(&mut self, forgery: Forgery) {
        let Some(bytes) = self.forged(&forgery) else {
            return;
        };
        let now = self.now();
        let addresses = &self.guests[forgery.victim].addresses;
        let to = forgery.slot.checked_rem(addresses.len());
        let Some(mut to) = to.and_then(|slot| addresses.get(slot).copied()) else {
            return;
        };
        if forgery.is_broadcast
            && let IpAddr::V4(address) = to
        {
            let [a, b, c, _] = address.octets();
            to = IpAddr::from([a, b, c, 255]);
        }
        let from = match forgery.from {
            Claim::Guest(guest) => self.guests[guest].addresses.first().copied(),
            Claim::Own(last) => Some(own(last)),
            Claim::Nobody => Some(v4(self.random.u8(100..200), self.random.u8(1..255))),
        };
        if let Some(from) = from {
            let datagram = Datagram {
                from,
                to,
                origin: None,
                bytes,
            };
            self.wires.network.send(now, &datagram);
        }
        if forgery.count > 1 {
            let next = Forgery {
                count: forgery.count - 1,
                ..forgery
            };
            self.at(now + forgery.gap, Event::Forge(next));
        }
    }

    fn forged(&mut self, forgery: &Forgery) -> Option<Vec<u8>> {
        let random = &mut self.random;
        let mut nonce_a: [u8; 16] = std::array::from_fn(|_| random.u8(..));
        let mut uuid = Uuid(std::array::from_fn(|_| random.u8(..)));
        let mut domid = random.u16(1..40);
        if let Some(guest) = forgery.identity {
            uuid = self.uuids[guest];
            domid = self.guests[guest].domid();
        }
        if forgery.knows_nonce {
            nonce_a = self.forgers.heard?.nonce_a;
        }
        let random = &mut self.random;
        let kind = match forgery.message {
            Forged::Hello => Kind::Hello {
                cookie: match self.forgers.cookie {
                    Some(cookie) if forgery.knows_nonce => cookie,
                    _ => std::array::from_fn(|_| random.u8(..)),
                },
            },
            Forged::Challenge => Kind::Challenge {
                cookie: std::array::from_fn(|_| random.u8(..)),
            },
            Forged::Welcome => Kind::Welcome {
                nonce_b: std::array::from_fn(|_| random.u8(..)),
                reference: random.u32(8..60),
                port: random.u32(4..12),
            },
            Forged::Refused => Kind::Refused(
                [Refusal::NotCoResident, Refusal::NoRoom, Refusal::Leaving][random.usize(..3)],
            ),
            Forged::Resume | Forged::Resumed => {
                let flow = self.flows.get(random.usize(..=self.flows.len()));
                let entries: Vec<_> = flow
                    .map(|flow| {
                        let port = 40_000 + flow.ledger.borrow().number as u16;
                        Entry {
                            tuple: FourTuple {
                                local: (flow.pair.local, port).into(),
                                remote: (flow.pair.remote, 7).into(),
                            },
                            offset: random.u64(..100_000),
                            heard: random.u64(..100_000),
                        }
                    })
                    .into_iter()
                    .collect();
                let is_answer = forgery.message == Forged::Resumed;
                return Some(Resume::encode(uuid, domid, nonce_a, is_answer, &entries));
            }
        };
        let datagram = Discovery {
            domid,
            uuid,
            nonce_a,
            kind,
        };
        Some(datagram.encode())
    }
}
