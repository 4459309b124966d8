//! One mail of a session, before and behind its message.

use crate::address::Mailbox;
use crate::log::{About, Announced, Log};
use crate::reply::Reply;
use crate::time::UnixTime;
use crate::trace::QueueId;

/// A mail being accepted, from MAIL to the answer to its final dot.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) id: QueueId,
    /// `None` is the null sender.
    pub(crate) sender: Option<Mailbox>,
    /// The size the client declared, in bytes.
    pub(crate) size: Option<u64>,
    /// How many recipients the next hop has taken.
    pub(crate) accepted: usize,
    /// How many recipients were refused because there were enough.
    pub(super) beyond: usize,
    /// The last refusal of a recipient.
    pub(super) refusal: Option<Reply>,
    /// The first recipient that the next hop has taken.
    pub(super) first: Option<Mailbox>,
    /// Set once the mail cannot go on: the answer to every RCPT and DATA.
    pub(super) broken: Option<Reply>,
    /// Octets of the message received.
    pub(crate) received: u64,
    /// The time of MAIL, and later that of DATA.
    pub(super) time: UnixTime,
}

impl Transaction {
    /// Begins a mail.
    pub(super) fn new(id: QueueId, sender: Option<Mailbox>, size: Option<u64>) -> Self {
        Self {
            id,
            sender,
            size,
            accepted: 0,
            beyond: 0,
            refusal: None,
            first: None,
            broken: None,
            received: 0,
            time: id.time,
        }
    }

    /// Returns the mail as the log names it.
    pub(super) fn announced(&self) -> Announced {
        Announced {
            id: self.id,
            sender: self.sender.clone(),
        }
    }

    /// Takes note of the answer to a recipient.
    pub(super) fn answered(&mut self, recipient: Mailbox, reply: &Reply) {
        match reply.is_positive() {
            true => {
                self.accepted += 1;
                self.first.get_or_insert(recipient);
            }
            false => self.refusal = Some(reply.clone()),
        }
    }

    /// Returns the last line about a mail whose message was never answered: a refusal, if that is
    /// why it went no further. Without any recipient nothing was asked for.
    pub(super) fn dropped(self, about: About) -> Option<Log> {
        let refusal = match self.accepted {
            0 => self.refusal,
            _ => self.broken,
        };
        match refusal {
            Some(reply) => Some(Log::Refused { about, reply }),
            None if self.accepted > 0 => Some(Log::Abandoned { about }),
            None => None,
        }
    }
}
