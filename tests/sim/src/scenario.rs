//! Scenarios: action lists for a world, made from a seed (`maker`) or written
//! by hand ([`draft`]).

pub mod draft;
mod maker;
mod wide;

use std::net::IpAddr;

use maker::Maker;
use vmc::Mode;

use crate::network::Weather;
use crate::plan::Plan;
use crate::puppet::Phrase;
use crate::tcp::Path;
use crate::xen::Limits;

/// What a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Traffic and nothing else: no wake-up may be lost, not even for a moment.
    Plain,
    /// Datagrams get lost, TCP retransmits.
    Lossy,
    /// Guests are migrated, in either mode.
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
    /// Guests stop running for a while.
    Pause,
    /// All of the above.
    Everything,
    /// One guest lies.
    Hostile,
    /// Guests have several addresses, in several subnets, and these change.
    Addresses,
    /// Hosts elsewhere forge datagrams.
    Forged,
    /// A domain speaks in grammatical but hostile sequences.
    Liar,
    /// Guests stand still, and migrations take, longer than every time-out.
    Long,
    /// All guests of a machine are moved to another, and back.
    Evacuation,
}

impl Kind {
    /// All kinds, in the order in which seeds take turns.
    pub const ALL: [Self; 15] = [
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
        Self::Addresses,
        Self::Forged,
        Self::Liar,
        Self::Long,
        Self::Evacuation,
    ];
}

impl Kind {
    /// Whether it is about the larger world, in which all honest guests reach
    /// each other in the end.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        matches!(
            self,
            Self::Addresses | Self::Forged | Self::Liar | Self::Long | Self::Evacuation
        )
    }
}

/// What a hostile guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Writes noise or plausible lies into pages that it shares.
    Scribble {
        /// How many words.
        words: u32,
        /// Only into the first bytes of each page: headers and indices.
        low: bool,
    },
    /// Spoils one in this many accesses to a shared page; 0 spoils none.
    Tamper(u32),
    /// Rings all its event channels this many times.
    Flood(u32),
    /// Sends datagrams: noise, or almost valid ones.
    Datagrams {
        /// How many.
        count: u32,
        /// Under another guest's address.
        spoofed: bool,
    },
    /// Sends a frame with another guest's address.
    SpoofedFrame,
}

/// A forged datagram's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forged {
    /// HELLO.
    Hello,
    /// CHALLENGE.
    Challenge,
    /// WELCOME.
    Welcome,
    /// REFUSED.
    Refused,
    /// RESUME.
    Resume,
    /// RESUMED.
    Resumed,
}

/// Who a forged datagram says that it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A guest.
    Guest(usize),
    /// The forger itself, at an address of its own.
    Own(u8),
    /// An address that nobody has.
    Nobody,
}

/// Datagrams that a host elsewhere forges.
#[derive(Debug, Clone, Copy)]
pub struct Forgery {
    /// What they say.
    pub message: Forged,
    /// The guest that they go to.
    pub victim: usize,
    /// Which of its addresses.
    pub slot: usize,
    /// To all in that address's subnet.
    pub is_broadcast: bool,
    /// From whom, as they claim.
    pub from: Claim,
    /// The guest whose UUID and domid they carry; invented ones if `None`.
    pub identity: Option<usize>,
    /// Whether they carry the nonce of the last HELLO to the forger.
    pub knows_nonce: bool,
    /// How many.
    pub count: u32,
    /// Nanoseconds between two of them.
    pub gap: u64,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Action {
    /// A guest opens a connection to another.
    Transfer {
        /// Both guests.
        guests: [usize; 2],
        /// Which of its addresses each of them uses.
        ends: [usize; 2],
        /// What their applications intend to do.
        plans: [Plan; 2],
        /// How its segments travel.
        path: Path,
    },
    /// A guest sends a frame that may take the link.
    Frame {
        /// Both guests.
        guests: [usize; 2],
        /// Which of its addresses each of them uses.
        ends: [usize; 2],
        /// Length in bytes.
        len: usize,
    },
    /// A guest contacts an address at which nobody answers.
    Dial {
        /// The guest.
        guest: usize,
        /// The address.
        to: IpAddr,
    },
    /// A guest's address changes (DHCP). If another guest has the new one, that
    /// guest loses it.
    Readdress {
        /// The guest.
        guest: usize,
        /// Which of its addresses; one more if it has fewer.
        slot: usize,
        /// The new address; `None`: it is lost.
        to: Option<IpAddr>,
    },
    /// A guest has what its peers do not take from rings go by TCP.
    SendByTcp(usize),
    /// A guest is told that it is about to be migrated.
    EarlyNotice(usize),
    /// The migration is called off before the guest is suspended.
    Cancel(usize),
    /// A guest is suspended.
    Suspend {
        /// Which.
        guest: usize,
        /// The machine it is on afterwards.
        host: usize,
        /// How long it is away.
        downtime: u64,
        /// Whether it remains the same domain.
        is_cancelled: bool,
    },
    /// A guest is suspended, while another runs on another processor.
    Race {
        /// Which is suspended.
        guest: usize,
        /// The machine it is on afterwards.
        host: usize,
        /// How long it is away.
        downtime: u64,
        /// Which runs.
        other: usize,
        /// After how many accesses of the first to shared memory.
        access: u32,
        /// Whether the other is suspended, too, for as long; it takes one turn
        /// otherwise.
        is_suspended: bool,
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
    /// A guest's processor stops.
    Pause {
        /// Which.
        guest: usize,
        /// How long.
        nanos: u64,
    },
    /// The hypervisor changes what a guest may have.
    Allow {
        /// Which.
        guest: usize,
        /// The new limits.
        limits: Limits,
    },
    /// The network changes what it does to datagrams.
    Weather(Weather),
    /// The hostile guest acts.
    Mischief(Mischief),
    /// A host elsewhere forges datagrams.
    Forge(Forgery),
    /// The liar speaks to a guest, from a new address.
    Lie {
        /// The guest.
        victim: usize,
        /// Which of its addresses.
        slot: usize,
        /// What the liar says and does.
        program: Vec<Phrase>,
        /// How often.
        times: u32,
    },
}

/// Configuration of a guest.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its addresses at first.
    pub addresses: Vec<IpAddr>,
    /// The machine it boots on.
    pub host: usize,
    /// Largest ring in bytes.
    pub largest_ring: usize,
    /// Most rings of a link and direction.
    pub max_rings: usize,
    /// Most bytes that it grants.
    pub memory: usize,
    /// Most links.
    pub max_peers: usize,
    /// What happens to its channel in a migration.
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
    /// Guests; the last one lies if the kind says so.
    pub guests: Vec<Spec>,
    /// Whether a router answers for all addresses (proxy ARP).
    pub has_proxy: bool,
    /// What the network does at first.
    pub weather: Weather,
    /// What happens, and at what time.
    pub actions: Vec<(u64, Action)>,
    /// What happens after a number of turns, counted over all guests.
    pub at_turns: Vec<(u64, Action)>,
}

/// How many steps the migrations of [`Kind::EveryStep`] begin at, for each
/// traffic.
const STEPS: u64 = 128;

impl Scenario {
    /// Makes the scenario of a seed.
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
