//! The side of the next hop: when to connect, what to ask, what each answer
//! means for the client, and what happens when the hop fails.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{ACTIONS_HIGH, Action, Hop, HopEvent, Relay};
use crate::client::{self, Client, Failure, Stage};
use crate::log::Log;
use crate::replies;
use crate::reply::Reply;
use crate::server::Waiting;

impl Relay {
    /// Takes bytes from the next hop and returns how many. Offer the rest again
    /// after polling the actions.
    pub fn hop_input(&mut self, input: &[u8]) -> usize {
        let mut consumed = 0;
        while consumed < input.len() && self.actions.len() < ACTIONS_HIGH {
            let limit = self.limit(self.phase());
            let Hop::Up(client) = &mut self.hop else {
                return input.len();
            };
            let hostname = self.config.hostname();
            let answers = client.answers();
            let (taken, event) = client.input(&input[consumed..], hostname, &mut self.forward);
            consumed += taken;
            let failed = matches!(event, Some(client::Event::Failed(_)));
            if client.answers() != answers && !failed {
                self.patience.step(limit);
            }
            if let Some(event) = event {
                self.client_event(event);
            }
            self.settle();
        }
        consumed
    }

    /// Returns how many bytes [`Relay::hop_input`] has room for.
    #[must_use]
    pub fn hop_capacity(&self) -> usize {
        match self.actions.len() < ACTIONS_HIGH {
            true => self.config.buffer(),
            false => 0,
        }
    }

    /// Takes note of the address to which the connection is being opened, before it is reported as
    /// open. If it is also the client's, mail from there may be coming back.
    pub fn hop_address(&mut self, address: IpAddr) {
        self.hop_address = Some(address);
    }

    /// Takes note of what happened to the connection to the next hop.
    pub fn hop_event(&mut self, event: HopEvent) {
        match (event, &self.hop) {
            (HopEvent::Connected, Hop::Connecting) => self.begin_hop(),
            (HopEvent::LoopsBack, Hop::Connecting) => self.hop_failed(Failure::LoopsBack),
            (HopEvent::ConnectFailed | HopEvent::Closed, Hop::Connecting) => {
                self.hop_failed(Failure::NotConnected);
            }
            (HopEvent::ConnectFailed | HopEvent::Closed, Hop::Up(client)) => {
                match client.stage() {
                    // It may leave between two mails, and after QUIT.
                    Stage::Idle if self.server.waiting().is_none() => self.abort_hop(),
                    Stage::Quit => self.abort_hop(),
                    _ => self.hop_failed(Failure::Closed),
                }
            }
            (_, Hop::None) | (HopEvent::Connected | HopEvent::LoopsBack, Hop::Up(_)) => {}
        }
        self.settle();
    }

    /// Begins the session on a connection that has been opened. A next hop that greets with the
    /// relay's own name is the relay, by whatever address; one that greets with the client's name,
    /// from the client's address, is where the mail has just come from.
    fn begin_hop(&mut self) {
        self.patience.step(self.limit(self.phase()));
        if !self.forward.prepare() {
            self.hop_failed(Failure::NoMemory);
            return;
        }
        let mut own = Vec::new();
        if self.config.name_is_unique {
            own.push(self.config.hostname().to_string());
        }
        if self.hop_address.map(|a| a.to_canonical()) == Some(self.server.peer().to_canonical()) {
            own.extend(self.server.helo().map(ToString::to_string));
        }
        self.hop = Hop::Up(Client::new(own));
    }

    /// Returns the bytes to send to the next hop, if any.
    #[must_use]
    pub fn hop_output(&self) -> &[u8] {
        self.forward.front()
    }

    /// Takes note that `count` bytes of [`Relay::hop_output`] were sent. Call it
    /// before any later input: an answer counts only if its question was sent.
    pub fn hop_sent(&mut self, count: usize) {
        self.forward.take(count);
        self.forwarded = self.forwarded.wrapping_add(count as u64);
    }

    /// Asks the next hop what the client waits for, if it can be asked now.
    pub(super) fn advance(&mut self) {
        let (Some(waiting), Some(transaction)) = (self.server.waiting(), self.server.transaction())
        else {
            return;
        };
        let client = match &mut self.hop {
            Hop::Connecting => return,
            Hop::Up(client) => client,
            Hop::None => {
                self.hop = Hop::Connecting;
                self.actions.push_back(Action::ConnectHop);
                return;
            }
        };
        match (waiting, client.stage()) {
            (Waiting::Recipient(_), Stage::Idle) => {
                if client.is_too_large(transaction.size) {
                    self.refuse_transaction(replies::TOO_LARGE_FOR_HOP);
                    return;
                }
                let sender = transaction.sender.as_ref();
                // Whether there is 8-bit data is not known yet, whatever the client has declared.
                client.mail(sender, transaction.size, true, &mut self.forward);
            }
            (Waiting::Recipient(recipient), Stage::Open) => {
                client.rcpt(recipient, &mut self.forward);
            }
            (Waiting::Data, Stage::Open) => client.data(&mut self.forward),
            _ => {}
        }
    }

    /// Ends the message, all of which is queued.
    pub(super) fn finish_message(&mut self) {
        match &mut self.hop {
            Hop::Up(client) if client.stage() == Stage::Message => {
                client.finish(&mut self.forward);
            }
            _ => self.hop_failed(Failure::Closed),
        }
    }

    /// Lets the next hop forget a mail that was dropped.
    pub(super) fn reset_hop(&mut self) {
        match &mut self.hop {
            Hop::Up(client) if client.stage() == Stage::Open => client.reset(&mut self.forward),
            Hop::Up(client) if client.stage() == Stage::Idle => {}
            _ => self.abort_hop(),
        }
    }

    /// Says goodbye to a next hop that may be given a command, and otherwise
    /// just closes, above all in the middle of a message, which then has no end.
    pub(super) fn leave_hop(&mut self) {
        match &mut self.hop {
            Hop::Up(client) if matches!(client.stage(), Stage::Idle | Stage::Open) => {
                client.quit(&mut self.forward);
            }
            _ => self.abort_hop(),
        }
    }

    /// Closes the connection, and drops what has not been sent.
    pub(super) fn abort_hop(&mut self) {
        self.forward.release();
        if !matches!(self.hop, Hop::None) {
            self.hop = Hop::None;
            self.actions.push_back(Action::CloseHop);
        }
    }

    fn client_event(&mut self, event: client::Event) {
        match event {
            client::Event::Ready => {}
            client::Event::SenderRefused(reply) => self.refuse_transaction(reply),
            client::Event::Recipient(reply) => self.answer_recipient(&reply),
            client::Event::SendMessage => {
                let eight_bit = match &self.hop {
                    Hop::Up(client) => client.offers().eight_bit,
                    Hop::None | Hop::Connecting => false,
                };
                self.server
                    .answer_data(eight_bit, &mut self.replies, &mut self.forward);
            }
            client::Event::DataRefused(reply) => {
                self.answer_message(&reply);
                self.reset_hop();
            }
            client::Event::Delivered(reply) => self.answer_message(&reply),
            client::Event::Failed(failure) => self.hop_failed(failure),
            client::Event::Bye => self.abort_hop(),
        }
        self.advance();
    }

    fn answer_recipient(&mut self, reply: &Reply) {
        self.server.answer_recipient(reply, &mut self.replies);
    }

    fn answer_message(&mut self, reply: &Reply) {
        self.server.answer_message(reply, &mut self.replies);
    }

    /// Gives the mail up as a whole: `reply` answers the recipient that waits,
    /// and all that follow.
    fn refuse_transaction(&mut self, reply: Reply) {
        self.answer_recipient(&reply);
        self.server.break_transaction(reply);
    }

    /// Gives up a next hop that has failed. A mail that it knew nothing of yet goes on over a new
    /// connection. Otherwise a client that waits is told to try again, and a message on its way is
    /// cut off without its end.
    pub(super) fn hop_failed(&mut self, failure: Failure) {
        let reply = failure.reply();
        let again = self.may_connect_again(&failure);
        let about = self.server.about();
        self.log(Log::HopFailed {
            about,
            failure,
            again,
        });
        self.abort_hop();
        match self.server.waiting() {
            Some(_) if again => self.advance(),
            Some(Waiting::Recipient(_)) => self.refuse_transaction(reply),
            Some(Waiting::Data | Waiting::Message) => self.answer_message(&reply),
            None if self.server.is_streaming() => self.server.refuse_message(reply),
            // A mail that the next hop knows of ends with the connection;
            // another can begin on a new one.
            None if self.server.transaction().is_some_and(|t| t.accepted > 0) => {
                self.server.break_transaction(reply);
            }
            None => {}
        }
    }

    /// Whether the mail may go on over a new connection: this one was kept from an earlier mail,
    /// which next hops do not allow for ever, and has taken nothing of this one.
    fn may_connect_again(&mut self, failure: &Failure) -> bool {
        let was_kept = matches!(&self.hop, Hop::Up(client) if client.is_kept());
        let is_new = matches!(self.server.waiting(), Some(Waiting::Recipient(_)))
            && self.server.transaction().is_some_and(|t| t.accepted == 0);
        let total = self.config.timeouts.hop_recipient;
        was_kept
            && is_new
            && !matches!(failure, Failure::TimedOut | Failure::LoopsBack)
            && self.patience.allows_to_connect(total)
    }
}
