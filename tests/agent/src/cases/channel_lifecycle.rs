//! Guests that share memory are saved, restored and migrated under a stream with every byte
//! compared: nothing is lost or changed, and no connection is reset.

use anyhow::{Context, Result, bail};
use labkit::bench::{Bench, end, flows, linked, nothing_failed, well};
use labkit::migration::{Options, SaveFile, migrate};
use labkit::{Case, Domain, Lab, Witness};

use super::channel::{MEMORY_MIB, MODE};

pub(super) const CASES: &[Case] = &[
    Case::new("channel_save_checkpoint", 240, checkpoint),
    Case::new("channel_save_restore", 240, save_restore),
    Case::new("channel_migrate", 300, migrations).live(),
];

/// Which of the two guests it happens to.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// The guest that opened the connection.
    Client,
    /// The other guest.
    Server,
}

/// Does `action` to one guest of a pair, then to the other, under a stream.
fn under_traffic(
    lab: &Lab,
    action: impl Fn(&Domain, &mut Witness<'_>) -> Result<()>,
) -> Result<String> {
    let mut a = Bench::boot(lab, 2, MEMORY_MIB, MODE.option())?;
    let b = Bench::boot(lab, 3, MEMORY_MIB, MODE.option())?;
    a.acquaint(&b)?;
    let server = b.guest.port(7);
    // Slow, some 4 MB/s, because one CPU serves everybody.
    let stream = a.begin(format!("verify {server} 4096 1000000000000 1000"));
    flows(&mut a.control)?;
    let mut client = Witness::of(&a.domain)?;
    let mut served = Witness::of(&b.domain)?;
    for who in [Who::Server, Who::Client, Who::Server] {
        match who {
            Who::Client => action(&a.domain, &mut client)?,
            Who::Server => action(&b.domain, &mut served)?,
        }
        // The control connection lives through it too.
        flows(&mut a.control).context("after it")?;
        linked(&a.domain, b.guest.ip()).context("the channel comes back")?;
    }
    a.order("stop")?;
    let answer = end(stream)?;
    let (there, back) = (a.status()?, b.status()?);
    nothing_failed(&there)?;
    nothing_failed(&back)?;
    let (upgrades, fallbacks) = (there.of_all("upgrades")?, there.of_all("fallbacks")?);
    if upgrades < 2 || there.of_all("quarantined")? + back.of_all("quarantined")? != 0 {
        bail!("{there:?}, {back:?}");
    }
    well(&[&a, &b])?;
    Ok(format!(
        "{} bytes compared, {upgrades} upgrades, {fallbacks} fallbacks, longest gap {} ms",
        answer.number("bytes")?,
        answer.number("gap_ns")? / 1_000_000
    ))
}

fn checkpoint(lab: &Lab) -> Result<String> {
    under_traffic(lab, |domain, witness| {
        let file = SaveFile::fresh();
        domain.save(&file, true)?;
        witness.stayed().map(drop)
    })
}

fn save_restore(lab: &Lab) -> Result<String> {
    under_traffic(lab, |domain, witness| {
        let file = SaveFile::fresh();
        domain.save(&file, false)?;
        domain.restore(&file)?;
        witness.moved().map(drop)
    })
}

fn migrations(lab: &Lab) -> Result<String> {
    under_traffic(lab, |domain, witness| {
        migrate(domain, &Options::default())?.expect_success()?;
        witness.moved().map(drop)
    })
}
