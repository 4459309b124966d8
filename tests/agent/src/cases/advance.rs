//! Guests that share memory are saved, restored and migrated, also with failures, under streams
//! both ways with every byte compared: nothing is lost or changed, and the connections stay the
//! same ([`labkit::pair`], which is also the original authors' echo test).

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use labkit::bench::{Bench, end, flows};
use labkit::meter::Ended;
use labkit::migration::{Kill, Options, SaveFile, clean_up, migrate, start};
use labkit::pair::{Pair, endless};
use labkit::survival::zombies;
use labkit::traffic::bench::kind_of;
use labkit::{Case, Deadline, Kind, Lab, Mode, Witness};

pub(super) const CASES: &[Case] = &[
    Case::new("advance_lifecycle", 400, lifecycle).live(),
    Case::new("advance_two_kinds", 400, two_kinds),
    Case::new("advance_failures", 400, failures).live(),
    Case::new("advance_peer_destroyed", 300, destroyed).live(),
];

/// Where to cut a stream, in percent of the bytes of a whole migration.
const CUT_PERCENT: u64 = 50;

/// After how many pages of pre-copy the fault comes. Even an idle guest has some 1300.
const AT_PAGE: u64 = 300;

/// How long a migration may take on an emulated machine.
const LIMIT: Duration = Duration::from_secs(120);

/// How long the target's xl may take to remove what it could not complete.
const GRACE: Duration = Duration::from_secs(15);

/// How soon a guest must know that a peer it shares memory with is gone.
const GONE: Duration = Duration::from_secs(20);

/// A migration that is held in its pre-copy until it is released.
fn held() -> Options {
    Options {
        hold_page: Some(AT_PAGE),
        progress: true,
        limit: LIMIT,
        ..Options::default()
    }
}

/// Migrates one guest, then the other; checkpoints the first, saves and restores the second.
fn lifecycle(lab: &Lab) -> Result<String> {
    let pair = Pair::start(lab, lab.mode()?, [2, 3])?;
    let steps = ["migrate b", "migrate a", "save -c b", "save, restore a"];
    climb(lab, pair, &steps)
}

/// The same with a PVH guest A and a PV guest B, which not every Xen can migrate live.
fn two_kinds(lab: &Lab) -> Result<String> {
    let pair = Pair::start_as(lab, lab.mode()?, [2, 3], [Kind::Pvh, Kind::Pv])?;
    let steps = [
        "migrate a",
        "save, restore b",
        "save -c a",
        "save -c b",
        "migrate a",
        "save, restore a",
    ];
    climb(lab, pair, &steps)
}

/// Suspends guests of a pair in each of these ways.
fn climb(lab: &Lab, mut pair: Pair, steps: &[&str]) -> Result<String> {
    for &step in steps {
        let begun = Instant::now();
        let domain = match step.as_bytes().last() {
            Some(b'a') => &pair.a.domain,
            _ => &pair.b.domain,
        };
        let mut witness = Witness::of(domain)?;
        let file = SaveFile::fresh();
        let suspend = if step.starts_with("migrate") {
            migrate(domain, &Options::default())?.expect_success()?;
            witness.moved()?
        } else if step.starts_with("save -c") {
            domain.save(&file, true)?;
            witness.stayed()?
        } else {
            domain.save(&file, false)?;
            domain.restore(&file)?;
            witness.moved()?
        };
        let back = begun.elapsed().as_secs_f64();
        pair.share().with_context(|| format!("after {step}"))?;
        none_left(&[&pair.a, &pair.b], step)?;
        lab.report.log(format!(
            "{step}: back after {back:.1} s, shares memory after {:.1} s; own {:?} us",
            begun.elapsed().as_secs_f64(),
            suspend.own_us
        ));
    }
    pair.finish()
}

/// Cuts the transport and kills `xl migrate`: the guest goes on where it is, by shared memory.
fn failures(lab: &Lab) -> Result<String> {
    let mut pair = Pair::start(lab, lab.mode()?, [2, 3])?;
    let whole = migrate(&pair.b.domain, &Options::default())?.expect_success()?;
    let whole = whole.stream()?.bytes;
    pair.share().context("after a good migration")?;
    let domid = pair.b.domain.running()?.id;
    let cut = Options {
        cut_after: Some(whole * CUT_PERCENT / 100),
        ..Options::default()
    };
    let migration = migrate(&pair.b.domain, &cut)?.expect_failure()?;
    let ended = migration.stream()?.ended;
    ensure!(ended == Ended::ByCut, "not cut, but {ended:?}");
    unharmed(lab, &mut pair, domid, "a cut at 50 %")?;

    let mut running = start(&pair.b.domain, &held())?;
    running.wait_for_page(AT_PAGE, Deadline::after(LIMIT))?;
    running.kill(Kill::Xl);
    running.wait()?.expect_failure()?;
    unharmed(lab, &mut pair, domid, "xl killed")?;

    // The failures do not hinder a migration without one.
    migrate(&pair.b.domain, &Options::default())?.expect_success()?;
    pair.share().context("after another good migration")?;
    pair.finish()
}

fn unharmed(lab: &Lab, pair: &mut Pair, domid: u32, what: &str) -> Result<()> {
    let left = clean_up(&pair.b.domain, GRACE)?;
    let now = pair.b.domain.running()?.id;
    ensure!(now == domid, "{what}: domain {domid} has become {now}");
    ensure!(!left.migrated_away, "{what}: the source had let it go");
    pair.share().with_context(|| format!("after {what}"))?;
    none_left(&[&pair.a, &pair.b], what)?;
    lab.report.log(format!("{what}: unharmed, {left:?}"));
    Ok(())
}

/// Destroys one of a guest's two peers during its pre-copy. The other connection goes on, and the
/// guest arrives.
fn destroyed(lab: &Lab) -> Result<String> {
    let mode = lab.mode()?;
    let mut pair = Pair::start(lab, mode, [2, 3])?;
    let peer = Bench::boot(lab, 4, 16, mode.option())?;
    pair.a.acquaint(&peer)?;
    let dies = pair.a.begin(endless(&peer));
    // A counts both of its streams together, so wait until this one is under way too.
    sleep(Duration::from_secs(1));
    pair.flow()?;
    let mut witness = Witness::of(&pair.a.domain)?;
    let mut running = start(&pair.a.domain, &held())?;
    running.wait_for_page(AT_PAGE, Deadline::after(LIMIT))?;
    drop(peer);
    let destroyed = Instant::now();
    let noticed = match mode {
        // Its bytes have gone over TCP since the early notice, so it ends with TCP's own time-out.
        Mode::Off | Mode::Original => "not waited for, over TCP".to_owned(),
        Mode::Advance => {
            let over = Deadline::after(GONE).poll(Duration::from_millis(10), "its end", || {
                Ok(dies.is_finished().then_some(()))
            });
            over.context("the stream to a guest that is gone")?;
            let after = destroyed.elapsed().as_millis();
            match end(dies) {
                Err(error) if kind_of(&error) == Some("stream") => {}
                other => bail!("the stream to a guest that is gone: {other:?}"),
            }
            format!("after {after} ms")
        }
    };
    flows(&mut pair.a.control).context("the other stream")?;
    running.release()?;
    running.wait()?.expect_success()?;
    witness.moved()?;
    pair.share().context("after the migration")?;
    none_left(&[&pair.a, &pair.b], "a peer destroyed in pre-copy")?;
    let told = pair.finish_without(1)?;
    Ok(format!("its connection ended {noticed}; {told}"))
}

/// Fails if a domain is left over.
fn none_left(benches: &[&Bench], what: &str) -> Result<()> {
    let known: Vec<_> = benches.iter().map(|bench| &bench.domain).collect();
    match zombies(&known)?[..] {
        [] => Ok(()),
        ref left => bail!("left over after {what}: {left:?}"),
    }
}
