//! A bench guest and the orders it is given.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::channel::ChannelStatus;
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::guest::Guest;
use crate::lab::Lab;
use crate::survival::healthy;
use crate::traffic::bench::{Answer, CONTROL, Control};

/// The time limit of an order that runs beside others, shorter than the guest's own.
const LONG: Duration = Duration::from_secs(1700);

/// A bench guest with its control port.
pub struct Bench {
    /// The guest.
    pub guest: Guest,
    /// Its domain.
    pub domain: Domain,
    /// A connection for orders.
    pub control: Control,
}

impl Bench {
    /// Boots a bench guest at 10.0.0.`number` and connects to its control port.
    pub fn boot(lab: &Lab, number: u8, memory_mib: u64, options: &str) -> Result<Self> {
        Self::start(lab.bench(number, memory_mib, options))
    }

    /// Boots `guest`, which runs the bench image, and connects to its control port.
    pub fn start(guest: Guest) -> Result<Self> {
        let domain = guest.start_ready()?;
        let control = Control::connect(guest.port(CONTROL))?;
        Ok(Self {
            guest,
            domain,
            control,
        })
    }

    /// Gives an order and waits for the answer.
    pub fn order(&mut self, order: &str) -> Result<Answer> {
        self.control.order(order, Deadline::seconds(90))
    }

    /// Gives an order on a connection of its own, in a thread.
    pub fn begin(&self, order: String) -> thread::JoinHandle<Result<Answer>> {
        let server = self.guest.port(CONTROL);
        thread::spawn(move || Control::connect(server)?.order(&order, Deadline::after(LONG)))
    }

    /// Returns what the guest's channel has counted.
    pub fn status(&self) -> Result<ChannelStatus> {
        ChannelStatus::of(&self.domain)
    }

    /// Opens a first connection to `other` and waits until both guests have a link.
    pub fn acquaint(&mut self, other: &Self) -> Result<()> {
        self.order(&format!("connect {} 1", other.guest.port(7)))?;
        linked(&self.domain, other.guest.ip())?;
        linked(&other.domain, self.guest.ip())
    }
}

/// Waits until `domain` has a link with `peer`.
pub fn linked(domain: &Domain, peer: Ipv4Addr) -> Result<()> {
    let what = format!("a link of {} with {peer}", domain.name);
    Deadline::seconds(30).poll(Duration::from_millis(100), &what, || {
        let status = ChannelStatus::of(domain)?;
        Ok(status.has_link(peer).then_some(()))
    })
}

/// Waits for the result of an order given by [`Bench::begin`].
pub fn end(order: thread::JoinHandle<Result<Answer>>) -> Result<Answer> {
    order.join().map_err(|_| anyhow!("an order panicked"))?
}

/// Waits until the guest compares more bytes of its streams.
pub fn flows(control: &mut Control) -> Result<()> {
    let deadline = Deadline::seconds(90);
    let mut compared = || control.order("counters", deadline)?.number("compared");
    let before = compared()?;
    deadline.poll(Duration::from_millis(50), "compared bytes", || {
        Ok((compared()? > before + 50_000).then_some(()))
    })
}

/// Fails if connections were lost with a link.
pub fn nothing_failed(status: &ChannelStatus) -> Result<()> {
    match status.of_all("failed")? {
        0 => Ok(()),
        failed => bail!("{failed} connections failed: {status:?}"),
    }
}

/// Fails if one of the guests has panicked, logged an error or ended.
pub fn well(benches: &[&Bench]) -> Result<()> {
    for bench in benches {
        healthy(&bench.domain).with_context(|| bench.domain.name.clone())?;
        bench.domain.running()?;
    }
    Ok(())
}
