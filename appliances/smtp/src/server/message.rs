//! Between DATA and the final dot.
//!
//! A refused message is read to its end before the reply is sent, since few
//! clients look for a reply earlier. The session is closed after the reply only
//! if the line ends are doubtful or the message does not end.

use super::{Event, Server, State, Waiting};
use crate::body::{Body, Fault, Limits, Outcome};
use crate::drain::{Drain, Drained};
use crate::opening::Opening;
use crate::replies;
use crate::reply::Reply;
use crate::ring::Ring;

/// Bytes of a refused message that are read beyond the largest size allowed.
const DRAIN_EXTRA: u64 = 1024 * 1024;

fn reply_to(fault: Fault) -> Reply {
    match fault {
        Fault::BareLineEnd => replies::BARE_LINE_END,
        Fault::Nul => replies::NUL,
        Fault::LongLine => replies::LONG_LINE,
        Fault::TooLarge => replies::TOO_LARGE,
        Fault::TooManyHops => replies::TOO_MANY_HOPS,
        Fault::EightBit => replies::EIGHT_BIT,
    }
}

impl Server {
    /// Returns the state at the beginning of a message. 8-bit data passes
    /// whether declared or not, as with other relays, unless the next hop does
    /// not offer 8BITMIME: RFC 6152 3 then asks to convert or to refuse, and a
    /// relay that holds no message cannot convert.
    pub(super) fn new_body(&self, eight_bit: bool) -> State {
        let body = Body::new(Limits {
            size: self.config.message_limit().unwrap_or(u64::MAX),
            line: match self.config.max_line_bytes {
                0 => usize::MAX,
                limit => limit,
            },
            hops: match self.config.max_hops {
                0 => u32::MAX,
                limit => limit,
            },
            eight_bit,
        });
        State::Message(Opening::new(), body)
    }

    pub(super) fn message_input(
        &mut self,
        input: &[u8],
        message: &mut Ring,
    ) -> (usize, Option<Event>) {
        let State::Message(opening, body) = &mut self.state else {
            return (0, None);
        };
        let (taken, outcome) = opening.scan(body, input, message);
        if let Some(transaction) = &mut self.transaction {
            transaction.received = body.size();
        }
        let event = match outcome {
            Outcome::More => None,
            Outcome::End => {
                self.state = State::Waiting(Waiting::Message);
                Some(Event::MessageEnd)
            }
            Outcome::Fault(fault) => {
                self.refuse_message(reply_to(fault));
                Some(Event::MessageRefused)
            }
        };
        (taken, event)
    }

    /// Refuses a message on its way: reads over the rest, then answers `reply`.
    pub(crate) fn refuse_message(&mut self, reply: Reply) {
        if let State::Message(opening, body) = &self.state {
            let limit = self.config.message_limit().unwrap_or(u64::MAX);
            let drain = Drain::new(opening.at(body), limit.saturating_add(DRAIN_EXTRA));
            self.state = State::Drain(drain, reply);
        }
    }

    pub(super) fn drain_input(
        &mut self,
        input: &[u8],
        replies: &mut Ring,
    ) -> (usize, Option<Event>) {
        let State::Drain(drain, reply) = &mut self.state else {
            return (0, None);
        };
        let (taken, drained) = drain.read(input);
        if drained == Drained::More {
            return (taken, None);
        }
        let closes = drained == Drained::TooMuch || drain.is_doubtful();
        let reply = reply.clone();
        self.answer_message(&reply, replies);
        if !closes {
            return (taken, None);
        }
        self.state = State::Closing;
        (taken, Some(Event::Closing))
    }
}
