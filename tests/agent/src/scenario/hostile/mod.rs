//! `hostile`: a guest attacks another on its host by the channel's protocol (`tests/hostile`),
//! attack by attack. The victim closes links and counts the causes; its connections with others go
//! on, and once the attacker has died nothing of it is left.
//!
//! `tally.rs` has what the victim counts, `forged.rs` what dom0 sends under addresses of others.

mod forged;
mod tally;

use std::net::{IpAddr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use attacks::Attack;
use labkit::addresses::{ipv4, ipv6, link_local};
use labkit::bench::{Bench, end, flows, linked};
use labkit::channel::ChannelStatus;
use labkit::lines;
use labkit::parameters::{Names, ParameterTable};
use labkit::process::run_ok;
use labkit::scenario::{Clock, Work};
use labkit::survival::healthy;
use labkit::traffic::bench::Answer;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Cause, DEFAULT_SEED, Deadline, Domain, Guest, Image, Lab, Mode, Scenario};

use forged::Storm;
use tally::Tally;

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Echo, Image::Bench, Image::Hostile],
    figures: false,
    clock: Clock::Virtual,
    ..Scenario::new(
        "hostile",
        "a guest attacks another by the channel's protocol, attack by attack",
        ParameterTable::of::<Parameters>(),
        Work::Once(attacked),
    )
};

labkit::parameters! {
    /// What `hostile` can be told.
    struct Parameters {
        /// The attacks to make; none for all.
        only: Vec<String> = Vec::new(), in Names { what: "attack", known: Attack::ALL.iter().map(|a| a.name()).collect() };
        /// The seed of everything random.
        seed: u64 = DEFAULT_SEED;
    }
}

/// The channel's mode.
const MODE: Mode = Mode::Original;

/// The honest guest's memory in MiB.
const MEMORY_MIB: u64 = 16;

/// The numbers of victim, honest guest, attacker, and of an honest guest that comes in the middle of
/// an attack.
const VICTIM: u8 = 2;
const FRIEND: u8 = 3;
const ATTACKER: u8 = 4;
const NEWCOMER: u8 = 5;

/// The victim's options beside its mode. All rings have one size, so that what the honest guests
/// hold stays the same.
const OPTIONS: &str = "vmc_ring=16 vmc_memory=4096 vmc_peers=3 vmc_wait=5";

/// Attackers of [`Attack::Places`], the last of which finds no place: the friend has one of three.
const CROWD: &[u8] = &[ATTACKER, 6, 7];

/// The most pages that the victim may have granted to one domain: half of `vmc_memory`, the region of
/// the link that stands and those of four that have ended.
const SHARE: u64 = 5 * 9 + 4096 / 4 / 2;

/// The most suspends of one domain that the victim may keep (docs/protocol.md, "Trust").
const SUSPENDS: u64 = 32;

/// How long the victim may take to have everything back. It notices a dead peer within 5 s if no
/// connection uses the link, waits 5 s for one that is suspended (`vmc_wait`), and tries to take a
/// page back every 10 s at least.
const AFTERMATH: Duration = Duration::from_secs(25);

/// Runs the attacks under two streams of bystanders.
fn attacked(lab: &Lab) -> Result<String> {
    let Parameters { only, seed } = lab.parameters()?;
    let options = options(VICTIM);
    let victim = lab.echo(VICTIM, 16, &options);
    let domain = victim.start_ready()?;
    let outsider = EchoClient::start(victim.port(7), seed, Pace::Modest)?;
    let mut friend = Bench::boot(lab, FRIEND, MEMORY_MIB, &self::options(FRIEND))?;
    friend.order(&format!("connect {} 1", victim.port(7)))?;
    linked(&domain, friend.guest.ip())?;
    let stream = friend.begin(format!("verify {} 1000 1000000000000 2000", victim.port(7)));
    flows(&mut friend.control)?;

    let mut first = Tally::of(&domain)?;
    let mut failed = Vec::new();
    let wanted =
        |attack: &&Attack| only.is_empty() || only.iter().any(|name| name == attack.name());
    let attacks: Vec<Attack> = Attack::ALL.iter().filter(wanted).copied().collect();
    for &attack in &attacks {
        let name = attack.name();
        match one(lab, attack, &domain, &mut friend, &first) {
            Ok(told) => lab.report.log(format!("{name}: {told}")),
            Err(error) => {
                let why = format!("{name}: {error:#}");
                lab.report.log(format!("failed: {why}"));
                failed.push(why);
                // Later attacks are measured against what this one has left for good.
                thread::sleep(AFTERMATH);
                first = Tally::of(&domain)?;
            }
        }
        flows(&mut friend.control).with_context(|| format!("after {name}: {failed:?}"))?;
        let outside = outsider.flows(Deadline::seconds(20));
        outside.with_context(|| format!("after {name}: {failed:?}"))?;
    }
    if !failed.is_empty() {
        bail!("{} attacks: {}", failed.len(), failed.join("; "));
    }

    let last = ChannelStatus::of(&domain)?;
    let by_ring = last.of_peer(friend.guest.ip(), "bytes sent")?;
    let bytes = finish(friend, stream)?;
    let traffic = outsider.stop(Duration::from_secs(20))?;
    traffic.check().context("dom0's connection")?;
    if by_ring < bytes / 2 {
        bail!("only {by_ring} of {bytes} bytes of the honest guest went by rings");
    }
    healthy(&domain)?;
    domain.running()?;
    Ok(format!(
        "{} attacks; meanwhile {} bytes of dom0 and {bytes} of a guest, every one compared",
        attacks.len(),
        traffic.received_bytes,
    ))
}

/// Ends the honest guest's stream; returns the bytes that came back.
fn finish(mut friend: Bench, stream: JoinHandle<Result<Answer>>) -> Result<u64> {
    friend.order("stop")?;
    let bytes = end(stream).context("the honest guest's stream")?;
    healthy(&friend.domain)?;
    bytes.number("bytes")
}

/// Runs one attack and waits until the victim is as it was, except for its counts.
fn one(
    lab: &Lab,
    attack: Attack,
    victim: &Domain,
    friend: &mut Bench,
    first: &Tally,
) -> Result<String> {
    let before = Tally::of(victim)?;
    let logged = victim.console().text().len();
    let options = attackers_options(attack, friend)?;
    let mut told = Vec::new();
    let storm = match attack {
        Attack::Forged => {
            told.push(forged::own_address(ipv4(VICTIM))?);
            Some(Storm::start(victim, friend)?)
        }
        _ => None,
    };
    let numbers = if attack == Attack::Places {
        CROWD
    } else {
        &[ATTACKER]
    };
    let mut attackers = Vec::new();
    for &number in numbers {
        let attacker = lab.hostile(number, &format!("ip6={}/64 {options}", ipv6(number)));
        let attacker = if attack == Attack::OpensNone {
            greeted(friend, &attacker)?
        } else {
            attacker.start_ready()?
        };
        told.push(what_it_tells(attack, &attacker)?);
        attackers.push(attacker);
    }
    if attack == Attack::Places {
        let linked = told.iter().filter(|told| *told == "linked").count();
        if linked != CROWD.len() - 1 {
            bail!("the attackers were {}", told.join(", "));
        }
    }
    if let Some(storm) = &storm {
        storm.holds_nothing(victim, first)?;
    }
    if attack.meets_newcomer() {
        newcomer(lab, victim)?;
    }
    if let Some(storm) = storm {
        told.push(storm.end()?);
    }
    keeps_little(attack, victim, first)?;
    drop(attackers);

    let mut why = None;
    let settled = Deadline::after(AFTERMATH).poll(Duration::from_millis(200), "", || {
        why = Tally::of(victim)?.differs(attack, &before, first)?;
        Ok(why.is_none().then_some(()))
    });
    if let Some(why) = why {
        bail!("the victim counts {why}");
    }
    settled?;
    let text = victim.console().text();
    for &(cause, count) in attack.causes() {
        // An address that is not the peer's is counted but ends no link.
        if cause == Cause::WrongAddress {
            continue;
        }
        let logged = text[logged..].matches(&lines::for_cause(cause)).count() as u64;
        if logged < count {
            bail!("{cause:?} was logged {logged} times and not {count}");
        }
    }
    Ok(told.join("; "))
}

/// Returns the options of an attacker, beside its addresses.
fn attackers_options(attack: Attack, friend: &Bench) -> Result<String> {
    Ok(format!(
        "{} attack={} victim={} victim6={},{} other={} domid={} uuid={}",
        Mode::Off.option(),
        attack.name(),
        ipv4(VICTIM),
        ipv6(VICTIM),
        link_local(VICTIM),
        friend.guest.ip(),
        friend.domain.running()?.id,
        uuid(&friend.domain)?
    ))
}

/// Returns what an attacker says of its attack.
fn what_it_tells(attack: Attack, attacker: &Domain) -> Result<String> {
    let done = format!("{}{}: ", lines::HOSTILE_DONE, attack.name());
    let text = attacker.console().text();
    let told = text.split_once(&done).map(|(_, told)| told);
    let told =
        told.with_context(|| format!("it does not say so:\n{}", attacker.console().tail()))?;
    Ok(told.lines().next().unwrap_or_default().trim().to_owned())
}

/// Boots an honest guest, which must get its link at once and use it: an address that does not
/// answer for 1.5 s counts as remote for a minute. Then destroys it, and waits until the victim has
/// its pages back, so that what is granted afterwards is the attacker's alone.
fn newcomer(lab: &Lab, victim: &Domain) -> Result<()> {
    const BYTES: u64 = 200_000;
    let echo = SocketAddr::from((ipv4(VICTIM), 7));
    let mut guest = Bench::boot(lab, NEWCOMER, MEMORY_MIB, &options(NEWCOMER))?;
    guest.order(&format!("connect {echo} 1"))?;
    linked(victim, guest.guest.ip()).context("a newcomer")?;
    guest.order(&format!("verify {echo} 1000 {BYTES} 0"))?;
    let by_ring = ChannelStatus::of(victim)?.of_peer(guest.guest.ip(), "bytes sent")?;
    if by_ring < BYTES / 2 {
        bail!("only {by_ring} of a newcomer's {BYTES} bytes went by rings");
    }
    healthy(&guest.domain)?;
    let ip = guest.guest.ip();
    drop(guest);
    Deadline::after(AFTERMATH).poll(
        Duration::from_millis(200),
        "the end of a newcomer's link",
        || Ok((!ChannelStatus::of(victim)?.has_link(ip)).then_some(())),
    )
}

/// Starts an attacker that waits for the friend's HELLOs, and has the friend connect to its addresses
/// until the attack is over: to the first one until the friend has given the link back that it was
/// offered there, then to the second one too, and so on.
fn greeted(friend: &mut Bench, attacker: &Guest) -> Result<Domain> {
    let domain = attacker.start()?;
    let console = domain.console();
    // An address that does not answer yet would count as remote.
    console.wait_since(0, &lines::HOSTILE_BEGINS, Deadline::seconds(20))?;
    let addresses: [IpAddr; 3] = [
        ipv4(ATTACKER).into(),
        ipv6(ATTACKER).into(),
        link_local(ATTACKER).into(),
    ];
    let what = "the end of an attack on the friend";
    // How often the friend connected after it had given everything back.
    let mut again = 0;
    Deadline::seconds(40).poll(Duration::from_millis(100), what, || {
        let given_back = console
            .text()
            .matches(lines::HOSTILE_GIVEN_BACK.text)
            .count();
        again += usize::from(given_back == addresses.len());
        for &address in addresses.iter().take(given_back + 1) {
            // Nobody listens there: the first contact is what counts.
            let echo = SocketAddr::new(address, 7);
            let _ = friend.order(&format!("connect {echo} 1"));
        }
        let text = console.text();
        let is_over = [lines::HOSTILE_DONE, lines::FATAL, lines::PANIC]
            .into_iter()
            .any(|line| text.contains(line.text));
        Ok(is_over.then_some(()))
    })?;
    let text = console.text();
    if text.contains(lines::HOSTILE_DONE.text) && again < 2 {
        bail!("the friend had no occasion to greet again");
    }
    Ok(domain)
}

/// Fails if the attackers, which still live, have more of the victim than a domain may, or do not
/// keep what they are meant to.
fn keeps_little(attack: Attack, victim: &Domain, first: &Tally) -> Result<()> {
    if attack.quarantines() {
        let what = format!("pages in quarantine after {}", attack.name());
        Deadline::seconds(5).poll(Duration::from_millis(200), &what, || {
            let quarantined = ChannelStatus::of(victim)?.of_all("quarantined")?;
            Ok((quarantined > 0).then_some(()))
        })?;
    }
    let status = ChannelStatus::of(victim)?;
    let granted = status.of_all("granted")?;
    let granted = granted.saturating_sub(first.status.of_all("granted")?);
    let unsettled = status.of_all("unsettled")?;
    if granted > SHARE || unsettled > SUSPENDS {
        bail!("{granted} pages and {unsettled} suspends are kept");
    }
    Ok(())
}

/// Returns the options of an honest guest.
fn options(number: u8) -> String {
    format!("ip6={}/64 {} {OPTIONS}", ipv6(number), MODE.option())
}

/// Returns a domain's UUID.
fn uuid(domain: &Domain) -> Result<String> {
    let node = format!("/local/domain/{}/vm", domain.running()?.id);
    let path = run_ok("xenstore-read", &[&node], Duration::from_secs(20))?;
    let uuid = path.trim().strip_prefix("/vm/");
    Ok(uuid
        .with_context(|| format!("{node} is {path:?}"))?
        .to_owned())
}
