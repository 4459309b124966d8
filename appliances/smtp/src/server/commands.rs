//! What each command does (RFC 5321 4.1.1, 4.1.4, 4.3.2).

use alloc::string::String;

use super::{Event, Hello, Server, State, Transaction, Waiting};
use crate::address::Mailbox;
use crate::command::{self, BodyType, Command};
use crate::line::Line;
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
        let (taken, line) = self.lines.read(input);
        if line == Line::Partial {
            return (taken, None);
        }
        self.progress = self.progress.wrapping_add(1);
        let event = match line {
            Line::Partial => None,
            Line::BareLf => self.hang_up(&replies::BARE_LF, replies),
            Line::Endless => self.hang_up(&replies::LINE_TOO_LONG, replies),
            Line::TooLong => self.bad_command(&replies::LINE_TOO_LONG, replies),
            Line::Complete(line) => match command::parse(&line) {
                Ok(command) => self.execute(now, command, replies),
                Err(reply) => self.bad_command(&reply, replies),
            },
        };
        (taken, event)
    }

    fn execute(&mut self, now: UnixTime, command: Command, replies: &mut Ring) -> Option<Event> {
        match command {
            Command::Hello { name, extended } => self.hello(name, extended, replies),
            Command::Mail { sender, size, body } => self.mail(now, sender, size, body, replies),
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
        }
    }

    fn say(&mut self, reply: &Reply, replies: &mut Ring) -> Option<Event> {
        reply.send(replies);
        None
    }

    fn hang_up(&mut self, reply: &Reply, replies: &mut Ring) -> Option<Event> {
        reply.send(replies);
        self.state = State::Closing;
        Some(Event::Closing)
    }

    fn bad_command(&mut self, reply: &Reply, replies: &mut Ring) -> Option<Event> {
        self.bad_commands += 1;
        match self.bad_commands >= self.config.max_bad_commands {
            true => self.hang_up(&replies::TOO_MANY_ERRORS, replies),
            false => self.say(reply, replies),
        }
    }

    fn drop_transaction(&mut self) -> Option<Event> {
        self.transaction.take().map(|_| Event::Dropped)
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
        body: BodyType,
        replies: &mut Ring,
    ) -> Option<Event> {
        if self.hello.is_none() {
            return self.bad_command(&replies::HELLO_FIRST, replies);
        }
        if self.transaction.is_some() {
            return self.bad_command(&replies::NESTED_MAIL, replies);
        }
        if size.is_some_and(|size| size > self.config.max_message_bytes) {
            return self.say(&replies::TOO_LARGE, replies);
        }
        self.messages = self.messages.wrapping_add(1);
        let id = QueueId {
            time: now,
            session: self.session,
            message: self.messages,
        };
        self.transaction = Some(Transaction {
            id,
            sender,
            size,
            body,
            accepted: 0,
            refused: 0,
            first: None,
            broken: None,
            received: 0,
            time: now,
        });
        self.say(&replies::SENDER_OK, replies)
    }

    fn rcpt(&mut self, recipient: Mailbox, replies: &mut Ring) -> Option<Event> {
        let Some(transaction) = &mut self.transaction else {
            return self.bad_command(&replies::MAIL_FIRST, replies);
        };
        let refusal = if transaction.accepted >= self.config.max_recipients {
            Some(&replies::TOO_MANY_RECIPIENTS)
        } else if !self.config.relays_to(&recipient) {
            Some(&replies::NO_RELAYING)
        } else {
            transaction.broken.as_ref()
        };
        if let Some(reply) = refusal {
            transaction.refused += 1;
            reply.send(replies);
            return None;
        }
        self.state = State::Waiting(Waiting::Recipient(recipient));
        Some(Event::Waiting)
    }

    fn data(&mut self, now: UnixTime, replies: &mut Ring) -> Option<Event> {
        let Some(transaction) = &mut self.transaction else {
            return self.bad_command(&replies::MAIL_FIRST, replies);
        };
        if transaction.accepted == 0 {
            return match transaction.refused {
                0 => self.bad_command(&replies::RCPT_FIRST, replies),
                _ => self.say(&replies::NO_RECIPIENTS, replies),
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
