//! `hostile`: a guest attacks another on its host by the channel's protocol (`tests/hostile`),
//! attack by attack. The victim closes links and counts the causes; its connections with others go
//! on.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use attacks::Attack;
use labkit::bench::{Bench, end, flows, linked};
use labkit::channel::ChannelStatus;
use labkit::lines;
use labkit::parameters::{Names, ParameterTable};
use labkit::process::run_ok;
use labkit::scenario::{Clock, Work};
use labkit::survival::{counts, healthy};
use labkit::traffic::bench::Answer;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Cause, DEFAULT_SEED, Deadline, Domain, Image, Lab, Mode, Scenario};

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

/// The numbers of victim, honest guest and attacker.
const VICTIM: u8 = 2;
const FRIEND: u8 = 3;
const ATTACKER: u8 = 4;

/// How long the victim may take to have everything back. It notices a dead peer within 5 s if no
/// connection uses the link, and gives up what a peer keeps after another 5 s.
const AFTERMATH: Duration = Duration::from_secs(10);

/// What the victim has counted.
struct Tally {
    status: ChannelStatus,
    /// Grants without those of the network device, whose pool grows under load.
    grants: u64,
    ports: u64,
}

impl Tally {
    fn of(victim: &Domain) -> Result<Self> {
        let status = ChannelStatus::of(victim)?;
        let counts = counts(victim)?;
        Ok(Self {
            status,
            grants: counts.grants - device_pages(victim)?,
            ports: counts.ports,
        })
    }

    /// The same tally without the pages in quarantine.
    fn without_quarantine(mut self) -> Result<Self> {
        self.grants -= self.status.of_all("quarantined")?;
        Ok(self)
    }

    /// Returns how many links ended because of `cause` since `before`.
    fn ended(&self, cause: Cause, before: &Self) -> Result<u64> {
        Ok(self.status.ended(cause)? - before.status.ended(cause)?)
    }

    /// Returns how this differs from what is expected after `attack`, if it does; `first` was taken
    /// before all attacks.
    fn differs(&self, attack: Attack, before: &Self, first: &Self) -> Result<Option<String>> {
        for cause in Cause::ALL {
            // An attacker that claims to be suspended leaves links behind in that state.
            if matches!(cause, Cause::Suspended | Cause::PeerSuspended) {
                continue;
            }
            let expected = attack.expected(cause);
            let seen = self.ended(cause, before)?;
            let right = seen == expected || (seen > expected && attack.may_exceed(cause));
            if !right {
                return Ok(Some(format!("{cause:?} {seen} times and not {expected}")));
            }
        }
        let quarantined = self.status.of_all("quarantined")?;
        let more = quarantined - before.status.of_all("quarantined")?;
        if (more > 0) != attack.quarantines() {
            return Ok(Some(format!("{more} pages quarantined")));
        }
        let kept = [
            ("grants", self.grants, first.grants + quarantined),
            ("ports", self.ports, first.ports),
            ("retiring", self.status.of_all("retiring")?, 0),
            (
                "granted",
                self.status.of_all("granted")?,
                first.status.of_all("granted")?,
            ),
            (
                "mapped",
                self.status.of_all("mapped")?,
                first.status.of_all("mapped")?,
            ),
        ];
        let wrong = kept.iter().find(|(_, seen, wanted)| seen != wanted);
        Ok(wrong.map(|(name, seen, wanted)| format!("{name} {seen} and not {wanted}")))
    }
}

/// Runs the attacks under two streams of bystanders.
fn attacked(lab: &Lab) -> Result<String> {
    let Parameters { only, seed } = lab.parameters()?;
    // All rings have one size, so that what the honest guests hold stays the same.
    let options = format!("{} vmc_ring=16 vmc_memory=4096", MODE.option());
    let victim = lab.echo(VICTIM, 16, &options);
    let domain = victim.start_ready()?;
    let outsider = EchoClient::start(victim.port(7), seed, Pace::Modest)?;
    let mut friend = Bench::boot(lab, FRIEND, MEMORY_MIB, &options)?;
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
        match one(lab, attack, &domain, &friend, &first) {
            Ok(told) => lab.report.log(format!("{name}: {told}")),
            Err(error) => {
                let why = format!("{name}: {error:#}");
                lab.report.log(format!("failed: {why}"));
                failed.push(why);
                // Later attacks are measured against what this one has left.
                first = Tally::of(&domain)?.without_quarantine()?;
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
        "{} attacks; meanwhile {} bytes of dom0 and {bytes} of a guest, every one compared; {} \
         pages quarantined",
        attacks.len(),
        traffic.received_bytes,
        last.of_all("quarantined")?
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
    friend: &Bench,
    first: &Tally,
) -> Result<String> {
    let before = Tally::of(victim)?;
    let logged = victim.console().text().len();
    let uuid = uuid(&friend.domain)?;
    let attacker = lab.hostile(
        ATTACKER,
        &format!(
            "{} attack={} victim={} other={} uuid={uuid}",
            Mode::Off.option(),
            attack.name(),
            labkit::addresses::ipv4(VICTIM),
            friend.guest.ip()
        ),
    );
    let attacker = attacker.start_ready()?;
    let done = format!("{}{}: ", lines::HOSTILE_DONE, attack.name());
    let text = attacker.console().text();
    let (_, told) = text.split_once(&done).context("it does not say so")?;
    let told = told.lines().next().unwrap_or_default().to_owned();
    drop(attacker);

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
    Ok(told)
}

/// Returns the pages that the victim's network device has granted, by its last answer to `status`.
fn device_pages(victim: &Domain) -> Result<u64> {
    let text = victim.console().text();
    let line = text
        .lines()
        .rfind(|line| line.contains(lines::STATUS_LINK.text));
    let pages = line.and_then(|line| line.rsplit_once(" pages ")?.1.trim().parse().ok());
    pages.with_context(|| format!("no pages in {line:?}"))
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
