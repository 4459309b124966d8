//! What the maker makes of the larger world: several addresses, subnets, hosts
//! that forge, a domain that lies, time-outs that pass, a machine that is cleared.

use std::net::IpAddr;

use super::maker::{MICROSECOND, MILLISECOND, Maker, SECOND};
use super::{Action, Claim, Forged, Forgery, Kind, Spec};
use crate::place::{v4, v6};
use crate::plan::Plan;
use crate::puppet::Phrase;
use crate::tcp::Path;
use crate::world::forger;

impl Maker {
    /// Gives the guests their addresses; returns whether a router answers for
    /// all of them.
    pub(super) fn give_addresses(&mut self, guests: &mut [Spec]) -> bool {
        let is_v6 = self.random.u32(..5) == 0;
        let layout = match self.kind {
            Kind::Addresses => self.random.u32(1..5),
            Kind::Forged | Kind::Liar => self.random.u32(..2),
            _ => 0,
        };
        for (number, spec) in (0..).zip(guests) {
            let last = number + 1;
            spec.addresses = match layout {
                0 if is_v6 => vec![v6(0, last)],
                0 => vec![v4(0, last)],
                // Dual stack.
                1 => vec![v4(0, last), v6(0, last)],
                // A subnet each, with a router between.
                2 => vec![v4(number % 2, last), v6(number % 2, last)],
                // Aliases, in one subnet and in another.
                3 => vec![v4(0, last), v4(0, 20 + last), v4(1, last)],
                _ => vec![v6(0, last), v4(number % 2, last), v6(1, last)],
            };
        }
        self.kind == Kind::Addresses && self.random.u32(..4) == 0
    }

    /// Chooses the addresses of a connection.
    pub(super) fn ends(&mut self) -> [usize; 2] {
        match self.kind {
            Kind::Addresses | Kind::Forged | Kind::Liar => {
                [self.random.usize(..3), self.random.usize(..3)]
            }
            _ => [0, 0],
        }
    }

    /// An address changes, or does not answer.
    pub(super) fn trouble_at_addresses(&mut self, guest: usize) {
        let random = &mut self.random;
        let (slot, last) = (random.usize(..3), random.u8(30..40));
        let subnet = random.u8(..2);
        let fresh = |is_v6: bool| {
            if is_v6 {
                v6(subnet, last)
            } else {
                v4(subnet, last)
            }
        };
        let action = match random.u32(..6) {
            0 => Action::Dial {
                guest,
                to: [v4(subnet, last + 50), v6(subnet, last + 50), v4(9, last)][random.usize(..3)],
            },
            1 if slot > 0 => Action::Readdress {
                guest,
                slot,
                to: None,
            },
            // Somebody has it perhaps.
            1 | 2 => {
                let last = random.u8(1..=self.guests as u8);
                let to: IpAddr = [v4(0, last), v4(1, last), v6(0, last)][random.usize(..3)];
                Action::Readdress {
                    guest,
                    slot,
                    to: Some(to),
                }
            }
            3 | 4 => Action::Readdress {
                guest,
                slot,
                to: Some(fresh(random.bool())),
            },
            _ => {
                self.migrate(guest);
                return;
            }
        };
        self.does(action);
    }

    /// Hosts elsewhere forge datagrams.
    pub(super) fn forge(&mut self) {
        let own = self.random.u8(1..4);
        if self.random.u32(..3) == 0 {
            let guest = self.random.usize(..self.guests);
            let to = forger::own(own, self.random.bool());
            self.does(Action::Dial { guest, to });
            self.now += self.random.u64(200 * MICROSECOND..MILLISECOND);
        }
        let random = &mut self.random;
        let guest = |random: &mut fastrand::Rng, guests| random.usize(..guests);
        let forgery = Forgery {
            message: match random.u32(..9) {
                0..4 => Forged::Hello,
                8 => Forged::Challenge,
                4 => Forged::Welcome,
                5 => Forged::Refused,
                6 => Forged::Resume,
                _ => Forged::Resumed,
            },
            victim: guest(random, self.guests),
            slot: random.usize(..2),
            is_broadcast: random.u32(..6) == 0,
            from: match random.u32(..3) {
                0 => Claim::Guest(guest(random, self.guests)),
                1 => Claim::Own(own),
                _ => Claim::Nobody,
            },
            identity: random.bool().then(|| guest(random, self.guests)),
            knows_nonce: random.bool(),
            count: [1, 8, 30, 300][random.usize(..4)],
            gap: [1, 100, 3000][random.usize(..3)] * MICROSECOND,
        };
        self.does(Action::Forge(forgery));
    }

    /// The liar speaks, from up to ten addresses at once.
    pub(super) fn lie(&mut self) {
        let random = &mut self.random;
        let victim = random.usize(..self.guests);
        let slot = random.usize(..2);
        let (program, times, voices) = match random.u32(..8) {
            // Announces migrations without end, and is gone.
            0 => {
                let toggles = Phrase::Toggle(random.u16(500..3000));
                (vec![Phrase::Greet, toggles, Phrase::Close], 1, 1)
            }
            // Gives nothing back.
            1 => {
                let ask = Phrase::Ask {
                    count: random.u16(4..16),
                    log2: random.u8(..4),
                };
                let rounds = random.usize(4..40);
                let mut program = vec![Phrase::Greet];
                program.extend([ask, Phrase::Retire].repeat(rounds));
                (program, 1, 1)
            }
            // Is suspended again and again, each time at another address.
            2 => {
                use Phrase::{Connect, Freeze, Greet, Move, Reset, Sleep, Write};
                let sleep = Sleep(random.u64(..2 * MILLISECOND));
                let program = vec![Move, Greet, Connect, Write, sleep, Freeze, sleep, Reset];
                (program, random.u32(10..200), 1)
            }
            // Takes offers, and opens them at once.
            3 => {
                let sleep = Phrase::Sleep(random.u64(5..400) * MILLISECOND);
                let program = vec![Phrase::GreetAndHold, sleep, Phrase::Open];
                (program, random.u32(1..4), 10)
            }
            _ => (
                Phrase::sequence(random),
                random.u32(1..20),
                random.usize(1..4),
            ),
        };
        for _ in 0..voices {
            self.does(Action::Lie {
                victim,
                slot,
                program: program.clone(),
                times,
            });
        }
    }

    /// Something takes longer than a time-out.
    pub(super) fn take_long(&mut self, guest: usize) {
        let random = &mut self.random;
        let long = |random: &mut fastrand::Rng| match random.u32(..6) {
            0 | 1 => random.u64(5 * SECOND..7 * SECOND),
            2..5 => random.u64(58 * SECOND..75 * SECOND),
            _ => random.u64(598 * SECOND..605 * SECOND),
        };
        let nanos = long(random);
        match random.u32(..4) {
            0 => self.does(Action::Pause { guest, nanos }),
            1 => {
                self.does(Action::EarlyNotice(guest));
                self.now += nanos;
                self.does(Action::Cancel(guest));
            }
            _ => {
                if random.bool() {
                    self.does(Action::EarlyNotice(guest));
                }
                let random = &mut self.random;
                let action = Action::Suspend {
                    guest,
                    host: random.usize(..self.hosts),
                    downtime: if random.bool() {
                        nanos
                    } else {
                        random.u64(MILLISECOND..SECOND)
                    },
                    is_cancelled: random.u32(..4) == 0,
                };
                if random.bool() {
                    self.now += nanos;
                }
                self.does(action);
            }
        }
    }

    /// All guests move to the other machine while all stream to each other, and
    /// back; some are destroyed on the way.
    pub(super) fn evacuate(&mut self) {
        for from in 0..self.guests {
            for to in 0..self.guests {
                if from < to {
                    self.stream([from, to]);
                }
            }
        }
        self.now += self.random.u64(MILLISECOND..20 * MILLISECOND);
        let mut alive: Vec<_> = (0..self.guests).collect();
        for host in [1, 0] {
            let start = self.now;
            let window = [MICROSECOND, 100 * MICROSECOND, 20 * MILLISECOND, SECOND];
            let window = window[self.random.usize(..4)];
            let mut end = start;
            for guest in alive.clone() {
                self.now = start + self.random.u64(..window);
                if self.random.u32(..8) != 0 {
                    self.does(Action::EarlyNotice(guest));
                    self.now += self.random.u64(..window.max(5 * MILLISECOND));
                }
                if self.random.u32(..12) == 0 {
                    alive.retain(|other| *other != guest);
                    self.does(Action::PeerDies(guest));
                    continue;
                }
                let random = &mut self.random;
                let downtime = random.u64(MICROSECOND..300 * MILLISECOND);
                let action = if random.u32(..3) == 0 {
                    Action::Race {
                        guest,
                        host,
                        downtime,
                        other: (guest + random.usize(1..self.guests)) % self.guests,
                        access: random.u32(..40),
                        is_suspended: random.bool(),
                    }
                } else {
                    Action::Suspend {
                        guest,
                        host,
                        downtime,
                        is_cancelled: random.u32(..16) == 0,
                    }
                };
                self.does(action);
                end = end.max(self.now);
            }
            self.now = end + self.random.u64(MILLISECOND..2 * SECOND);
        }
        self.actions.sort_by_key(|(at, _)| *at);
    }

    /// Opens a connection that lasts for some seconds.
    fn stream(&mut self, guests: [usize; 2]) {
        let random = &mut self.random;
        let mut plans = [Plan::stream(0); 2];
        for plan in &mut plans {
            let size = random.usize(200..3000);
            plan.total = size as u64 * random.u64(20..80);
            (plan.largest_write, plan.largest_read) = (size, random.usize(200..3000));
            (plan.write_sleeps, plan.read_sleeps) = (500, 100);
            plan.sleep = [MILLISECOND, 20 * MILLISECOND, 80 * MILLISECOND][random.usize(..3)];
        }
        let path = Path {
            delay: random.u64(20 * MICROSECOND..300 * MICROSECOND),
            loss: 0,
            buffer: [1000, 8192, 65536][random.usize(..3)],
        };
        self.does(Action::Transfer {
            guests,
            ends: [0, 0],
            plans,
            path,
        });
    }
}
