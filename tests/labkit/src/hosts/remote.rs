//! The second host, as scenarios on the first host see it.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::ask::ask;
use super::protocol::{Answer, Fault, Receipt, Request, Sent};
use super::receiver::{Incoming, Receiver};
use super::{receiver, sender};
use crate::addresses::{DOM0, SECOND_DOM0};
use crate::deadline::Deadline;
use crate::domain::console::Console;
use crate::domain::list::Entry;
use crate::domain::{Domain, xen_version};
use crate::migration::SaveFile;

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
        let (sent, receipt) = deliver(&Request::Receive { limit_s, fault }, limit_s, |to| {
            sender::send(&domain.name, to, limit)
        })?;
        let sent = sent.with_context(|| format!("host b received: {receipt:?}"))?;
        let hosts = ("a", "b");
        Ok(Moved {
            sent,
            receipt,
            hosts,
        })
    }

    /// Sends a save file of this host to the second one, which restores the domain, all within
    /// `limit`.
    pub fn restore_there(&self, file: &SaveFile, limit: Duration) -> Result<Receipt> {
        let (limit_s, bytes) = (limit.as_secs(), file.bytes());
        let request = Request::Restore { limit_s, bytes };
        let (sent, receipt) = deliver(&request, limit_s, |to| sender::send_file(file, to))?;
        sent.with_context(|| format!("host b received: {receipt:?}"))?;
        receiver::check(&receipt, "b")?;
        Ok(receipt)
    }

    /// Whether a guest can come back from there, because both hosts run the same release of Xen. A
    /// guest of an older release goes to a later one, but not the other way.
    pub fn returns(&self) -> Result<bool> {
        Ok(release(&self.xen) == release(&xen_version()?))
    }

    /// Migrates a domain of the second host to this one, within `limit`.
    pub fn migrate_back(&self, domain: &Domain, limit: Duration) -> Result<Moved> {
        let limit_s = limit.as_secs();
        let console = Console::incoming(&domain.name);
        let offset = console.bytes();
        let receiver = Receiver::start(
            DOM0,
            Incoming::Migration(None),
            Deadline::seconds(limit_s + GRACE_S),
        )?;
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

/// Asks for a receiver, which lives for at most `limit_s` seconds, has `send` send to its address,
/// and returns how both ended.
fn deliver<T>(
    request: &Request,
    limit_s: u64,
    send: impl FnOnce(SocketAddr) -> Result<T>,
) -> Result<(Result<T>, Receipt)>
where
    Result<T>: Debug,
{
    let port = match short(request)? {
        Answer::Receiving { port } => port,
        other => return unexpected(&other),
    };
    let sent = send(SocketAddr::new(IpAddr::V4(SECOND_DOM0), port));
    // Also after a failure: the receiver says why.
    let wait = Deadline::seconds(limit_s + GRACE_S);
    let received = ask(&Request::Received { port }, wait);
    match received.with_context(|| format!("host a sent: {sent:?}"))? {
        Answer::Received(receipt) => Ok((sent, receipt)),
        other => unexpected(&other),
    }
}

/// Returns the release in a version: `4.17` of `4.17.5`, or of `4.17.5-pre`.
fn release(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn short(request: &Request) -> Result<Answer> {
    ask(request, Deadline::seconds(SHORT))
}

fn unexpected<T>(answer: &Answer) -> Result<T> {
    bail!("host b answered something else: {answer:?}")
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn a_release_is_two_numbers_of_a_version() {
        assert_eq!(release("4.17.5"), release("4.17.6-pre"));
        assert_ne!(release("4.17.5"), release("4.14.6"));
        assert_ne!(release("4.2.0"), release("4.20.4"));
    }
}
