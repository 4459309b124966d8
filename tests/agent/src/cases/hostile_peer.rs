//! A guest of the same host attacks another by the channel's protocol (`tests/hostile`). The victim
//! closes links and counts why; what others have with it goes on. A scenario of its own
//! (`cargo lab hostile`): its attacks take minutes.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::channel::{MEMORY_MIB, ON};
use crate::bench::{Bench, end, flows, linked};
use crate::channel::ChannelStatus;
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::lab::Lab;
use crate::process::run_ok;
use crate::survival::{counts, healthy};
use crate::traffic::bench::Answer;
use crate::traffic::echo::{EchoClient, Pace};

/// An attack and what the victim must make of it.
struct Attack {
    name: &'static str,
    /// Why its links ended (`vmc::Cause`), and how many of them; all others stay as they were.
    causes: &'static [(&'static str, u64)],
    /// Whether pages are lost to it.
    quarantine: bool,
}

const fn attack(name: &'static str, causes: &'static [(&'static str, u64)]) -> Attack {
    Attack {
        name,
        causes,
        quarantine: false,
    }
}

const ATTACKS: &[Attack] = &[
    attack("honest", &[("PeerLeft", 1)]),
    attack("hello_domid", &[]),
    attack("hello_proof", &[]),
    attack("hello_uuid", &[]),
    attack("hello_flood", &[]),
    attack("control_page", &[("IndexLie", 4)]),
    attack("message_indices", &[("IndexLie", 3)]),
    attack("malformed", &[("BadMessage", 23)]),
    attack("doorbell", &[]),
    attack("notifications", &[]),
    attack("unread", &[("Stuck", 2)]),
    attack("wrong_address", &[("WrongAddress", 10)]),
    attack("producer_index", &[("IndexLie", 3)]),
    attack("consumer_index", &[("IndexLie", 3)]),
    attack("scribble", &[("IndexLie", 3)]),
    attack("references", &[]),
    attack("offsets", &[("BadMessage", 4)]),
    attack("stall", &[]),
    attack("asks", &[("BadMessage", 4)]),
    attack("migrating", &[("BadMessage", 1)]),
    attack("frozen", &[]),
    attack("resume", &[("WrongAddress", 3)]),
    Attack {
        name: "never_unmap",
        causes: &[("BadMessage", 2), ("PeerLeft", 1)],
        quarantine: true,
    },
    attack("die", &[("Gone", 1)]),
];

/// Causes that only an attack brings about.
const BAD: &[&str] = &[
    "Left",
    "PeerMigrating",
    "Replaced",
    "Renewed",
    "IndexLie",
    "BadMessage",
    "Flood",
    "Stuck",
    "WrongAddress",
];

/// How the victim calls the causes in its log.
const LOGGED: &[(&str, &str)] = &[
    ("IndexLie", "the peer lied about an index"),
    ("BadMessage", "the peer sent a message that means nothing"),
    ("Flood", "the peer rings without end"),
    ("Stuck", "the peer does not take its messages"),
    ("Gone", "the peer is gone"),
    ("PeerLeft", "the peer shuts down"),
];

/// The numbers of victim, honest guest and attacker.
const VICTIM: u8 = 2;
const FRIEND: u8 = 3;
const ATTACKER: u8 = 4;

/// How long the victim may take to have everything back: a dead peer is seen within 5 s where no
/// connection uses the link, and what a peer keeps is given up after another.
const AFTERMATH: Duration = Duration::from_secs(10);

/// What the victim has counted.
struct Tally {
    status: ChannelStatus,
    /// Without those of the network device, whose pool grows under load.
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

    /// The same, if nothing were in quarantine.
    fn without_quarantine(mut self) -> Result<Self> {
        self.grants -= self.status.of_all("quarantined")?;
        Ok(self)
    }

    /// Links that ended for a reason since `before`.
    fn ended(&self, cause: &str, before: &Self) -> Result<u64> {
        Ok(self.status.ended(cause)? - before.status.ended(cause)?)
    }

    /// Why this is not what is to be seen after `attack`; `first` was seen before all attacks.
    fn differs(&self, attack: &Attack, before: &Self, first: &Self) -> Result<Option<String>> {
        for cause in BAD.iter().chain(&["Gone", "PeerLeft"]) {
            let expected = attack.causes.iter().find(|(name, _)| name == cause);
            let expected = expected.map_or(0, |(_, count)| *count);
            let seen = self.ended(cause, before)?;
            // A guest that goes after its attack takes its links with it; and how often it can ring
            // depends on the host's processors.
            let may_be_more =
                !BAD.contains(cause) || (*cause == "Flood" && attack.name == "notifications");
            let right = seen == expected || (seen > expected && may_be_more);
            if !right {
                return Ok(Some(format!("{cause} {seen} times and not {expected}")));
            }
        }
        let quarantined = self.status.of_all("quarantined")?;
        let more = quarantined - before.status.of_all("quarantined")?;
        if (more > 0) != attack.quarantine {
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

/// Attack by attack, under two streams that have nothing to do with them.
pub(crate) fn attacked(lab: &Lab) -> Result<String> {
    // Rings of one size, so that what the honest guests hold stays the same.
    let options = format!("{ON} vmc_ring=16 vmc_memory=4096");
    let victim = lab.echo(VICTIM, 16, &options);
    let domain = victim.start_ready()?;
    let outsider = EchoClient::start(victim.port(7), lab.seed()?, Pace::Modest)?;
    let mut friend = Bench::boot(lab, FRIEND, MEMORY_MIB, &options)?;
    friend.order(&format!("connect {} 1", victim.port(7)))?;
    linked(&domain, friend.guest.ip())?;
    let stream = friend.begin(format!("verify {} 1000 1000000000000 2000", victim.port(7)));
    flows(&mut friend.control)?;

    let mut first = Tally::of(&domain)?;
    let mut failed = Vec::new();
    for attack in ATTACKS {
        let name = attack.name;
        match one(lab, attack, &domain, &friend, &first) {
            Ok(told) => lab.report.log(format!("{name}: {told}")),
            Err(error) => {
                let why = format!("{name}: {error:#}");
                lab.report.log(format!("failed: {why}"));
                failed.push(why);
                // What comes after it is measured by what it has left.
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
        ATTACKS.len(),
        traffic.received_bytes,
        last.of_all("quarantined")?
    ))
}

/// Ends the honest guest's stream; the bytes that came back.
fn finish(mut friend: Bench, stream: JoinHandle<Result<Answer>>) -> Result<u64> {
    friend.order("stop")?;
    let bytes = end(stream).context("the honest guest's stream")?;
    healthy(&friend.domain)?;
    bytes.number("bytes")
}

/// Lets a guest carry out an attack, and waits until the victim is as it was, but for what it has
/// counted.
fn one(
    lab: &Lab,
    attack: &Attack,
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
            "vmc=off attack={} victim={} other={} uuid={uuid}",
            attack.name,
            crate::lab::address(VICTIM),
            friend.guest.ip()
        ),
    );
    let attacker = attacker.start_ready()?;
    let done = format!("hostile: done {}: ", attack.name);
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
    for (cause, count) in attack.causes {
        let Some((_, line)) = LOGGED.iter().find(|(name, _)| name == cause) else {
            continue;
        };
        let lines = text[logged..].matches(line).count() as u64;
        if lines < *count {
            bail!("{cause} was logged {lines} times and not {count}");
        }
    }
    Ok(told)
}

/// Pages that the victim's network device has granted, as its last answer to `status` says.
fn device_pages(victim: &Domain) -> Result<u64> {
    let text = victim.console().text();
    let line = text.lines().rfind(|line| line.contains("status: link "));
    let pages = line.and_then(|line| line.rsplit_once(" pages ")?.1.trim().parse().ok());
    pages.with_context(|| format!("no pages in {line:?}"))
}

/// A domain's UUID.
fn uuid(domain: &Domain) -> Result<String> {
    let node = format!("/local/domain/{}/vm", domain.running()?.id);
    let path = run_ok("xenstore-read", &[&node], Duration::from_secs(20))?;
    let uuid = path.trim().strip_prefix("/vm/");
    Ok(uuid
        .with_context(|| format!("{node} is {path:?}"))?
        .to_owned())
}
