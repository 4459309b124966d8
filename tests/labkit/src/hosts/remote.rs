//! The second host, as scenarios on the first host see it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::ask::ask;
use super::protocol::{Answer, Fault, Receipt, Request, Sent};
use super::receiver::Receiver;
use super::{receiver, sender};
use crate::addresses::{DOM0, SECOND_DOM0};
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::console::Console;
use crate::domain::list::Entry;

/// The limit in seconds of requests that are answered at once; `xl` under emulation takes some.
const SHORT: u64 = 60;

/// How many seconds longer than the migration its receiver may live.
const GRACE_S: u64 = 30;

/// The second host.
#[derive(Clone, Debug)]
pub struct RemoteHost {
    /// Its hypervisor's version.
    pub xen: String,
}

/// One migration, as both hosts saw it.
#[derive(Clone, Debug)]
pub struct Moved {
    /// How `xl migrate` ended.
    pub sent: Sent,
    /// How `xl migrate-receive` ended.
    pub receipt: Receipt,
    hosts: (&'static str, &'static str),
}

impl Moved {
    /// Returns how many page contents were sent, repeats included, if the meter counted them.
    pub fn pages(&self) -> Option<u64> {
        self.sent.stream.as_ref().map(|stream| stream.pages_sent)
    }

    /// Fails unless both sides succeeded.
    pub fn check(&self) -> Result<()> {
        let (from, to) = self.hosts;
        if !self.sent.ok {
            bail!(
                "xl migrate on host {from} failed: {}; host {to} received {} bytes and said: {}",
                self.sent.text,
                self.receipt.bytes,
                self.receipt.text
            );
        }
        receiver::check(&self.receipt, to)
    }
}

impl RemoteHost {
    /// Waits until the second host answers.
    pub fn find(deadline: Deadline) -> Result<Self> {
        match ask(&Request::Hello, deadline)? {
            Answer::Hello { xen } => Ok(Self { xen }),
            other => unexpected(&other),
        }
    }

    /// Migrates a domain of this host to the second one, within `limit`.
    pub fn migrate_there(
        &self,
        domain: &Domain,
        limit: Duration,
        fault: Option<Fault>,
    ) -> Result<Moved> {
        let limit_s = limit.as_secs() + GRACE_S;
        let port = match short(&Request::Receive { limit_s, fault })? {
            Answer::Receiving { port } => port,
            other => return unexpected(&other),
        };
        let to = SocketAddr::new(IpAddr::V4(SECOND_DOM0), port);
        let sent = sender::send(&domain.name, to, limit);
        // Also after a failure: the receiver says why.
        let wait = Deadline::seconds(limit_s + GRACE_S);
        let received = ask(&Request::Received { port }, wait);
        let receipt = match received.with_context(|| format!("xl migrate on host a: {sent:?}"))? {
            Answer::Received(receipt) => receipt,
            other => return unexpected(&other),
        };
        let sent = sent.with_context(|| format!("host b received: {receipt:?}"))?;
        let hosts = ("a", "b");
        Ok(Moved {
            sent,
            receipt,
            hosts,
        })
    }

    /// Migrates a domain of the second host to this one, within `limit`.
    pub fn migrate_back(&self, domain: &Domain, limit: Duration) -> Result<Moved> {
        let limit_s = limit.as_secs();
        let console = Console::incoming(&domain.name);
        let offset = console.bytes();
        let receiver = Receiver::start(DOM0, None, Deadline::seconds(limit_s + GRACE_S))?;
        let request = Request::Send {
            domain: domain.name.clone(),
            to: receiver.at(DOM0),
            limit_s,
        };
        let sent = match ask(&request, Deadline::seconds(limit_s + GRACE_S))? {
            Answer::Sent(sent) => *sent,
            other => return unexpected(&other),
        };
        let receipt = receiver.finish()?;
        if receipt.ok {
            domain.console().continue_in(&console, offset);
        }
        let hosts = ("b", "a");
        Ok(Moved {
            sent,
            receipt,
            hosts,
        })
    }

    /// Returns the rows of its `xl list`.
    pub fn domains(&self) -> Result<Vec<Entry>> {
        match short(&Request::Domains)? {
            Answer::Domains(entries) => Ok(entries),
            other => unexpected(&other),
        }
    }

    /// Returns the row of the domain called `name`, or `None` if it is not there.
    pub fn entry(&self, name: &str) -> Result<Option<Entry>> {
        Ok(self.domains()?.into_iter().find(|entry| entry.name == name))
    }

    /// Describes the host after a failure: its domains.
    pub fn describe(&self) -> String {
        match self.domains() {
            Ok(entries) => format!("{entries:?}"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// Returns what a domain has printed there: the end that fits into an answer.
    pub fn console(&self, name: &str) -> Result<String> {
        let domain = name.to_owned();
        match short(&Request::Console { domain })? {
            Answer::Console(text) => Ok(text),
            other => unexpected(&other),
        }
    }

    /// Destroys every domain there but its dom0.
    pub fn destroy_all(&self) -> Result<()> {
        short(&Request::DestroyAll).map(drop)
    }

    /// Has it hand in its consoles and power off.
    pub fn power_off(self) -> Result<()> {
        short(&Request::PowerOff).map(drop)
    }
}

fn short(request: &Request) -> Result<Answer> {
    ask(request, Deadline::seconds(SHORT))
}

fn unexpected<T>(answer: &Answer) -> Result<T> {
    bail!("host b answered something else: {answer:?}")
}
