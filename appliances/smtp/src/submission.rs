//! Handing in mails: a session as a client of a relay, mail after mail.
//!
//! It is the client half of the relay ([`crate::client`]) with its own queue and without a server
//! in front of it: the driver gives an envelope and then the message, and is told what became of
//! it.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::address::{Mailbox, is_domain};
use crate::body::SPARE;
use crate::client::{Client, Event, Failure, Stage};
use crate::config::ConfigError;
use crate::reply::Reply;
use crate::ring::Ring;

/// Bytes that may wait to be sent.
const QUEUE: usize = 16 * 1024;

/// A mail's sender, recipient and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender.
    pub sender: Mailbox,
    /// The recipient.
    pub recipient: Mailbox,
    /// The message's size in bytes, with line ends.
    pub size: u64,
}

/// What the driver is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The next mail may begin, or the session may end.
    Ready,
    /// The message may be sent.
    SendMessage,
    /// The answer to the whole message; the next mail may begin.
    Answered(Reply),
    /// The mail was refused before its message; [`Progress::Ready`] follows.
    Refused(Reply),
    /// The session is of no use any more.
    Failed(Failure),
    /// The other side has said goodbye.
    Bye,
}

/// One session.
#[derive(Debug)]
pub struct Submission {
    client: Client,
    out: Ring,
    hostname: String,
    recipient: Option<Mailbox>,
}

impl Submission {
    /// Begins a session on a fresh connection, on which the other side speaks first.
    ///
    /// # Errors
    /// `hostname`, which EHLO gives, is not a domain name.
    pub fn new(hostname: &str) -> Result<Self, ConfigError> {
        if !is_domain(hostname) {
            return Err(ConfigError::NotADomain);
        }
        Ok(Self {
            client: Client::new(Vec::new()),
            out: Ring::new(QUEUE),
            hostname: hostname.to_owned(),
            recipient: None,
        })
    }

    /// Takes input up to the end of one reply line, and returns how many bytes. Report everything
    /// that was sent with [`Self::sent`] before.
    pub fn input(&mut self, input: &[u8]) -> (usize, Option<Progress>) {
        let (taken, event) = self.client.input(input, &self.hostname, &mut self.out);
        (taken, event.and_then(|event| self.event(event)))
    }

    fn event(&mut self, event: Event) -> Option<Progress> {
        match event {
            // After MAIL the recipient is next; otherwise a new mail.
            Event::Ready => match self.recipient.take() {
                Some(recipient) => {
                    self.client.rcpt(&recipient, &mut self.out);
                    None
                }
                None => Some(Progress::Ready),
            },
            Event::Recipient(reply) if reply.is_positive() => {
                self.client.data(&mut self.out);
                None
            }
            Event::Recipient(reply) | Event::DataRefused(reply) => {
                self.client.reset(&mut self.out);
                Some(Progress::Refused(reply))
            }
            Event::SenderRefused(reply) => {
                self.recipient = None;
                // The session already rests; the answer to the reset makes it report that.
                self.client.reset(&mut self.out);
                Some(Progress::Refused(reply))
            }
            Event::SendMessage => Some(Progress::SendMessage),
            Event::Delivered(reply) => Some(Progress::Answered(reply)),
            Event::Failed(failure) => Some(Progress::Failed(failure)),
            Event::Bye => Some(Progress::Bye),
        }
    }

    /// Returns the bytes to send, if any.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.out.front()
    }

    /// Takes note that `count` bytes of [`Self::output`] were sent.
    pub fn sent(&mut self, count: usize) {
        self.out.take(count);
    }

    /// Begins a mail; false if none can begin now.
    pub fn mail(&mut self, envelope: Envelope) -> bool {
        if self.client.stage() != Stage::Idle {
            return false;
        }
        self.recipient = Some(envelope.recipient);
        self.client.mail(
            Some(&envelope.sender),
            Some(envelope.size),
            false,
            &mut self.out,
        );
        true
    }

    /// Returns how many bytes of message can be given now; 0 outside of a message.
    #[must_use]
    pub fn message_room(&self) -> usize {
        match self.client.stage() {
            Stage::Message => self.out.space().saturating_sub(SPARE),
            _ => 0,
        }
    }

    /// Takes bytes of the message as they go onto the wire: lines end in CRLF, a dot at the
    /// beginning of a line is doubled (RFC 5321 4.5.2). Returns how many.
    pub fn message(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.message_room());
        self.out.put(&bytes[..count]);
        count
    }

    /// Ends the message, whose last line must have ended; false outside of a message, and if the
    /// queue is full.
    pub fn finish(&mut self) -> bool {
        let possible = self.client.stage() == Stage::Message && self.out.space() >= SPARE;
        if possible {
            self.client.finish(&mut self.out);
        }
        possible
    }

    /// Says goodbye; false if that is not possible now.
    pub fn quit(&mut self) -> bool {
        let possible = self.client.stage() == Stage::Idle;
        if possible {
            self.client.quit(&mut self.out);
        }
        possible
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// Returns what the session sends after `reply`, and what it tells its driver.
    fn hear(session: &mut Submission, reply: &str) -> (String, Option<Progress>) {
        let (taken, progress) = session.input(reply.as_bytes());
        assert_eq!(taken, reply.len());
        (said(session), progress)
    }

    fn said(session: &mut Submission) -> String {
        let said = String::from_utf8(session.output().to_vec()).expect("ASCII");
        session.sent(said.len());
        said
    }

    fn ready() -> Submission {
        let mut session = Submission::new("us.test").expect("a name");
        assert_eq!(hear(&mut session, "220 hi\r\n").0, "EHLO us.test\r\n");
        let ready = hear(&mut session, "250 them\r\n");
        assert_eq!(ready, (String::new(), Some(Progress::Ready)));
        session
    }

    fn envelope() -> Envelope {
        let mailbox = |text| Mailbox::parse(text).expect("a mailbox");
        Envelope {
            sender: mailbox("user1@a.test"),
            recipient: mailbox("user2@a.test"),
            size: 10,
        }
    }

    #[test]
    fn a_mail_goes_step_by_step_and_another_after_it() {
        let mut session = ready();
        for _ in 0..2 {
            assert_eq!(session.message_room(), 0);
            assert!(session.mail(envelope()) && !session.mail(envelope()));
            assert_eq!(said(&mut session), "MAIL FROM:<user1@a.test>\r\n");
            let (rcpt, none) = hear(&mut session, "250 ok\r\n");
            assert_eq!((rcpt.as_str(), none), ("RCPT TO:<user2@a.test>\r\n", None));
            assert_eq!(hear(&mut session, "250 ok\r\n").0, "DATA\r\n");
            let go = hear(&mut session, "354 go\r\n").1;
            assert_eq!(go, Some(Progress::SendMessage));
            assert!(!session.quit());
            let long = [b'x'; 2 * QUEUE];
            let taken = session.message(&long);
            assert!((QUEUE / 2..QUEUE).contains(&taken));
            assert_eq!(session.message(&long), 0);
            said(&mut session);
            assert_eq!(session.message(b"\r\n"), 2);
            assert!(session.finish() && !session.finish());
            assert_eq!(said(&mut session), "\r\n.\r\n");
            let Some(Progress::Answered(reply)) = hear(&mut session, "250 taken\r\n").1 else {
                panic!("an answer");
            };
            assert!(reply.is_positive());
        }
        assert!(session.quit());
        assert_eq!(said(&mut session), "QUIT\r\n");
        assert_eq!(hear(&mut session, "221 bye\r\n").1, Some(Progress::Bye));
    }

    #[test]
    fn after_a_refusal_the_next_mail_can_begin() {
        for answers in [
            &["550 no\r\n"][..],
            &["250 ok\r\n", "550 no\r\n"],
            &["250 ok\r\n", "250 ok\r\n", "452 no\r\n"],
        ] {
            let mut session = ready();
            assert!(session.mail(envelope()));
            said(&mut session);
            let mut last = (String::new(), None);
            for answer in answers {
                last = hear(&mut session, answer);
            }
            assert_eq!(last.0, "RSET\r\n");
            assert!(matches!(last.1, Some(Progress::Refused(_))), "{answers:?}");
            let ready = hear(&mut session, "250 ok\r\n").1;
            assert_eq!(ready, Some(Progress::Ready));
            assert!(session.mail(envelope()));
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(Submission::new("not a name").is_err());
        for bad in [
            "",
            "a@",
            "@b",
            "a@b>",
            "a@b> SIZE=1",
            "a b@c",
            "a@b\r\nQUIT",
        ] {
            assert_eq!(Mailbox::parse(bad), None, "{bad:?}");
        }
        let good = Mailbox::parse("a@b.test").expect("a mailbox");
        assert_eq!(good.to_string(), "a@b.test");
    }
}
