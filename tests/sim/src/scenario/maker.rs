//! Makes scenarios from seeds.

use vmc::Mode;

use super::{Action, Kind, Mischief, Scenario, Spec};
use crate::network::Weather;
use crate::plan::Plan;
use crate::tcp::Path;
use crate::xen::Limits;

pub(super) const MICROSECOND: u64 = 1_000;
pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) struct Maker {
    pub(super) random: fastrand::Rng,
    pub(super) kind: Kind,
    pub(super) guests: usize,
    pub(super) hosts: usize,
    pub(super) now: u64,
    pub(super) actions: Vec<(u64, Action)>,
    pub(super) at_turns: Vec<(u64, Action)>,
}

impl Maker {
    pub(super) fn make(mut self, seed: u64, step: u64) -> Scenario {
        let random = &mut self.random;
        self.guests = match self.kind {
            Kind::Hostile => random.usize(3..=4),
            Kind::Addresses | Kind::Liar => random.usize(2..=4),
            Kind::Evacuation => random.usize(3..=6),
            _ => random.usize(2..=3),
        };
        let moves = [
            Kind::Addresses,
            Kind::Long,
            Kind::Migration,
            Kind::Advance,
            Kind::EveryStep,
            Kind::Everything,
            Kind::Lossy,
        ];
        if moves.contains(&self.kind) {
            self.hosts = random.usize(1..=2);
        }
        if self.kind == Kind::Evacuation {
            self.hosts = 2;
        }
        let is_tight = !self.kind.is_wide() && self.random.u32(..4) == 0;
        let mut guests: Vec<_> = (0..self.guests).map(|_| self.spec(is_tight)).collect();
        let weather = self.weather();
        let has_proxy = self.give_addresses(&mut guests);
        if self.kind == Kind::EveryStep {
            self.migrate_at(step);
        }
        if self.kind == Kind::Evacuation {
            self.evacuate();
        }
        let rounds = match self.kind {
            Kind::Evacuation => 0,
            _ => self.random.usize(3..=10),
        };
        for _ in 0..rounds {
            self.wait();
            self.traffic();
            if self.random.u32(..2) == 0 {
                self.wait();
                self.trouble();
            }
        }
        Scenario {
            seed,
            kind: self.kind,
            hosts: self.hosts,
            guests,
            has_proxy,
            weather,
            actions: self.actions,
            at_turns: self.at_turns,
        }
    }

    fn spec(&mut self, is_tight: bool) -> Spec {
        let mode = match self.kind {
            Kind::Advance | Kind::EveryStep => Mode::Advance,
            Kind::Addresses | Kind::Evacuation if self.random.u32(..8) != 0 => Mode::Advance,
            _ if self.random.bool() => Mode::Original,
            _ => Mode::Advance,
        };
        let random = &mut self.random;
        let pick = |random: &mut fastrand::Rng, from: &[usize]| from[random.usize(..from.len())];
        Spec {
            addresses: Vec::new(),
            host: match self.kind {
                Kind::Evacuation => 0,
                _ => random.usize(..self.hosts),
            },
            largest_ring: pick(random, &[4096, 8192, 16384, 65536, 262_144]),
            max_rings: if is_tight {
                pick(random, &[1, 2, 3])
            } else {
                256
            },
            memory: if is_tight {
                pick(random, &[64, 128, 256]) << 10
            } else if self.kind == Kind::Liar {
                1 << 20
            } else {
                4 << 20
            },
            max_peers: match self.kind {
                // The three others, and the liar.
                Kind::Liar => 4,
                _ if is_tight => pick(random, &[1, 2]),
                _ => 16,
            },
            mode,
        }
    }

    fn weather(&mut self) -> Weather {
        let random = &mut self.random;
        let is_bad = matches!(self.kind, Kind::Lossy | Kind::Everything);
        Weather {
            loss: match self.kind {
                Kind::Lossy => [0, 10, 50, 100][random.usize(..4)],
                // A hand-over needs some datagrams.
                Kind::Everything => [0, 10, 50][random.usize(..3)],
                _ => 0,
            },
            doubled: if is_bad { 20 } else { 0 },
            delay: random.u64(20 * MICROSECOND..200 * MICROSECOND),
            jitter: if is_bad {
                [1, 100, 50_000][random.usize(..3)] * MICROSECOND
            } else {
                10 * MICROSECOND
            },
        }
    }

    fn wait(&mut self) {
        let random = &mut self.random;
        self.now += match random.u32(..8) {
            0..3 => random.u64(..50 * MICROSECOND),
            3..6 => random.u64(..2 * MILLISECOND),
            6 => random.u64(..100 * MILLISECOND),
            _ => random.u64(..2 * SECOND),
        };
    }

    pub(super) fn does(&mut self, action: Action) {
        self.actions.push((self.now, action));
    }

    fn two(&mut self) -> [usize; 2] {
        let from = self.random.usize(..self.guests);
        let to = (from + self.random.usize(1..self.guests)) % self.guests;
        [from, to]
    }

    fn traffic(&mut self) {
        let guests = self.two();
        if self.random.u32(..6) == 0 {
            for _ in 0..self.random.usize(1..10) {
                let len = self.random.usize(60..=1514);
                let ends = self.ends();
                self.does(Action::Frame { guests, ends, len });
            }
            return;
        }
        let mut count = self.random.usize(1..=3);
        if self.random.u32(..20) == 0 {
            count = 20;
        }
        for _ in 0..count {
            let is_lossy = matches!(self.kind, Kind::Lossy | Kind::Everything);
            let random = &mut self.random;
            let path = Path {
                delay: random.u64(20 * MICROSECOND..300 * MICROSECOND),
                loss: if is_lossy {
                    [0, 2, 20][random.usize(..3)]
                } else {
                    0
                },
                buffer: [64, 1000, 8192, 65536][random.usize(..4)],
            };
            let plans = Plan::pair(random, path.buffer);
            let ends = self.ends();
            self.does(Action::Transfer {
                guests,
                ends,
                plans,
                path,
            });
        }
    }

    fn trouble(&mut self) {
        let guest = self.random.usize(..self.guests);
        if self.random.u32(..6) == 0 {
            self.does(Action::SendByTcp(guest));
        }
        match self.kind {
            Kind::Plain | Kind::EveryStep | Kind::Evacuation => {}
            Kind::Addresses => self.trouble_at_addresses(guest),
            Kind::Forged => self.forge(),
            Kind::Liar => self.lie(),
            Kind::Long => self.take_long(guest),
            Kind::Lossy => {
                let weather = self.weather();
                self.does(Action::Weather(weather));
            }
            Kind::Migration | Kind::Advance => self.migrate(guest),
            Kind::Death => self.die(guest),
            Kind::Refusal => self.refuse(guest),
            Kind::Pause => self.pause(guest),
            Kind::Hostile => self.mischief(),
            Kind::Everything => match self.random.u32(..10) {
                0..4 => self.migrate(guest),
                4 | 5 => self.die(guest),
                6 | 7 => self.refuse(guest),
                8 => {
                    let weather = self.weather();
                    self.does(Action::Weather(weather));
                }
                _ => self.pause(guest),
            },
        }
    }

    pub(super) fn migrate(&mut self, guest: usize) {
        let has_notice = self.random.u32(..4) != 0;
        if has_notice {
            self.does(Action::EarlyNotice(guest));
            self.wait();
            if self.random.u32(..3) == 0 {
                self.traffic();
                self.wait();
            }
            if self.random.u32(..5) == 0 {
                self.does(Action::Cancel(guest));
                return;
            }
        }
        let random = &mut self.random;
        let action = Action::Suspend {
            guest,
            host: random.usize(..self.hosts),
            downtime: random.u64(MILLISECOND..400 * MILLISECOND),
            is_cancelled: random.u32(..4) == 0,
        };
        self.does(action);
    }

    /// Migrates one guest or two, beginning after `step` turns.
    fn migrate_at(&mut self, step: u64) {
        let mut turn = step;
        let [first, second] = self.two();
        let random = &mut self.random;
        let guests = if random.u32(..3) == 0 {
            vec![first, second]
        } else {
            vec![first]
        };
        for guest in guests {
            if random.u32(..4) != 0 {
                self.at_turns.push((turn, Action::EarlyNotice(guest)));
                turn += random.u64(..40);
                if random.u32(..6) == 0 {
                    self.at_turns.push((turn, Action::Cancel(guest)));
                    turn += random.u64(..20);
                }
            }
            let action = Action::Suspend {
                guest,
                host: random.usize(..self.hosts),
                downtime: random.u64(..20 * MILLISECOND),
                is_cancelled: random.u32(..4) == 0,
            };
            self.at_turns.push((turn, action));
            turn += random.u64(..30);
        }
    }

    fn die(&mut self, guest: usize) {
        self.does(Action::PeerDies(guest));
        self.wait();
        let same = self.random.bool();
        if self.random.u32(..4) != 0 {
            self.does(Action::Restart { guest, same });
        }
    }

    fn refuse(&mut self, guest: usize) {
        let random = &mut self.random;
        let limit = |random: &mut fastrand::Rng| match random.u32(..3) {
            0 => 0,
            1 => random.usize(..40),
            _ => usize::MAX,
        };
        let limits = Limits {
            grants: limit(random),
            maps: limit(random),
            ports: random.usize(..4),
        };
        self.does(Action::Allow { guest, limits });
        if self.random.bool() {
            self.wait();
            let limits = Limits::NONE;
            self.does(Action::Allow { guest, limits });
        }
    }

    fn pause(&mut self, guest: usize) {
        let random = &mut self.random;
        let nanos = match random.u32(..3) {
            0 => random.u64(MILLISECOND..100 * MILLISECOND),
            1 => random.u64(100 * MILLISECOND..2 * SECOND),
            _ => random.u64(2 * SECOND..9 * SECOND),
        };
        self.does(Action::Pause { guest, nanos });
    }

    fn mischief(&mut self) {
        for _ in 0..self.random.usize(1..=4) {
            let random = &mut self.random;
            let mischief = match random.u32(..7) {
                0 => Mischief::Scribble {
                    words: random.u32(1..50),
                    low: false,
                },
                1 | 2 => Mischief::Scribble {
                    words: random.u32(1..20),
                    low: true,
                },
                3 => Mischief::Tamper([0, 10, 100, 1000][random.usize(..4)]),
                4 => Mischief::Flood([10, 300, 5000][random.usize(..3)]),
                5 => Mischief::Datagrams {
                    count: random.u32(1..40),
                    spoofed: random.bool(),
                },
                _ => Mischief::SpoofedFrame,
            };
            self.does(Action::Mischief(mischief));
            self.wait();
        }
    }
}
