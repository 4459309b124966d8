//! A guest that misbehaves towards a Causeway guest on the same host (the victim), over the
//! protocol of docs/protocol.md, which it implements a second time.
//!
//! Read `wire.rs`, `ring.rs`, `link.rs` and `talk.rs` for the behaviour of an honest guest,
//! `greeting.rs`, `offering.rs`, `owning.rs`, `messages.rs`, `addresses.rs`, `connection.rs`, `migrating.rs`,
//! `hoarding.rs` and `leaving.rs` for the attacks. The option `vmc=off` keeps the guest's own network
//! stack out of this.
//!
//! Besides the network's options it knows `attack=`, the attack's name; `victim=` and `other=`, the
//! addresses of the victim and of an honest guest with which the victim has a link; `victim6=`, two
//! more addresses of the victim, with a comma; and `uuid=` and `domid=`, the honest guest's. It prints
//! `hostile: begins NAME` when its network is up. When the attack is over it prints
//! `hostile: done NAME: WHAT` and stays as it is; if the victim did not do what it should, it prints
//! `error: …` and crashes.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod addresses;
mod connection;
mod greeting;
mod hoarding;
mod leaving;
mod link;
mod messages;
mod migrating;
mod offering;
mod owning;
mod ring;
mod talk;
mod wire;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::future::{Future, pending};
use core::net::IpAddr;
use core::pin::Pin;
use core::time::Duration;

use attacks::Attack;
use kernel::xenstore::Xenstore;
use kernel::{Guest, lifecycle, time};
use netstack::{Config, Network, UdpSocket};

kernel::guest!(main);

/// Longest duration of an attack.
const LIMIT: Duration = Duration::from_secs(18);

/// How long the guest waits for its own domain number.
const IDENTITY: Duration = Duration::from_secs(5);

/// The environment of an attack.
pub(crate) struct Scene {
    pub(crate) network: Network,
    pub(crate) socket: UdpSocket,
    pub(crate) victim: IpAddr,
    /// More addresses of the victim. This guest reaches each from another of its own.
    pub(crate) victim6: [IpAddr; 2],
    /// The address of the honest guest.
    pub(crate) other: IpAddr,
    /// The identity of the honest guest.
    pub(crate) other_uuid: [u8; 16],
    pub(crate) other_domid: u16,
    pub(crate) domid: u16,
    pub(crate) uuid: [u8; 16],
}

impl Scene {
    /// Returns all addresses of the victim.
    pub(crate) fn victims(&self) -> [IpAddr; 3] {
        [self.victim, self.victim6[0], self.victim6[1]]
    }
}

/// The outcome of an attack; the error says what the victim did wrong.
pub(crate) type Outcome = Result<String, String>;

/// An attack under way.
type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// Begins an attack.
fn begin(attack: Attack, scene: &Scene) -> Attempt<'_> {
    match attack {
        Attack::Honest => Box::pin(leaving::honest(scene)),
        Attack::HelloDomid => Box::pin(greeting::hello_domid(scene)),
        Attack::HelloProof => Box::pin(greeting::hello_proof(scene)),
        Attack::HelloUuid => Box::pin(greeting::hello_uuid(scene)),
        Attack::HelloFlood => Box::pin(greeting::hello_flood(scene)),
        Attack::Forged => Box::pin(greeting::forged(scene)),
        Attack::Unproved => Box::pin(offering::unproved(scene)),
        Attack::Offers => Box::pin(offering::offers(scene)),
        Attack::OpensNone => Box::pin(owning::opens_none(scene)),
        Attack::Crowd => Box::pin(offering::crowd(scene)),
        Attack::Places => Box::pin(offering::places(scene)),
        Attack::ControlPage => Box::pin(messages::control_page(scene)),
        Attack::MessageIndices => Box::pin(messages::message_indices(scene)),
        Attack::Malformed => Box::pin(messages::malformed(scene)),
        Attack::Doorbell => Box::pin(messages::doorbell(scene)),
        Attack::Notifications => Box::pin(messages::notifications(scene)),
        Attack::Unread => Box::pin(messages::unread(scene)),
        Attack::WrongAddress => Box::pin(messages::wrong_address(scene)),
        Attack::ProducerIndex => Box::pin(connection::producer_index(scene)),
        Attack::ConsumerIndex => Box::pin(connection::consumer_index(scene)),
        Attack::Scribble => Box::pin(connection::scribble(scene)),
        Attack::References => Box::pin(connection::references(scene)),
        Attack::Offsets => Box::pin(connection::offsets(scene)),
        Attack::Stall => Box::pin(connection::stall(scene)),
        Attack::Asks => Box::pin(migrating::asks(scene)),
        Attack::Migrating => Box::pin(migrating::migrating(scene)),
        Attack::Toggles => Box::pin(migrating::toggles(scene)),
        Attack::Frozen => Box::pin(migrating::frozen(scene)),
        Attack::Freezes => Box::pin(hoarding::freezes(scene)),
        Attack::Quota => Box::pin(hoarding::quota(scene)),
        Attack::Members => Box::pin(messages::members(scene)),
        Attack::Addresses => Box::pin(addresses::addresses(scene)),
        Attack::DualStack => Box::pin(addresses::dual_stack(scene)),
        Attack::Resume => Box::pin(migrating::resume(scene)),
        Attack::NeverUnmap => Box::pin(leaving::never_unmap(scene)),
        Attack::Die => Box::pin(leaving::die(scene)),
    }
}

async fn main(guest: Guest) -> Result<(), String> {
    let mut line = guest.command_line;
    let text = |error: kernel::cmdline::OptionError| error.to_string();
    let config = Config::take(&mut line).map_err(text)?;
    let name = line.take("attack").unwrap_or_default();
    let attack = Attack::named(&name).ok_or_else(|| format!("no attack is called {name:?}"))?;
    let victim = address(&mut line, "victim")?;
    let victim6 = line.take("victim6").unwrap_or_default();
    let victim6 = two(&victim6).ok_or_else(|| format!("victim6={victim6} is not two addresses"))?;
    let other = address(&mut line, "other")?;
    let other_uuid = line.take("uuid").unwrap_or_default();
    let other_uuid = uuid(&other_uuid).ok_or_else(|| format!("uuid={other_uuid} is not a UUID"))?;
    let other_domid = line
        .take_required("domid", "a domain number (example: domid=3)")
        .map_err(text)?;
    line.finish().map_err(text)?;

    let own = own_uuid(&guest.xenstore).await?;
    let network = Network::start(guest.xenstore, config)
        .await
        .map_err(|error| error.to_string())?;
    let socket = network.bind_udp(wire::PORT);
    let scene = Scene {
        socket: socket.map_err(|error| format!("UDP port {}: {error}", wire::PORT))?,
        network,
        victim,
        victim6,
        other,
        other_uuid,
        other_domid,
        domid: own_domid().await?,
        uuid: own,
    };
    log::info!("hostile: begins {name}");
    let done = time::timeout(LIMIT, begin(attack, &scene)).await;
    let done = done.map_err(|_| format!("{name}: no end after {LIMIT:?}"))?;
    let what = done.map_err(|why| format!("{name}: {why}"))?;
    log::info!("hostile: done {name}: {what}");
    pending().await
}

fn address(line: &mut kernel::cmdline::CommandLine, key: &str) -> Result<IpAddr, String> {
    let value = line.take_required(key, "an address (example: victim=10.0.0.2)");
    value.map_err(|error: kernel::cmdline::OptionError| error.to_string())
}

/// Parses two addresses with a comma.
fn two(text: &str) -> Option<[IpAddr; 2]> {
    let (one, other) = text.split_once(',')?;
    Some([one.parse().ok()?, other.parse().ok()?])
}

/// Parses a UUID as the toolstack writes it.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|&digit| digit != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| number.to_be_bytes())
}

async fn own_uuid(store: &Xenstore) -> Result<[u8; 16], String> {
    store.uuid().await.map_err(|error| format!("uuid: {error}"))
}

/// Waits until the kernel knows this guest's domain number, and returns it.
async fn own_domid() -> Result<u16, String> {
    let deadline = time::now() + IDENTITY;
    while lifecycle::domid() == 0 {
        if time::now() >= deadline {
            return Err("the domid is not known".to_string());
        }
        time::sleep(Duration::from_millis(1)).await;
    }
    Ok(lifecycle::domid())
}
