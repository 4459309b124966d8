//! One client's session joined with its session to the next hop.
//!
//! Everything here serves one invariant: the client is told 250 for a message
//! only after the next hop has said 2xx to its final dot, and the final dot is
//! sent only after the client has sent its own. Whatever else happens, the
//! client keeps the message and can try again: a mail may arrive twice, but is
//! never lost.
//!
//! The connection to the next hop is opened at the first recipient and kept
//! for further mails of the same client.
//!
//! `action.rs` has what driver and relay tell each other, `hop.rs` the side of
//! the next hop, `wait.rs` the time-outs, `patience.rs` what is left of the client's.

mod action;
mod hop;
mod patience;
mod wait;

pub use action::{Action, HopEvent, Phase, Wait};

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::IpAddr;
use core::time::Duration;

use crate::client::Client;
use crate::config::Config;
use crate::log::Log;
use crate::replies;
use crate::reply::Reply;
use crate::ring::Ring;
use crate::server::{Event, Server, Waiting};
use crate::time::UnixTime;
use patience::Patience;

/// Queue towards the client in bytes: only replies go there.
const REPLIES_BYTES: usize = 4096;

/// No input is taken while this many actions wait for the driver, which
/// bounds their queue: one step adds a handful.
const ACTIONS_HIGH: usize = 8;

/// How long the replies to a client that leads to nothing are held back.
const SLOWED: Duration = Duration::from_secs(1);

/// The connection to the next hop.
#[derive(Debug)]
enum Hop {
    None,
    Connecting,
    Up(Client),
}

/// One relay session, from the client's connection to its end.
///
/// The driver moves bytes between the sockets and the session, and does what
/// [`Relay::poll_action`] says. After any call that changes something it polls
/// all actions and offers the input again that was not consumed.
#[derive(Debug)]
pub struct Relay {
    config: Arc<Config>,
    server: Server,
    hop: Hop,
    /// The address of the next hop, if the driver has told.
    hop_address: Option<IpAddr>,
    patience: Patience,
    /// Replies to the client.
    replies: Ring,
    /// Commands and message to the next hop.
    forward: Ring,
    /// Counts what was sent to the next hop, for its time-out.
    forwarded: u64,
    actions: VecDeque<Action>,
    client_eof: bool,
    client_lost: bool,
    client_closed: bool,
    shutting_down: bool,
}

impl Relay {
    /// Begins a session with the client at `peer`. `session` makes its queue ids
    /// unique, so it must differ between the sessions of a guest.
    #[must_use]
    pub fn new(config: Arc<Config>, peer: IpAddr, session: u32) -> Self {
        let mut replies = Ring::new(REPLIES_BYTES);
        let server = Server::new(config.clone(), peer, session, &mut replies);
        let forward = Ring::new(config.buffer());
        Self {
            config,
            server,
            hop: Hop::None,
            hop_address: None,
            patience: Patience::default(),
            replies,
            forward,
            forwarded: 0,
            actions: VecDeque::new(),
            client_eof: false,
            client_lost: false,
            client_closed: false,
            shutting_down: false,
        }
    }

    /// Takes bytes from the client and returns how many. Offer the rest again
    /// after the next event; at 0 nothing can be taken now. `now` dates the
    /// trace header.
    pub fn client_input(&mut self, now: UnixTime, input: &[u8]) -> usize {
        let mut consumed = 0;
        while self.actions.len() < ACTIONS_HIGH && !self.client_eof {
            let (taken, event) = self.server.input(
                now,
                &input[consumed..],
                &mut self.replies,
                &mut self.forward,
            );
            consumed += taken;
            let progress = taken > 0 || event.is_some();
            if let Some(event) = event {
                self.server_event(event);
            }
            self.settle();
            if !progress || consumed == input.len() {
                break;
            }
        }
        consumed
    }

    /// Returns how many bytes [`Relay::client_input`] has room for; while it is
    /// 0 the driver need not read from the client.
    #[must_use]
    pub fn client_capacity(&self) -> usize {
        if self.actions.len() >= ACTIONS_HIGH || self.client_eof {
            return 0;
        }
        self.server
            .capacity(&self.replies, &self.forward)
            .min(self.config.buffer())
    }

    /// Takes note that the client spoke before the greeting was sent to it, and ends the session.
    /// The core takes a lone HELO for no harm; only the driver knows what had left by then.
    pub fn client_too_early(&mut self) {
        if !self.server.is_closing() {
            let event = self.server.hang_up(&replies::TOO_EARLY, &mut self.replies);
            event.into_iter().for_each(|event| self.server_event(event));
        }
        self.settle();
    }

    /// Whether the client waits for an answer of the next hop, so that nothing is read from it; a
    /// driver should look whether it is still there.
    #[must_use]
    pub fn awaits_hop(&self) -> bool {
        self.server.waiting().is_some()
    }

    /// Returns for how long to hold [`Relay::client_output`] back.
    #[must_use]
    pub fn delay(&self) -> Duration {
        match self.server.is_slow() && !self.replies.is_empty() {
            true => SLOWED,
            false => Duration::ZERO,
        }
    }

    /// Takes note that the client sends no more. A message that it has completed is still
    /// answered; anything else of it is dropped, since no mail can come of it.
    pub fn client_eof(&mut self) {
        self.client_eof = true;
        self.settle();
    }

    /// Takes note that the client's connection broke, so that nothing can be
    /// sent to it any more.
    pub fn client_lost(&mut self) {
        self.client_lost = true;
        self.client_eof();
    }

    /// Returns the bytes to send to the client, if any.
    #[must_use]
    pub fn client_output(&self) -> &[u8] {
        self.replies.front()
    }

    /// Takes note that `count` bytes of [`Relay::client_output`] were sent.
    pub fn client_sent(&mut self, count: usize) {
        self.replies.take(count);
        self.settle();
    }

    /// Takes the oldest action.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Ends the session with 421, as soon as it is between two mails.
    pub fn shut_down(&mut self) {
        self.shutting_down = true;
        self.settle();
    }

    /// Takes note of the time, since any moment that stays the same. With it, a slow step of the
    /// next hop may take what fast ones have left; without it, each is taken to have lasted for
    /// as long as it may.
    pub fn tick(&mut self, now: Duration) {
        self.patience.tick(now);
    }

    /// Whether both connections are closed and all actions have been taken.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.client_closed && matches!(self.hop, Hop::None) && self.actions.is_empty()
    }

    fn log(&mut self, log: Log) {
        self.take_logs();
        self.actions.push_back(Action::Log(log));
    }

    fn take_logs(&mut self) {
        let logs = self.server.take_logs().into_iter();
        self.actions.extend(logs.map(Action::Log));
    }

    fn server_event(&mut self, event: Event) {
        match event {
            Event::Waiting => {
                self.patience.begin();
                self.advance();
            }
            Event::MessageEnd => self.finish_message(),
            Event::MessageRefused => self.abort_hop(),
            Event::Dropped => self.reset_hop(),
            Event::Closing => self.leave_hop(),
        }
    }

    /// Ends the session with the client; a mail in progress is dropped.
    fn end_session(&mut self, reply: Option<Reply>) {
        if self.server.is_closing() {
            return;
        }
        self.server.close(reply, &mut self.replies);
        self.leave_hop();
    }

    /// Does what has become due; the last step of every call.
    fn settle(&mut self) {
        self.take_logs();
        if self.client_lost {
            self.replies.release();
        }
        // A client that sends no more can still have the answer to its message; without a client
        // it is waited for so that the log tells what became of the mail.
        let answer_due = self.server.waiting() == Some(&Waiting::Message);
        if self.client_eof && !answer_due {
            self.end_session(None);
        }
        if self.shutting_down && self.server.is_idle() {
            self.end_session(Some(replies::SHUTTING_DOWN));
        }
        if self.server.is_closing() && self.replies.is_empty() && !self.client_closed {
            self.client_closed = true;
            self.actions.push_back(Action::CloseClient);
        }
        self.take_logs();
    }
}
