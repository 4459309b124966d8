//! Checks that a guest has survived a suspend, by its own account and by the toolstack's.

use std::collections::VecDeque;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::domain::lifecycle::{Counts, Outcome, Suspend};
use crate::domain::list::Entry;
use crate::domain::{self, Domain};
use crate::lines;

/// How long a guest may take to report a suspend. It waits for the first acknowledgement, at most
/// 10 s.
const ACCOUNT: Duration = Duration::from_secs(20);

/// The interval between two looks at its console.
const PAUSE: Duration = Duration::from_millis(20);

/// How long Xen and the toolstack may take to forget a domain, and the interval between two looks.
const FORGOTTEN: Duration = Duration::from_secs(10);
const LIST_PAUSE: Duration = Duration::from_millis(100);

/// Follows one guest through its suspends.
#[derive(Debug)]
pub struct Witness<'a> {
    domain: &'a Domain,
    suspends: usize,
    /// How far the console was read, and suspends found there that nobody has asked about yet.
    read: usize,
    told: VecDeque<Suspend>,
    domid: u32,
}

impl<'a> Witness<'a> {
    /// Starts from the present state of `domain`.
    pub fn of(domain: &'a Domain) -> Result<Self> {
        let (text, read) = domain.console().since(0, false);
        nothing_bad(&text)?;
        Ok(Self {
            domain,
            suspends: Suspend::all(&text)?.len(),
            read,
            told: VecDeque::new(),
            domid: domain.running()?.id,
        })
    }

    /// Checks that the guest was suspended once more and resumed in a new domain of this host.
    pub fn moved(&mut self) -> Result<Suspend> {
        let suspend = self.account()?;
        let domid = self.domain.running()?.id;
        if domid == self.domid {
            bail!("the domain still has domid {domid}");
        }
        if suspend.outcome != Outcome::NewDomain(domid) {
            bail!(
                "the domain is {domid}, the guest says {:?}",
                suspend.outcome
            );
        }
        self.domid = domid;
        Ok(suspend)
    }

    /// Checks that the guest was suspended once more and resumed in the same domain.
    pub fn stayed(&mut self) -> Result<Suspend> {
        let suspend = self.account()?;
        let domid = self.domain.running()?.id;
        if domid != self.domid || suspend.outcome != Outcome::Cancelled {
            bail!(
                "domid {} became {domid}, the guest says {:?}",
                self.domid,
                suspend.outcome
            );
        }
        Ok(suspend)
    }

    /// Waits for the guest's line about its next suspend.
    fn account(&mut self) -> Result<Suspend> {
        let console = self.domain.console();
        let what = format!("the guest's line about suspend {}", self.suspends + 1);
        let suspend = Deadline::after(ACCOUNT)
            .poll(PAUSE, &what, || {
                let (text, next) = console.since(self.read, false);
                self.read = next;
                nothing_bad(&text)?;
                self.told.extend(Suspend::all(&text)?);
                Ok(self.told.pop_front())
            })
            .with_context(|| console.tail())?;
        self.suspends += 1;
        if suspend.number != self.suspends as u64 {
            bail!("suspend {} is called {}", self.suspends, suspend.number);
        }
        Ok(suspend)
    }
}

/// Fails if the guest's console shows a panic or an error.
pub fn healthy(domain: &Domain) -> Result<()> {
    nothing_bad(&domain.console().text())
}

/// Fails if `text` of a guest's console shows a panic or an error.
pub fn nothing_bad(text: &str) -> Result<()> {
    match lines::first_bad(text) {
        Some(line) => bail!("the guest says: {}", line.trim()),
        None => Ok(()),
    }
}

/// Returns the domains of `xl list` other than dom0 and `known`, after a time for them to go: a
/// domain that has ended stays as long as others map its pages.
pub fn zombies(known: &[&Domain]) -> Result<Vec<Entry>> {
    let deadline = Deadline::after(FORGOTTEN);
    loop {
        let over = deadline.passed();
        let mut left = domain::all()?;
        left.retain(|entry| entry.id != 0 && known.iter().all(|known| known.name != entry.name));
        if left.is_empty() || over {
            return Ok(left);
        }
        sleep(LIST_PAUSE);
    }
}

/// Fails if a domain other than dom0 and `known` stays on this host.
pub fn none_left(known: &[&Domain]) -> Result<()> {
    let left = zombies(known)?;
    if !left.is_empty() {
        bail!("left over on this host: {left:?}");
    }
    Ok(())
}

/// How much of this host's memory was free before a guest came and went.
#[derive(Clone, Copy, Debug)]
pub struct FreeMemory {
    mib: u64,
}

/// How many MiB less may be free afterwards. Xen's heap grows with what it has ever had to hold, and
/// xl counts whole MiB.
const HEAP_MIB: u64 = 2;

impl FreeMemory {
    /// Notes what is free.
    pub fn now() -> Result<Self> {
        let mib = domain::free_memory_mib()?;
        Ok(Self { mib })
    }

    /// Waits until all domains but dom0 and `known` are gone, and as much is free as before.
    /// Returns how many MiB are free.
    pub fn again(self, known: &[&Domain]) -> Result<u64> {
        none_left(known)?;
        let what = format!("{} MiB to be free as before", self.mib);
        let mut free = 0;
        let waited = Deadline::after(FORGOTTEN).poll(LIST_PAUSE, &what, || {
            free = domain::free_memory_mib()?;
            Ok((free + HEAP_MIB >= self.mib).then_some(free))
        });
        waited.with_context(|| format!("{free} MiB are free"))
    }
}

/// Types `status` on the guest's console and returns its counts.
pub fn counts(domain: &Domain) -> Result<Counts> {
    let console = domain.console();
    let asked = console.end();
    domain.type_line("status")?;
    let line = console.wait_since(asked, &lines::STATUS_COUNTS, Deadline::seconds(15))?;
    Counts::parse(&line)
}
