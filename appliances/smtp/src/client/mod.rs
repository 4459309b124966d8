//! The client half: one session with the next hop (RFC 5321 3, 4.1.1).
//!
//! One command at a time: every reply must be the answer to something that
//! was sent completely. A reply that comes without a question is never taken
//! for the answer to a later one, least of all to the final dot.

mod answer;
mod failure;

pub(crate) use answer::{Answer, Offers};
pub use failure::Failure;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::address::{Mailbox, is_same_domain};
use crate::replies;
use crate::reply::Reply;
use crate::ring::Ring;
use answer::AnswerReader;

/// Bytes that the trace header adds to a declared size, unless names are very long.
const TRACE_MAX: u64 = 1024;

/// The end-of-data mark behind a message that ended in CRLF.
const END_OF_DATA: &[u8] = b".\r\n";

/// The state of the session; all but the resting states wait for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for the greeting.
    Greeting,
    /// Waits for the answer to EHLO.
    Ehlo,
    /// Waits for the answer to HELO, after a refused EHLO.
    Helo,
    /// Rests between mails.
    Idle,
    /// Waits for the answer to MAIL.
    Mail,
    /// Rests within a mail, before its message.
    Open,
    /// Waits for the answer to RCPT.
    Rcpt,
    /// Waits for the answer to DATA.
    Data,
    /// The message is being sent; no reply is due.
    Message,
    /// Waits for the answer to the final dot.
    Final,
    /// Waits for the answer to RSET.
    Reset,
    /// Waits for the answer to QUIT.
    Quit,
}

/// What a reply of the next hop means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A resting state was reached; the next command may be given.
    Ready,
    /// MAIL was refused.
    SenderRefused(Reply),
    /// The answer to RCPT.
    Recipient(Reply),
    /// DATA was accepted.
    SendMessage,
    /// DATA was refused.
    DataRefused(Reply),
    /// The answer to the final dot.
    Delivered(Reply),
    /// The session is of no use any more.
    Failed(Failure),
    /// The answer to QUIT.
    Bye,
}

/// One session with the next hop.
#[derive(Debug)]
pub(crate) struct Client {
    stage: Stage,
    reader: AnswerReader,
    offers: Offers,
    answers: u32,
    /// Names that the next hop must not have.
    own: Vec<String>,
    /// Mails begun.
    mails: u32,
}

impl Client {
    /// Begins a session on a fresh connection, on which the next hop speaks first. It ends if the
    /// next hop calls itself by one of the names in `own`.
    pub(crate) fn new(own: Vec<String>) -> Self {
        Self {
            stage: Stage::Greeting,
            reader: AnswerReader::default(),
            offers: Offers::default(),
            answers: 0,
            own,
            mails: 0,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn offers(&self) -> Offers {
        self.offers
    }

    /// Returns the number of replies so far, which shows progress.
    pub(crate) fn answers(&self) -> u32 {
        self.answers
    }

    /// Whether the connection was kept from an earlier mail.
    pub(crate) fn is_kept(&self) -> bool {
        match self.stage {
            Stage::Idle | Stage::Reset => self.mails > 0,
            _ => self.mails > 1,
        }
    }

    /// Takes input up to the end of one reply line. `out` holds what has not
    /// been sent; the answer to a greeting or to a refused EHLO goes there.
    pub(crate) fn input(
        &mut self,
        input: &[u8],
        hostname: &str,
        out: &mut Ring,
    ) -> (usize, Option<Event>) {
        // What the next hop has taken would be sent again if noise hid its answer.
        let skips_noise = matches!(self.stage, Stage::Message | Stage::Final);
        match self.reader.read(input, skips_noise) {
            (taken, Ok(None)) => (taken, None),
            (taken, Ok(Some(answer))) => {
                self.answers = self.answers.wrapping_add(1);
                (taken, self.answer(answer, hostname, out))
            }
            (taken, Err(_)) => (taken, Some(Event::Failed(Failure::Protocol))),
        }
    }

    fn answer(&mut self, answer: Answer, hostname: &str, out: &mut Ring) -> Option<Event> {
        if self.stage == Stage::Quit {
            return Some(Event::Bye);
        }
        if answer.code == 421 {
            return Some(refused(answer.pass_on_as_temporary()));
        }
        let resting = matches!(self.stage, Stage::Idle | Stage::Open);
        // Not due yet: the question, or the message, is still on its way out.
        if resting || self.stage == Stage::Message || !out.is_empty() {
            return Some(match (self.stage, answer.class()) {
                (Stage::Message, 4 | 5) => refused(answer.pass_on()),
                (_, 4 | 5) => refused(answer.pass_on_as_temporary()),
                _ => Event::Failed(Failure::Protocol),
            });
        }
        let greets = matches!(self.stage, Stage::Greeting | Stage::Ehlo | Stage::Helo);
        if greets && answer.class() == 2 && self.is_own(answer.name()) {
            return Some(Event::Failed(Failure::LoopsBack));
        }
        match (self.stage, answer.class()) {
            (Stage::Greeting, 2) => {
                out.put(format!("EHLO {hostname}\r\n").as_bytes());
                self.stage = Stage::Ehlo;
                None
            }
            (Stage::Ehlo, 5) => {
                out.put(format!("HELO {hostname}\r\n").as_bytes());
                self.stage = Stage::Helo;
                None
            }
            (Stage::Ehlo, 2) => {
                self.offers = answer.offers;
                self.rest(Stage::Idle, Event::Ready)
            }
            (Stage::Helo | Stage::Reset, 2) => self.rest(Stage::Idle, Event::Ready),
            (Stage::Greeting | Stage::Ehlo | Stage::Helo | Stage::Reset, 4 | 5) => {
                Some(refused(answer.pass_on_as_temporary()))
            }
            (Stage::Mail, 2) => self.rest(Stage::Open, Event::Ready),
            (Stage::Mail, 4 | 5) => self.rest(Stage::Idle, Event::SenderRefused(answer.pass_on())),
            (Stage::Rcpt, 2) => self.rest(Stage::Open, Event::Recipient(replies::RECIPIENT_OK)),
            (Stage::Rcpt, 4 | 5) => self.rest(Stage::Open, Event::Recipient(answer.pass_on())),
            (Stage::Data, 3) => self.rest(Stage::Message, Event::SendMessage),
            (Stage::Data, 4 | 5) => self.rest(Stage::Open, Event::DataRefused(answer.pass_on())),
            (Stage::Final, 2) => {
                let reply = Reply {
                    code: 250,
                    ..answer.pass_on()
                };
                self.rest(Stage::Idle, Event::Delivered(reply))
            }
            (Stage::Final, 4 | 5) => self.rest(Stage::Idle, Event::Delivered(answer.pass_on())),
            _ => Some(Event::Failed(Failure::Protocol)),
        }
    }

    fn is_own(&self, name: &str) -> bool {
        self.own.iter().any(|own| is_same_domain(own, name))
    }

    fn rest(&mut self, stage: Stage, event: Event) -> Option<Event> {
        self.stage = stage;
        Some(event)
    }

    /// Sends MAIL, in [`Stage::Idle`]. SIZE and BODY go only to a next hop that
    /// offers them. `eight_bit` tells whether the message may hold 8-bit data.
    pub(crate) fn mail(
        &mut self,
        sender: Option<&Mailbox>,
        size: Option<u64>,
        eight_bit: bool,
        out: &mut Ring,
    ) {
        let mut line = match sender {
            Some(sender) => format!("MAIL FROM:<{sender}>"),
            None => "MAIL FROM:<>".into(),
        };
        if let (Some(size), Some(limit)) = (size, self.offers.size) {
            // The trace header's size is an estimate, which alone must not be
            // the reason for a refusal.
            let most = if limit == 0 {
                u64::MAX
            } else {
                limit.max(size)
            };
            let size = size.saturating_add(TRACE_MAX).min(most);
            line += &format!(" SIZE={size}");
        }
        if self.offers.eight_bit {
            line += if eight_bit {
                " BODY=8BITMIME"
            } else {
                " BODY=7BIT"
            };
        }
        line += "\r\n";
        out.put(line.as_bytes());
        self.mails = self.mails.saturating_add(1);
        self.stage = Stage::Mail;
    }

    /// Whether the next hop has said that it takes no message of this size.
    pub(crate) fn is_too_large(&self, size: Option<u64>) -> bool {
        let limit = self.offers.size.filter(|&limit| limit > 0);
        matches!((size, limit), (Some(size), Some(limit)) if size > limit)
    }

    /// Sends RCPT, in [`Stage::Open`].
    pub(crate) fn rcpt(&mut self, recipient: &Mailbox, out: &mut Ring) {
        out.put(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
        self.stage = Stage::Rcpt;
    }

    /// Sends DATA, in [`Stage::Open`].
    pub(crate) fn data(&mut self, out: &mut Ring) {
        out.put(b"DATA\r\n");
        self.stage = Stage::Data;
    }

    /// Sends the final dot, in [`Stage::Message`]; the message is in `out` or
    /// has been sent.
    pub(crate) fn finish(&mut self, out: &mut Ring) {
        out.put(END_OF_DATA);
        self.stage = Stage::Final;
    }

    /// Sends RSET, in a resting state.
    pub(crate) fn reset(&mut self, out: &mut Ring) {
        out.put(b"RSET\r\n");
        self.stage = Stage::Reset;
    }

    /// Sends QUIT, in a resting state.
    pub(crate) fn quit(&mut self, out: &mut Ring) {
        out.put(b"QUIT\r\n");
        self.stage = Stage::Quit;
    }
}

fn refused(reply: Reply) -> Event {
    Event::Failed(Failure::Refused(reply))
}

#[cfg(test)]
mod tests;
