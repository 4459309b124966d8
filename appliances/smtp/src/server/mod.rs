//! The server half: one session with a client (RFC 5321 3, 4.1.4).
//!
//! Recipients are answered in cut-through style: each RCPT is put to the next
//! hop, and its answer, yes or no, goes to the client. So the session stops
//! reading at every RCPT, at DATA and at the end of a message until it is given
//! the answer; a client that pipelines (RFC 2920) just waits longer. Input that comes before an
//! answer on which its meaning depends ends the session: whoever sends it does not look at answers,
//! so the body of a mail might be run as commands.
//!
//! This file has the states and answers, `commands.rs` what each command does,
//! `message.rs` the time between DATA and the final dot, `transaction.rs` what is kept of a mail;
//! `tally.rs` counts what leads to nothing.

mod commands;
mod message;
mod tally;
mod transaction;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::address::Mailbox;
use crate::body::{Body, SPARE};
use crate::config::Config;
use crate::drain::Drain;
use crate::line::LineReader;
use crate::log::{About, Log};
use crate::opening::Opening;
use crate::replies;
use crate::reply::{REPLY_ROOM, Reply};
use crate::ring::Ring;
use crate::time::UnixTime;
use crate::trace::Trace;
use tally::Tally;
pub(crate) use transaction::Transaction;

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
    Message(Opening, Body),
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
    MessageRefused,
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
    /// Whether the client must have read all replies before it sends more.
    answer_first: bool,
    tally: Tally,
    progress: u32,
    /// What has happened since the coupling last asked.
    logs: Vec<Log>,
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
            answer_first: false,
            tally: Tally::default(),
            progress: 0,
            logs: Vec::new(),
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
        if self.is_held(replies) || self.waiting().is_some() {
            return (0, None);
        }
        if self.is_closing() {
            return (input.len(), None);
        }
        if self.answer_first && !input.is_empty() {
            if !replies.is_empty() {
                return (0, self.hang_up(&replies::TOO_EARLY, replies));
            }
            self.answer_first = false;
        }
        match &self.state {
            State::Command => self.command_input(now, input, replies),
            State::Message(..) => self.message_input(input, message),
            State::Drain(..) => self.drain_input(input, replies),
            State::Waiting(_) | State::Closing => (0, None),
        }
    }

    /// Returns how many bytes [`Server::input`] would take now; at 0 reading
    /// from the client can stop.
    pub(crate) fn capacity(&self, replies: &Ring, message: &Ring) -> usize {
        match &self.state {
            _ if self.is_held(replies) => 0,
            State::Message(..) if self.answer_first && !replies.is_empty() => usize::MAX,
            State::Message(..) => message.space().saturating_sub(SPARE),
            State::Waiting(_) => 0,
            State::Command | State::Drain(..) | State::Closing => usize::MAX,
        }
    }

    /// Whether the next command waits until replies have left: for room, or because the client
    /// is slowed down. What must not come before them is looked for nevertheless.
    fn is_held(&self, replies: &Ring) -> bool {
        let slowed = self.is_slow() && !replies.is_empty();
        matches!(self.state, State::Command)
            && !self.answer_first
            && (replies.space() < REPLY_ROOM || slowed)
    }

    /// Whether the client gets its replies late.
    pub(crate) fn is_slow(&self) -> bool {
        self.tally.is_slow(&self.config)
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
        matches!(self.state, State::Message(..))
    }

    /// Whether a message is being received, passed on or not.
    pub(crate) fn in_message(&self) -> bool {
        matches!(self.state, State::Message(..) | State::Drain(..))
    }

    /// Whether the session is over.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// Whether the client is between two mails.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Command) && self.transaction.is_none()
    }

    /// Returns the client's address.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Returns the name that the client gave itself.
    pub(crate) fn helo(&self) -> Option<&str> {
        self.hello.as_ref().map(|hello| hello.name.as_str())
    }

    /// Returns whom a line of the log is about now.
    pub(crate) fn about(&self) -> About {
        let transaction = self.transaction.as_ref();
        let recipient = match self.waiting() {
            Some(Waiting::Recipient(recipient)) => Some(recipient),
            _ => transaction.and_then(|t| t.first.as_ref()),
        };
        About {
            client: self.peer,
            helo: self.helo().map(String::from),
            mail: transaction.map(Transaction::announced),
            recipient: recipient.cloned(),
        }
    }

    /// Takes what is to be logged.
    pub(crate) fn take_logs(&mut self) -> Vec<Log> {
        core::mem::take(&mut self.logs)
    }

    /// Returns the mail being accepted.
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// Returns a number that changes whenever the client makes progress: a
    /// command line, or 512 bytes of a message.
    pub(crate) fn progress(&self) -> u32 {
        let bytes = match &self.state {
            State::Message(_, body) => body.size(),
            State::Drain(drain, _) => drain.left(),
            _ => 0,
        };
        self.progress.wrapping_add((bytes / 512) as u32)
    }

    /// Gives the client the next hop's answer to its recipient, if the session
    /// still waits for that.
    pub(crate) fn answer_recipient(&mut self, reply: &Reply, replies: &mut Ring) {
        let about = self.about();
        let state = core::mem::replace(&mut self.state, State::Command);
        let State::Waiting(Waiting::Recipient(recipient)) = state else {
            self.state = state;
            return;
        };
        if !reply.is_positive() {
            self.tally.refused();
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.answered(recipient, reply);
        }
        let reply = reply.clone();
        reply.send(replies);
        self.logs.push(Log::Recipient { about, reply });
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
    /// dot. It ends the mail.
    pub(crate) fn answer_message(&mut self, reply: &Reply, replies: &mut Ring) {
        let about = self.about();
        reply.send(replies);
        self.state = State::Command;
        self.progress = self.progress.wrapping_add(1);
        let reply = reply.clone();
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        self.logs.push(match reply.is_positive() {
            true => {
                self.tally.delivered();
                Log::Delivered {
                    about,
                    recipients: transaction.accepted,
                    bytes: transaction.received,
                    reply,
                }
            }
            false => Log::Refused { about, reply },
        });
    }

    /// Ends the mail without an answer to its message; returns whether there was one.
    fn drop_mail(&mut self) -> bool {
        let about = self.about();
        let Some(transaction) = self.transaction.take() else {
            return false;
        };
        self.logs.extend(transaction.dropped(about));
        true
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
        self.drop_mail();
        self.state = State::Closing;
    }
}

#[cfg(test)]
mod tests;
