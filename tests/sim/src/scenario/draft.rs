//! Scenarios written by hand, as action lists:
//!
//! ```
//! use sim::plan::Plan;
//! use sim::scenario::draft::{Draft, MILLISECOND, early_notice, peer_dies, transfer, wait};
//!
//! let scenario = Draft::guests(2).script([
//!     transfer(0, 1, Plan::stream(50_000), Plan::stream(0)),
//!     wait(MILLISECOND),
//!     early_notice(0),
//!     peer_dies(1),
//! ]);
//! let report = sim::play(scenario, false).expect("no violation");
//! assert_eq!(report.connections, 1);
//! ```

use std::net::IpAddr;

use vmc::Mode;

use super::{Action, Forgery, Kind, Mischief, Scenario, Spec};
use crate::network::Weather;
use crate::place::{v4, v6};
use crate::plan::Plan;
use crate::puppet::Phrase;
use crate::tcp::Path;
use crate::xen::Limits;

/// Nanoseconds in a microsecond; all times here are in nanoseconds.
pub const MICROSECOND: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// A line of an action list.
#[derive(Debug, Clone)]
pub enum Step {
    /// Does something at the current time.
    Act(Action),
    /// Lets time pass.
    Wait(u64),
    /// Does something after a number of turns, counted over all guests.
    AtTurn(u64, Action),
}

/// A world without its actions.
#[derive(Debug, Clone)]
pub struct Draft(Scenario);

impl Draft {
    /// Describes `count` guests on one machine, with `vmc=advance`, rings of up
    /// to 64 KiB, and a network that loses nothing.
    #[must_use]
    pub fn guests(count: usize) -> Self {
        let spec = |number: usize| Spec {
            addresses: vec![v4(0, number as u8 + 1)],
            host: 0,
            largest_ring: 64 << 10,
            max_rings: 256,
            memory: 4 << 20,
            max_peers: 16,
            mode: Mode::Advance,
        };
        Self(Scenario {
            seed: 0,
            kind: Kind::Advance,
            hosts: 1,
            guests: (0..count).map(spec).collect(),
            has_proxy: false,
            weather: Weather::FAIR,
            actions: Vec::new(),
            at_turns: Vec::new(),
        })
    }

    /// Sets what the scenario is about, and so how it is judged.
    #[must_use]
    pub const fn kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Sets the number of machines; every guest boots on the first one.
    #[must_use]
    pub const fn hosts(mut self, hosts: usize) -> Self {
        self.0.hosts = hosts;
        self
    }

    /// Gives all guests an IPv6 address instead of the IPv4 address.
    #[must_use]
    pub fn v6(self) -> Self {
        self.addresses(|guest| vec![v6(0, guest + 1)])
    }

    /// Gives each guest addresses, by its number.
    #[must_use]
    pub fn addresses(mut self, of: impl Fn(u8) -> Vec<IpAddr>) -> Self {
        for (number, spec) in (0..).zip(&mut self.0.guests) {
            spec.addresses = of(number);
        }
        self
    }

    /// Has a router answer for all addresses.
    #[must_use]
    pub const fn proxy(mut self) -> Self {
        self.0.has_proxy = true;
        self
    }

    /// Sets what the network does at first.
    #[must_use]
    pub const fn weather(mut self, weather: Weather) -> Self {
        self.0.weather = weather;
        self
    }

    /// Changes the configuration of one guest.
    #[must_use]
    pub fn guest(mut self, number: usize, change: impl FnOnce(&mut Spec)) -> Self {
        change(&mut self.0.guests[number]);
        self
    }

    /// Changes the configuration of all guests.
    #[must_use]
    pub fn each(mut self, change: impl Fn(&mut Spec)) -> Self {
        self.0.guests.iter_mut().for_each(change);
        self
    }

    /// Adds the action list.
    #[must_use]
    pub fn script(mut self, steps: impl IntoIterator<Item = Step>) -> Scenario {
        let mut now = 0;
        for step in steps {
            match step {
                Step::Act(action) => self.0.actions.push((now, action)),
                Step::Wait(nanos) => now += nanos,
                Step::AtTurn(turn, action) => self.0.at_turns.push((turn, action)),
            }
        }
        self.0
    }
}

/// Lets `nanos` pass before the next action.
#[must_use]
pub const fn wait(nanos: u64) -> Step {
    Step::Wait(nanos)
}

/// Moves an action from its place in time to a place in the order of turns.
#[must_use]
pub fn at_turn(turn: u64, step: Step) -> Step {
    match step {
        Step::Act(action) | Step::AtTurn(_, action) => Step::AtTurn(turn, action),
        Step::Wait(_) => step,
    }
}

/// Opens a connection from one guest to another, with the plans of both.
#[must_use]
pub const fn transfer(from: usize, to: usize, client: Plan, server: Plan) -> Step {
    transfer_over(Path::NEAR, from, to, client, server)
}

/// Opens a connection whose segments travel over `path`.
#[must_use]
pub const fn transfer_over(path: Path, from: usize, to: usize, client: Plan, server: Plan) -> Step {
    Step::Act(Action::Transfer {
        guests: [from, to],
        ends: [0, 0],
        plans: [client, server],
        path,
    })
}

/// Opens a connection from one address of a guest to one of another, each
/// given by its place in their lists.
#[must_use]
pub const fn transfer_at(
    [from, from_at]: [usize; 2],
    [to, to_at]: [usize; 2],
    client: Plan,
    server: Plan,
) -> Step {
    Step::Act(Action::Transfer {
        guests: [from, to],
        ends: [from_at, to_at],
        plans: [client, server],
        path: Path::NEAR,
    })
}

/// Has a guest contact an address at which nobody answers.
#[must_use]
pub const fn dial(guest: usize, to: IpAddr) -> Step {
    Step::Act(Action::Dial { guest, to })
}

/// Changes an address of a guest, or takes it away.
#[must_use]
pub const fn readdress(guest: usize, slot: usize, to: Option<IpAddr>) -> Step {
    Step::Act(Action::Readdress { guest, slot, to })
}

/// Sends a frame of `len` bytes that may take the link.
#[must_use]
pub const fn frame(from: usize, to: usize, len: usize) -> Step {
    Step::Act(Action::Frame {
        guests: [from, to],
        ends: [0, 0],
        len,
    })
}

/// Tells a guest that it is about to be migrated.
#[must_use]
pub const fn early_notice(guest: usize) -> Step {
    Step::Act(Action::EarlyNotice(guest))
}

/// Calls a migration off before the guest is suspended.
#[must_use]
pub const fn cancel(guest: usize) -> Step {
    Step::Act(Action::Cancel(guest))
}

/// Suspends a guest, which continues as a new domain of `host` after
/// `downtime`.
#[must_use]
pub const fn suspend(guest: usize, host: usize, downtime: u64) -> Step {
    Step::Act(Action::Suspend {
        guest,
        host,
        downtime,
        is_cancelled: false,
    })
}

/// Suspends a guest, which continues as the same domain after `downtime`.
#[must_use]
pub const fn suspend_and_cancel(guest: usize, downtime: u64) -> Step {
    Step::Act(Action::Suspend {
        guest,
        host: 0,
        downtime,
        is_cancelled: true,
    })
}

/// Suspends a guest while another runs on another processor: in the middle of
/// the suspend, after so many accesses to shared memory, that one is suspended,
/// too, or takes a turn.
#[must_use]
pub const fn race(
    [guest, other]: [usize; 2],
    access: u32,
    is_suspended: bool,
    host: usize,
    downtime: u64,
) -> Step {
    Step::Act(Action::Race {
        guest,
        host,
        downtime,
        other,
        access,
        is_suspended,
    })
}

/// Destroys a guest.
#[must_use]
pub const fn peer_dies(guest: usize) -> Step {
    Step::Act(Action::PeerDies(guest))
}

/// Boots a destroyed guest again, with the same UUID.
#[must_use]
pub const fn restart(guest: usize) -> Step {
    Step::Act(Action::Restart { guest, same: true })
}

/// Stops a guest's processor for `nanos`.
#[must_use]
pub const fn pause(guest: usize, nanos: u64) -> Step {
    Step::Act(Action::Pause { guest, nanos })
}

/// Sets what a guest may have from now on.
#[must_use]
pub const fn allow(guest: usize, limits: Limits) -> Step {
    Step::Act(Action::Allow { guest, limits })
}

/// Sets what the network does to datagrams from now on.
#[must_use]
pub const fn weather(weather: Weather) -> Step {
    Step::Act(Action::Weather(weather))
}

/// Has the hostile guest act.
#[must_use]
pub const fn mischief(mischief: Mischief) -> Step {
    Step::Act(Action::Mischief(mischief))
}

/// Has hosts elsewhere forge datagrams.
#[must_use]
pub const fn forge(forgery: Forgery) -> Step {
    Step::Act(Action::Forge(forgery))
}

/// Has the liar speak to a guest, from a new address, this many times.
#[must_use]
pub fn lie(victim: usize, program: &[Phrase], times: u32) -> Step {
    lie_to([victim, 0], program, times)
}

/// Has the liar speak to one of a guest's addresses.
#[must_use]
pub fn lie_to([victim, slot]: [usize; 2], program: &[Phrase], times: u32) -> Step {
    Step::Act(Action::Lie {
        victim,
        slot,
        program: program.to_vec(),
        times,
    })
}
