//! The text of every reply that the relay gives on its own account (RFC 5321 4.2 and 4.3.2, RFC
//! 3463). What the next hop answers is passed on in its own words (`client/answer.rs`).
//!
//! In the order of a session: greeting, commands, a mail, its message, the next hop, the end.

use alloc::format;
use alloc::string::String;

use crate::reply::Reply;

// The greeting, and the answers to HELO and EHLO, carry no enhanced code (RFC 2034 4).

/// Greets a client.
pub(crate) fn greeting(hostname: &str) -> String {
    format!("220 {hostname} ESMTP Causeway\r\n")
}

/// Greets a client that connects while too many are served; the connection is then closed (RFC
/// 5321 3.8).
pub(crate) fn busy_greeting(hostname: &str) -> String {
    format!("421 4.3.2 {hostname} Too many connections\r\n")
}

/// Answers HELO.
pub(crate) fn helo(hostname: &str) -> String {
    format!("250 {hostname}\r\n")
}

/// Answers EHLO. `size` is the largest message in bytes; 0 is no limit (RFC 1870 4).
pub(crate) fn ehlo(hostname: &str, size: u64) -> String {
    format!(
        "250-{hostname}\r\n250-PIPELINING\r\n250-SIZE {size}\r\n250-8BITMIME\r\n\
         250-ENHANCEDSTATUSCODES\r\n250 HELP\r\n"
    )
}

// Commands.

pub(crate) const OK: Reply = Reply::fixed(250, (2, 0, 0), "Ok");
pub(crate) const BYE: Reply = Reply::fixed(221, (2, 0, 0), "Bye");
pub(crate) const CANNOT_VERIFY: Reply = Reply::fixed(252, (2, 5, 0), "Cannot verify; try to send");
pub(crate) const HELP: Reply = Reply::fixed(214, (2, 0, 0), "This is a mail relay as in RFC 5321");

pub(crate) const LINE_TOO_LONG: Reply = Reply::fixed(500, (5, 5, 2), "Line too long");
pub(crate) const FOREIGN: Reply = Reply::fixed(421, (4, 7, 0), "This is a mail relay, closing");
pub(crate) const TOO_EARLY: Reply = Reply::fixed(
    503,
    (5, 5, 0),
    "Input before the answer that it depends on, closing",
);
pub(crate) const BARE_LF: Reply = Reply::fixed(500, (5, 5, 2), "Lines must end in CRLF, closing");
pub(crate) const UNPRINTABLE: Reply =
    Reply::fixed(500, (5, 5, 2), "Command holds control characters");
pub(crate) const UNKNOWN: Reply = Reply::fixed(500, (5, 5, 1), "Command not recognized");
pub(crate) const NOT_OFFERED: Reply = Reply::fixed(502, (5, 5, 1), "Command not implemented");
pub(crate) const ARGUMENT: Reply = Reply::fixed(501, (5, 5, 4), "Syntax error in the argument");
pub(crate) const NO_ARGUMENT: Reply =
    Reply::fixed(501, (5, 5, 4), "This command takes no argument");
pub(crate) const PARAMETER: Reply = Reply::fixed(555, (5, 5, 4), "Parameter not recognized");
pub(crate) const TOO_MANY_ERRORS: Reply = Reply::fixed(421, (4, 7, 0), "Too many errors, closing");

pub(crate) const TOO_MANY_COMMANDS: Reply =
    Reply::fixed(421, (4, 7, 0), "Too many commands without a mail, closing");
pub(crate) const TOO_MANY_REFUSED: Reply =
    Reply::fixed(421, (4, 7, 0), "Too many refused recipients, closing");

pub(crate) const HELLO_FIRST: Reply = Reply::fixed(503, (5, 5, 1), "Say EHLO first");
pub(crate) const MAIL_FIRST: Reply = Reply::fixed(503, (5, 5, 1), "Need MAIL first");
pub(crate) const RCPT_FIRST: Reply = Reply::fixed(503, (5, 5, 1), "Need RCPT first");
pub(crate) const NESTED_MAIL: Reply = Reply::fixed(503, (5, 5, 1), "Already in a mail");

// A mail: its sender, its recipients, its size.

pub(crate) const SENDER_OK: Reply = Reply::fixed(250, (2, 1, 0), "Sender ok");
pub(crate) const SENDER_SYNTAX: Reply = Reply::fixed(553, (5, 1, 7), "Bad sender address syntax");
pub(crate) const SENDER_LONG: Reply = Reply::fixed(501, (5, 1, 7), "Sender address too long");
pub(crate) const UTF8_ADDRESS: Reply =
    Reply::fixed(553, (5, 6, 7), "Non-ASCII addresses are not supported");

pub(crate) const RECIPIENT_OK: Reply = Reply::fixed(250, (2, 1, 5), "Recipient ok");
pub(crate) const RECIPIENT_SYNTAX: Reply =
    Reply::fixed(553, (5, 1, 3), "Bad recipient address syntax");
pub(crate) const RECIPIENT_LONG: Reply = Reply::fixed(501, (5, 1, 3), "Recipient address too long");
pub(crate) const TOO_MANY_RECIPIENTS: Reply = Reply::fixed(452, (4, 5, 3), "Too many recipients");
pub(crate) const NO_RELAYING: Reply = Reply::fixed(550, (5, 7, 1), "No relaying to this domain");
pub(crate) const NO_RECIPIENTS: Reply = Reply::fixed(554, (5, 5, 1), "No valid recipients");

pub(crate) const TOO_LARGE: Reply = Reply::fixed(552, (5, 3, 4), "Message too large");
pub(crate) const TOO_LARGE_FOR_HOP: Reply =
    Reply::fixed(552, (5, 3, 4), "Message too large for the next hop");

// Its message. The codes are those that RFC 5321 4.3.2 allows as the answer to a message; 500 for a
// long line is not among them.

/// Answers DATA.
pub(crate) const SEND_DATA: &[u8] = b"354 End with <CRLF>.<CRLF>\r\n";

pub(crate) const BARE_LINE_END: Reply =
    Reply::fixed(554, (5, 6, 0), "Bare CR or LF in the message");
pub(crate) const NUL: Reply = Reply::fixed(554, (5, 6, 0), "NUL in the message");
pub(crate) const LONG_LINE: Reply =
    Reply::fixed(554, (5, 6, 0), "Line longer than this relay takes");
pub(crate) const TOO_MANY_HOPS: Reply = Reply::fixed(554, (5, 4, 6), "Too many hops, mail loop");
pub(crate) const EIGHT_BIT: Reply =
    Reply::fixed(554, (5, 6, 3), "The next hop takes no 8-bit data");

// The next hop fails: the client may try again, unless the mail would come back to it.

pub(crate) const NO_MEMORY: Reply =
    Reply::fixed(452, (4, 3, 1), "The relay has no memory for the mail");
pub(crate) const LOOPS_BACK: Reply = Reply::fixed(
    554,
    (5, 4, 6),
    "Mail loops back: the next hop leads to this relay",
);

pub(crate) const NOT_CONNECTED: Reply = Reply::fixed(451, (4, 4, 1), "Next hop does not answer");
pub(crate) const HOP_CLOSED: Reply =
    Reply::fixed(451, (4, 4, 2), "Connection to the next hop lost");
pub(crate) const HOP_TIMED_OUT: Reply = Reply::fixed(451, (4, 4, 2), "Next hop timed out");
pub(crate) const HOP_BROKE_PROTOCOL: Reply =
    Reply::fixed(451, (4, 5, 0), "Next hop broke the protocol");

/// The text of a reply that the next hop gave without one.
pub(crate) const SAID_BY_HOP: &str = "Said by the next hop";

// The end of a session.

pub(crate) const TOO_SLOW: Reply = Reply::fixed(421, (4, 4, 2), "Timed out, closing");
pub(crate) const SHUTTING_DOWN: Reply = Reply::fixed(421, (4, 3, 2), "Service is shutting down");
