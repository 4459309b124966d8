//! Hosts elsewhere that forge datagrams. They see what is sent to addresses of
//! their own, and nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vmc::wire::datagram::{Cookie, Datagram as Discovery, Kind, Refusal};
use vmc::wire::resume::{Entry, Resume};
use vmc::{FourTuple, Uuid};

use super::{Event, World};
use crate::network::Datagram;
use crate::place::{v4, v6};
use crate::scenario::{Claim, Forged, Forgery};

/// Subnet of the forgers' own addresses.
const SUBNET: u8 = 77;

/// An address of the forgers.
pub(crate) const fn own(last: u8, is_v6: bool) -> IpAddr {
    if is_v6 {
        v6(SUBNET, last)
    } else {
        v4(SUBNET, last)
    }
}

/// Whether an address is one of the forgers'.
const fn is_own(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[2] == SUBNET,
        IpAddr::V6(address) => {
            let segments = address.segments();
            segments[2] == 0 && segments[3] == SUBNET as u16
        }
    }
}

/// What the forgers have heard.
#[derive(Debug, Default)]
pub(super) struct Forgers {
    /// The last datagram to one of their addresses.
    heard: Option<Discovery>,
    /// The last cookie that one of them got.
    cookie: Option<Cookie>,
    /// Addresses from which a cookie came, each with the forgers' address that got it.
    challenged: BTreeSet<(IpAddr, IpAddr)>,
}

impl World {
    /// Takes a datagram for an address that no guest has.
    pub(super) fn tell_forgers(&mut self, datagram: &Datagram) {
        if is_own(datagram.to)
            && let Some(heard) = Discovery::decode(&datagram.bytes)
        {
            if let Kind::Challenge { cookie } = heard.kind {
                self.forgers.cookie = Some(cookie);
                let challenged = &mut self.forgers.challenged;
                challenged.insert((datagram.from, datagram.to));
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
        let is_v6 = to.is_ipv6();
        let from = match forgery.from {
            Claim::Guest(guest) => {
                let addresses = &self.guests[guest].addresses;
                let mut same = addresses.iter().filter(|from| from.is_ipv6() == is_v6);
                same.next().copied()
            }
            Claim::Own(last) => Some(own(last, is_v6)),
            Claim::Nobody => {
                let subnet = self.random.u8(100..200);
                let last = self.random.u8(1..255);
                Some(if is_v6 {
                    v6(subnet, last)
                } else {
                    v4(subnet, last)
                })
            }
        };
        // Where a forger receives, nobody can tell its word from the word of the
        // guest that it says it is; the link is never proved.
        if let (Some(from), Some(guest)) = (from, forgery.identity)
            && self.forgers.challenged.contains(&(to, from))
        {
            self.wires.account.contact(forgery.victim, guest);
        }
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
