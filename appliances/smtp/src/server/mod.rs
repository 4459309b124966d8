//! The server half: one session with a client (RFC 5321 3, 4.1.4).
//!
//! Recipients are answered in cut-through style: each RCPT is put to the next
//! hop, and its answer, yes or no, goes to the client. So the session stops
//! reading at every RCPT, at DATA and at the end of a message until it is given
//! the answer; a client that pipelines (RFC 2920) just waits longer.
//!
//! This file has the states and answers, `commands.rs` what each command does,
//! `message.rs` the time between DATA and the final dot.

mod commands;
mod message;

use alloc::string::String;
use alloc::sync::Arc;
use core::net::IpAddr;

use crate::address::Mailbox;
use crate::body::{Body, SPARE};
use crate::command::BodyType;
use crate::config::Config;
use crate::drain::Drain;
use crate::line::LineReader;
use crate::replies;
use crate::reply::{REPLY_ROOM, Reply};
use crate::ring::Ring;
use crate::time::UnixTime;
use crate::trace::{QueueId, Trace};

/// A mail being accepted, from MAIL to the answer to its final dot.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) id: QueueId,
    /// `None` is the null sender.
    pub(crate) sender: Option<Mailbox>,
    /// The size the client declared, in bytes.
    pub(crate) size: Option<u64>,
    pub(crate) body: BodyType,
    /// How many recipients the next hop has taken.
    pub(crate) accepted: usize,
    refused: usize,
    /// The first recipient that the next hop has taken.
    first: Option<Mailbox>,
    /// Set once the mail cannot go on: the answer to every RCPT and DATA.
    broken: Option<Reply>,
    /// Octets of the message received.
    pub(crate) received: u64,
    /// The time of MAIL, and later that of DATA.
    time: UnixTime,
}

/// What the session waits for from the next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The answer to this recipient.
    Recipient(Mailbox),
    /// The answer to DATA.
    Data,
    /// The answer to the final dot.
    Message,
}

#[derive(Debug)]
enum State {
    Command,
    Waiting(Waiting),
    Message(Body),
    /// Reads over a refused message; the reply is sent at its end.
    Drain(Drain, Reply),
    Closing,
}

/// What the coupling must act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// See [`Server::waiting`].
    Waiting,
    /// The message is complete, all of it is in the outgoing ring, and the
    /// session waits for the answer.
    MessageEnd,
    /// The message was refused before its end, which the next hop must not get.
    MessageRefused(Reply),
    /// The mail was dropped before its message, and the next hop must forget it.
    Dropped,
    /// The session is over.
    Closing,
}

#[derive(Debug)]
struct Hello {
    name: String,
    extended: bool,
}

/// One session with a client.
#[derive(Debug)]
pub(crate) struct Server {
    config: Arc<Config>,
    peer: IpAddr,
    session: u32,
    messages: u32,
    lines: LineReader,
    hello: Option<Hello>,
    transaction: Option<Transaction>,
    state: State,
    bad_commands: u32,
    progress: u32,
}

impl Server {
    /// Begins the session with its greeting.
    pub(crate) fn new(config: Arc<Config>, peer: IpAddr, session: u32, replies: &mut Ring) -> Self {
        replies.put(replies::greeting(config.hostname()).as_bytes());
        Self {
            config,
            peer,
            session,
            messages: 0,
            lines: LineReader::default(),
            hello: None,
            transaction: None,
            state: State::Command,
            bad_commands: 0,
            progress: 0,
        }
    }

    /// Takes some input. Returns how much, and what the coupling must act on.
    /// Call again until nothing is consumed.
    pub(crate) fn input(
        &mut self,
        now: UnixTime,
        input: &[u8],
        replies: &mut Ring,
        message: &mut Ring,
    ) -> (usize, Option<Event>) {
        match &self.state {
            State::Command if replies.space() < REPLY_ROOM => (0, None),
            State::Command => self.command_input(now, input, replies),
            State::Waiting(_) => (0, None),
            State::Message(_) => self.message_input(input, message),
            State::Drain(..) => self.drain_input(input, replies),
            State::Closing => (input.len(), None),
        }
    }

    /// Returns how many bytes [`Server::input`] would take now; at 0 reading
    /// from the client can stop.
    pub(crate) fn capacity(&self, replies: &Ring, message: &Ring) -> usize {
        match &self.state {
            State::Command if replies.space() < REPLY_ROOM => 0,
            State::Message(_) => message.space().saturating_sub(SPARE),
            State::Waiting(_) => 0,
            State::Command | State::Drain(..) | State::Closing => usize::MAX,
        }
    }

    /// Returns what the session waits for, if it does.
    pub(crate) fn waiting(&self) -> Option<&Waiting> {
        match &self.state {
            State::Waiting(waiting) => Some(waiting),
            _ => None,
        }
    }

    /// Whether a message is passing through now.
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(self.state, State::Message(_))
    }

    /// Whether a message is being received, passed on or not.
    pub(crate) fn in_message(&self) -> bool {
        matches!(self.state, State::Message(_) | State::Drain(..))
    }

    /// Whether the session is over.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// Whether the client is between two mails.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Command) && self.transaction.is_none()
    }

    /// Returns the mail being accepted.
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// Returns a number that changes whenever the client makes progress: a
    /// command line, or 512 bytes of a message.
    pub(crate) fn progress(&self) -> u32 {
        let bytes = match &self.state {
            State::Message(body) => body.size(),
            State::Drain(drain, _) => drain.left(),
            _ => 0,
        };
        self.progress.wrapping_add((bytes / 512) as u32)
    }

    /// Gives the client the next hop's answer to its recipient, if the session
    /// still waits for that.
    pub(crate) fn answer_recipient(&mut self, reply: &Reply, replies: &mut Ring) {
        let state = core::mem::replace(&mut self.state, State::Command);
        let State::Waiting(Waiting::Recipient(recipient)) = state else {
            self.state = state;
            return;
        };
        if let Some(transaction) = &mut self.transaction {
            match reply.is_positive() {
                true => {
                    transaction.accepted += 1;
                    transaction.first.get_or_insert(recipient);
                }
                false => transaction.refused += 1,
            }
        }
        reply.send(replies);
    }

    /// Tells the client that the next hop is ready for the message, and begins
    /// the message for the hop with its trace header.
    pub(crate) fn answer_data(&mut self, eight_bit: bool, replies: &mut Ring, message: &mut Ring) {
        let (Some(transaction), Some(hello)) = (&self.transaction, &self.hello) else {
            return;
        };
        let only = transaction.first.as_ref();
        let trace = Trace {
            helo: &hello.name,
            extended: hello.extended,
            peer: self.peer,
            hostname: self.config.hostname(),
            id: transaction.id,
            recipient: only.filter(|_| transaction.accepted == 1),
            time: transaction.time,
        };
        message.put(trace.field().as_bytes());
        replies.put(replies::SEND_DATA);
        self.state = self.new_body(eight_bit);
    }

    /// Gives the client a negative answer to DATA, or the answer to the final
    /// dot. It ends the mail, which is returned for the log.
    pub(crate) fn answer_message(
        &mut self,
        reply: &Reply,
        replies: &mut Ring,
    ) -> Option<Transaction> {
        reply.send(replies);
        self.state = State::Command;
        self.progress = self.progress.wrapping_add(1);
        self.transaction.take()
    }

    /// Has `reply` answer every further RCPT and DATA of this mail.
    pub(crate) fn break_transaction(&mut self, reply: Reply) {
        if let Some(transaction) = &mut self.transaction {
            transaction.broken.get_or_insert(reply);
        }
    }

    /// Ends the session with `reply`, in whatever state it is.
    pub(crate) fn close(&mut self, reply: Option<Reply>, replies: &mut Ring) {
        if let (Some(reply), false) = (reply, self.is_closing()) {
            reply.send(replies);
        }
        self.state = State::Closing;
    }
}

#[cfg(test)]
mod tests;
