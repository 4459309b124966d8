//! What each command does (RFC 5321 4.1.1, 4.1.4, 4.3.2).

use alloc::string::String;

use super::{Event, Hello, Server, State, Transaction, Waiting};
use crate::address::Mailbox;
use crate::command::{self, Command};
use crate::foreign;
use crate::line::Line;
use crate::log::{Log, excerpt};
use crate::replies;
use crate::reply::Reply;
use crate::ring::Ring;
use crate::time::UnixTime;
use crate::trace::QueueId;

impl Server {
    pub(super) fn command_input(
        &mut self,
        now: UnixTime,
        input: &[u8],
        replies: &mut Ring,
    ) -> (usize, Option<Event>) {
        let first = self.lines.first().or(input.first().copied());
        if first.is_some_and(foreign::cannot_begin) {
            let event =
                self.with_excerpt(input, |server| server.hang_up(&replies::FOREIGN, replies));
            return (input.len(), event);
        }
        let (taken, line) = self.lines.read(input);
        if line == Line::Partial {
            return (taken, None);
        }
        self.progress = self.progress.wrapping_add(1);
        let more = taken < input.len();
        let event = match line {
            Line::Partial => None,
            Line::BareLf => self.hang_up(&replies::BARE_LF, replies),
            Line::Endless => self.hang_up(&replies::LINE_TOO_LONG, replies),
            Line::TooLong(line) => self.line(now, &line, true, more, replies),
            Line::Complete(line) => self.line(now, &line, false, more, replies),
        };
        (taken, event)
    }

    /// Acts on a line, or on the beginning of one that is too long. `more` tells whether input has
    /// come behind it.
    fn line(
        &mut self,
        now: UnixTime,
        line: &[u8],
        too_long: bool,
        more: bool,
        replies: &mut Ring,
    ) -> Option<Event> {
        self.answer_first = command::ends_group(line);
        let is_early = self.answer_first && more;
        self.with_excerpt(line, |server| {
            if foreign::is_foreign(line) {
                server.hang_up(&replies::FOREIGN, replies)
            } else if is_early {
                server.hang_up(&replies::TOO_EARLY, replies)
            } else if too_long {
                server.bad_command(&replies::LINE_TOO_LONG, replies)
            } else {
                match command::parse(line) {
                    Ok(command) => server.execute(now, command, replies),
                    Err(reply) => server.bad_command(&reply, replies),
                }
            }
        })
    }

    /// Does `act`; refusals that it logs show the beginning of `line`.
    fn with_excerpt(
        &mut self,
        line: &[u8],
        act: impl FnOnce(&mut Self) -> Option<Event>,
    ) -> Option<Event> {
        let logged = self.logs.len();
        let event = act(self);
        for log in &mut self.logs[logged..] {
            if let Log::Denied { command, .. } = log {
                *command = excerpt(line);
            }
        }
        event
    }

    fn execute(&mut self, now: UnixTime, command: Command, replies: &mut Ring) -> Option<Event> {
        let may_lead_to_mail = matches!(command, Command::Rcpt(_) | Command::Data | Command::Quit);
        if !may_lead_to_mail && self.tally.idle(&self.config) {
            return self.hang_up(&replies::TOO_MANY_COMMANDS, replies);
        }
        match command {
            Command::Hello { name, extended } => self.hello(name, extended, replies),
            Command::Mail { sender, size } => self.mail(now, sender, size, replies),
            Command::Rcpt(recipient) => self.rcpt(recipient, replies),
            Command::Data => self.data(now, replies),
            Command::Rset => {
                replies::OK.send(replies);
                self.drop_transaction()
            }
            Command::Noop => self.say(&replies::OK, replies),
            Command::Vrfy => self.say(&replies::CANNOT_VERIFY, replies),
            Command::Help => self.say(&replies::HELP, replies),
            Command::Quit => self.hang_up(&replies::BYE, replies),
            // Its chunk follows without waiting (RFC 3030 2), and must not be read as commands.
            Command::Bdat => self.hang_up(&replies::NOT_OFFERED, replies),
        }
    }

    fn say(&mut self, reply: &Reply, replies: &mut Ring) -> Option<Event> {
        reply.send(replies);
        if reply.code >= 400 {
            self.logs.push(Log::Denied {
                about: self.about(),
                command: String::new(),
                reply: reply.clone(),
            });
        }
        None
    }

    /// Ends the session with `reply`.
    pub(crate) fn hang_up(&mut self, reply: &Reply, replies: &mut Ring) -> Option<Event> {
        self.say(reply, replies);
        self.drop_mail();
        self.state = State::Closing;
        Some(Event::Closing)
    }

    fn bad_command(&mut self, reply: &Reply, replies: &mut Ring) -> Option<Event> {
        match self.tally.bad(&self.config) {
            true => self.hang_up(&replies::TOO_MANY_ERRORS, replies),
            false => self.say(reply, replies),
        }
    }

    fn drop_transaction(&mut self) -> Option<Event> {
        self.drop_mail().then_some(Event::Dropped)
    }

    fn hello(&mut self, name: String, extended: bool, replies: &mut Ring) -> Option<Event> {
        let host = self.config.hostname();
        let answer = match extended {
            false => replies::helo(host),
            true => replies::ehlo(host, self.config.max_message_bytes),
        };
        replies.put(answer.as_bytes());
        self.hello = Some(Hello { name, extended });
        self.drop_transaction()
    }

    fn mail(
        &mut self,
        now: UnixTime,
        sender: Option<Mailbox>,
        size: Option<u64>,
        replies: &mut Ring,
    ) -> Option<Event> {
        if self.hello.is_none() {
            return self.bad_command(&replies::HELLO_FIRST, replies);
        }
        if self.transaction.is_some() {
            return self.bad_command(&replies::NESTED_MAIL, replies);
        }
        self.messages = self.messages.wrapping_add(1);
        let id = QueueId {
            time: now,
            session: self.session,
            message: self.messages,
        };
        let transaction = self.transaction.insert(Transaction::new(id, sender, size));
        let limit = self.config.message_limit().unwrap_or(u64::MAX);
        if size.is_some_and(|size| size > limit) {
            transaction.refusal = Some(replies::TOO_LARGE);
            replies::TOO_LARGE.send(replies);
            self.drop_mail();
            return None;
        }
        self.say(&replies::SENDER_OK, replies)
    }

    fn rcpt(&mut self, recipient: Mailbox, replies: &mut Ring) -> Option<Event> {
        let Some(transaction) = &mut self.transaction else {
            return self.bad_command(&replies::MAIL_FIRST, replies);
        };
        if self.tally.has_too_many_refused(&self.config) {
            return self.hang_up(&replies::TOO_MANY_REFUSED, replies);
        }
        let limit = self.config.max_recipients;
        let refusal = if limit > 0 && transaction.accepted >= limit {
            transaction.beyond += 1;
            Some(replies::TOO_MANY_RECIPIENTS)
        } else if !self.config.may_relay(self.peer, &recipient) {
            Some(replies::NO_RELAYING)
        } else {
            transaction.broken.clone()
        };
        let Some(reply) = refusal else {
            self.state = State::Waiting(Waiting::Recipient(recipient));
            return Some(Event::Waiting);
        };
        // A client may name all its recipients and send the rest later: that is no guessing.
        if transaction.beyond == 0 || transaction.beyond > limit {
            self.tally.refused();
        }
        transaction.refusal = Some(reply.clone());
        reply.send(replies);
        let mut about = self.about();
        about.recipient = Some(recipient);
        self.logs.push(Log::Denied {
            about,
            command: String::new(),
            reply,
        });
        None
    }

    fn data(&mut self, now: UnixTime, replies: &mut Ring) -> Option<Event> {
        let Some(transaction) = &mut self.transaction else {
            return self.bad_command(&replies::MAIL_FIRST, replies);
        };
        if transaction.accepted == 0 {
            return match transaction.refusal {
                None => self.bad_command(&replies::RCPT_FIRST, replies),
                Some(_) => self.say(&replies::NO_RECIPIENTS, replies),
            };
        }
        if let Some(reply) = &transaction.broken {
            reply.send(replies);
            return self.drop_transaction();
        }
        transaction.time = now;
        self.state = State::Waiting(Waiting::Data);
        Some(Event::Waiting)
    }
}
