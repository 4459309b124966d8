//! Scenarios: what happens to a world, as an action list, which a seed makes
//! (`maker`) or a person writes ([`draft`]).

pub mod draft;
mod maker;

use maker::Maker;
use vmc::Mode;

use crate::network::Weather;
use crate::plan::Plan;
use crate::tcp::Path;
use crate::xen::Limits;

/// What a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Traffic and nothing else: no wake-up may be lost, not even for a moment.
    Plain,
    /// Datagrams get lost, TCP retransmits.
    Lossy,
    /// Guests are migrated, in original mode, or nearly.
    Migration,
    /// Guests are migrated and keep their channel as long as they can.
    Advance,
    /// The same traffic again and again, with a migration one step later each
    /// time.
    EveryStep,
    /// Guests die and start again.
    Death,
    /// The hypervisor refuses grants, mappings, ports.
    Refusal,
    /// Guests do not run for a while.
    Pause,
    /// All of it.
    Everything,
    /// One guest lies.
    Hostile,
}

impl Kind {
    /// All kinds, in the order in which seeds take turns.
    pub const ALL: [Self; 10] = [
        Self::Plain,
        Self::Migration,
        Self::Advance,
        Self::EveryStep,
        Self::Lossy,
        Self::Death,
        Self::Refusal,
        Self::Hostile,
        Self::Everything,
        Self::Pause,
    ];
}

/// What a hostile guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Writes noise or likely lies into pages that it shares.
    Scribble {
        /// How many words.
        words: u32,
        /// Only into the first bytes of each page: headers and indices.
        low: bool,
    },
    /// Spoils one access to a shared page out of this many; 0 spoils nothing.
    Tamper(u32),
    /// Rings all its event channels.
    Flood(u32),
    /// Sends datagrams: noise, or true ones with a change.
    Datagrams {
        /// How many.
        count: u32,
        /// Under another guest's address.
        spoofed: bool,
    },
    /// Sends a frame with another guest's address.
    SpoofedFrame,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Action {
    /// A guest opens a connection to another.
    Transfer {
        /// Both guests.
        guests: [usize; 2],
        /// What their applications mean to do.
        plans: [Plan; 2],
        /// How TCP travels.
        path: Path,
    },
    /// A guest sends a frame that may take the link.
    Frame {
        /// Both guests.
        guests: [usize; 2],
        /// Bytes.
        len: usize,
    },
    /// A guest hears that it is to be migrated.
    EarlyNotice(usize),
    /// The migration is called off before the guest was suspended.
    Cancel(usize),
    /// A guest is suspended.
    Suspend {
        /// Which.
        guest: usize,
        /// The machine it is on afterwards.
        host: usize,
        /// How long it is away.
        downtime: u64,
        /// Whether it stays the domain that it was.
        is_cancelled: bool,
    },
    /// A guest is destroyed.
    PeerDies(usize),
    /// A destroyed guest starts again.
    Restart {
        /// Which.
        guest: usize,
        /// Whether it keeps its UUID.
        same: bool,
    },
    /// A guest's processor stands still.
    Pause {
        /// Which.
        guest: usize,
        /// How long.
        nanos: u64,
    },
    /// What the hypervisor lets a guest have from now on.
    Allow {
        /// Which.
        guest: usize,
        /// How much.
        limits: Limits,
    },
    /// What the network does to datagrams from now on.
    Weather(Weather),
    /// The hostile guest acts.
    Mischief(Mischief),
}

/// One guest's make.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The machine it boots on.
    pub host: usize,
    /// Largest ring in bytes.
    pub largest_ring: usize,
    /// Most rings of a link and direction.
    pub max_rings: usize,
    /// Bytes it grants at most.
    pub memory: usize,
    /// Links at most.
    pub max_peers: usize,
    /// What becomes of its channel in a migration.
    pub mode: Mode,
}

/// A world, and what happens to it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed it was made from.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// Machines.
    pub hosts: usize,
    /// Guests; the last one lies where the kind says so.
    pub guests: Vec<Spec>,
    /// Whether addresses are those of IPv6.
    pub is_v6: bool,
    /// The network at first.
    pub weather: Weather,
    /// What happens, and at what time.
    pub actions: Vec<(u64, Action)>,
    /// What happens after a number of turns, counted over all guests.
    pub at_turns: Vec<(u64, Action)>,
}

/// Steps at which the migrations of [`Kind::EveryStep`] begin, for each traffic.
const STEPS: u64 = 128;

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let kinds = Kind::ALL.len() as u64;
        let kind = Kind::ALL[(seed % kinds) as usize];
        let number = seed / kinds;
        let maker = Maker {
            random: fastrand::Rng::with_seed(match kind {
                Kind::EveryStep => number / STEPS,
                _ => seed,
            }),
            kind,
            guests: 0,
            hosts: 1,
            now: 0,
            actions: Vec::new(),
            at_turns: Vec::new(),
        };
        maker.make(seed, number % STEPS)
    }

    /// Whether its last guest lies.
    #[must_use]
    pub fn is_hostile(&self) -> bool {
        self.kind == Kind::Hostile
    }
}
