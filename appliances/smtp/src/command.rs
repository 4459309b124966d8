//! Parsing one command line of a client (RFC 5321 4.1.1).

use alloc::string::String;

use crate::address::{AddressError, Mailbox, parse_path};
use crate::replies;
use crate::reply::Reply;
use crate::trace::safe_name;

/// Longest command line in bytes with its CRLF (RFC 5321 4.5.3.1.4).
const LINE_MAX: usize = 512;
/// Bytes by which MAIL may be longer: SIZE (RFC 1870 3) and BODY (RFC 6152 2).
const MAIL_EXTRA: usize = 26 + 17;
/// The longest line that any command may have.
pub(crate) const LONGEST_LINE: usize = LINE_MAX + MAIL_EXTRA;

/// A well-formed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// HELO or EHLO with the name the client gives itself, made safe for a trace field.
    Hello { name: String, extended: bool },
    /// MAIL; the null sender is `None`.
    Mail {
        sender: Option<Mailbox>,
        size: Option<u64>,
    },
    /// RCPT.
    Rcpt(Mailbox),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// BDAT, which is not offered.
    Bdat,
}

/// Whether a client must have the answer to `line` before it sends more: the command ends a group
/// of pipelined commands (RFC 2920 3.1, RFC 3207 4, RFC 4954 4, RFC 3030 2), or its sender does not
/// pipeline at all (HELO).
pub(crate) fn ends_group(line: &[u8]) -> bool {
    let word = line.split(|&b| b == b' ').next().unwrap_or_default();
    [
        &b"EHLO"[..],
        b"HELO",
        b"DATA",
        b"STARTTLS",
        b"AUTH",
        b"BDAT",
    ]
    .iter()
    .any(|command| word.eq_ignore_ascii_case(command))
}

/// Parses `line`, which has lost its CRLF. The error is the reply to send.
pub(crate) fn parse(line: &[u8]) -> Result<Command, Reply> {
    let word_len = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
    let (word, argument) = line.split_at(word_len);
    let is_mail = word.eq_ignore_ascii_case(b"MAIL");
    let extra = if is_mail { MAIL_EXTRA } else { 0 };
    if line.len() + 2 > LINE_MAX + extra {
        return Err(replies::LINE_TOO_LONG);
    }
    if line.iter().any(|b| b.is_ascii_control()) {
        return Err(replies::UNPRINTABLE);
    }
    let argument = argument.trim_ascii();
    let mut upper = [0; 8];
    let Some(word) = upper.get_mut(..word.len()).map(|upper| {
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        &*upper
    }) else {
        return Err(replies::UNKNOWN);
    };
    let bare = |command| match argument {
        [] => Ok(command),
        _ => Err(replies::NO_ARGUMENT),
    };
    match word {
        b"HELO" => hello(argument, false),
        b"EHLO" => hello(argument, true),
        b"MAIL" => mail(argument),
        b"RCPT" => rcpt(argument),
        b"DATA" => bare(Command::Data),
        b"RSET" => bare(Command::Rset),
        b"QUIT" => bare(Command::Quit),
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help),
        b"VRFY" if argument.is_empty() => Err(replies::ARGUMENT),
        b"VRFY" => Ok(Command::Vrfy),
        b"BDAT" => Ok(Command::Bdat),
        b"EXPN" | b"AUTH" | b"STARTTLS" | b"ETRN" | b"TURN" | b"SEND" | b"SOML" | b"SAML" => {
            Err(replies::NOT_OFFERED)
        }
        _ => Err(replies::UNKNOWN),
    }
}

/// Parses HELO and EHLO. Names occur in every form; none is a reason to refuse mail.
fn hello(argument: &[u8], extended: bool) -> Result<Command, Reply> {
    match argument {
        [] => Err(replies::ARGUMENT),
        name => Ok(Command::Hello {
            name: safe_name(name),
            extended,
        }),
    }
}

/// Removes `FROM:` or `TO:`. Spaces behind the colon violate RFC 5321 3.3 but
/// are common, and harmless because the hop gets a newly written command.
fn behind_keyword<'a>(argument: &'a [u8], keyword: &[u8]) -> Result<&'a [u8], Reply> {
    match argument.split_at_checked(keyword.len()) {
        Some((front, path)) if front.eq_ignore_ascii_case(keyword) => Ok(path.trim_ascii_start()),
        _ => Err(replies::ARGUMENT),
    }
}

/// Splits off the parameters behind a path; a space comes before each.
fn parameters(rest: &str) -> Result<impl Iterator<Item = &str>, Reply> {
    match rest.is_empty() || rest.starts_with(' ') {
        true => Ok(rest.split(' ').filter(|part| !part.is_empty())),
        false => Err(replies::ARGUMENT),
    }
}

fn mail(argument: &[u8]) -> Result<Command, Reply> {
    let path = behind_keyword(argument, b"FROM:")?;
    let (sender, rest) = parse_path(path).map_err(|error| match error {
        AddressError::Syntax => replies::SENDER_SYNTAX,
        AddressError::EightBit => replies::UTF8_ADDRESS,
        AddressError::TooLong => replies::SENDER_LONG,
    })?;
    let mut size = None;
    let mut body_declared = false;
    for parameter in parameters(rest)? {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.eq_ignore_ascii_case("SIZE") && size.is_none() {
            size = Some(parse_size(value)?);
        } else if name.eq_ignore_ascii_case("BODY") && !body_declared {
            // Only the content itself tells whether a message holds 8-bit data.
            let known = ["7BIT", "8BITMIME"];
            if !known.iter().any(|kind| value.eq_ignore_ascii_case(kind)) {
                return Err(replies::ARGUMENT);
            }
            body_declared = true;
        } else {
            return Err(replies::PARAMETER);
        }
    }
    Ok(Command::Mail { sender, size })
}

/// Parses a size. RFC 1870 allows 20 digits, which may exceed 64 bits: such a
/// size is too large for any server, so it is taken as the largest number.
fn parse_size(value: &str) -> Result<u64, Reply> {
    let digits = (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    match digits {
        true => Ok(value.parse().unwrap_or(u64::MAX)),
        false => Err(replies::ARGUMENT),
    }
}

fn rcpt(argument: &[u8]) -> Result<Command, Reply> {
    let path = behind_keyword(argument, b"TO:")?;
    let (recipient, rest) = parse_path(path).map_err(|error| match error {
        AddressError::Syntax => replies::RECIPIENT_SYNTAX,
        AddressError::EightBit => replies::UTF8_ADDRESS,
        AddressError::TooLong => replies::RECIPIENT_LONG,
    })?;
    if parameters(rest)?.next().is_some() {
        return Err(replies::PARAMETER);
    }
    recipient
        .map(Command::Rcpt)
        .ok_or(replies::RECIPIENT_SYNTAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn code(line: &str) -> u16 {
        parse(line.as_bytes()).expect_err(line).code
    }

    #[test]
    fn commands_are_read_in_any_case() {
        for (line, command) in [
            ("data", Command::Data),
            ("DATA  ", Command::Data),
            ("rSeT", Command::Rset),
            ("NOOP anything at all", Command::Noop),
            ("QUIT", Command::Quit),
            ("VRFY user", Command::Vrfy),
            ("HELP", Command::Help),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command));
        }
        assert_eq!(
            parse(b"EHLO mail.example"),
            Ok(Command::Hello {
                name: "mail.example".into(),
                extended: true
            })
        );
        assert!(parse(b"HELO [192.0.2.7]").is_ok());
    }

    #[test]
    fn mail_parameters() {
        let parsed = parse(b"mail from: <> size=00123 Body=8bitMime");
        let expected = Command::Mail {
            sender: None,
            size: Some(123),
        };
        assert_eq!(parsed, Ok(expected));
        assert!(matches!(
            parse(b"MAIL FROM:<a@b> SIZE=99999999999999999999"),
            Ok(Command::Mail {
                size: Some(u64::MAX),
                ..
            })
        ));
    }

    #[test]
    fn errors_have_the_code_of_the_rfc() {
        for (line, expected) in [
            ("", 500),
            ("FOO", 500),
            ("AVERYLONGWORD", 500),
            ("NOOP \x07", 500),
            ("DATA now", 501),
            ("EHLO", 501),
            ("VRFY", 501),
            ("EXPN list", 502),
            ("STARTTLS", 502),
            ("MAIL", 501),
            ("MAIL FROM", 501),
            ("MAIL TO:<a@b>", 501),
            ("MAIL FROM:<a@b>SIZE=1", 501),
            ("MAIL FROM:<a@b> SIZE=", 501),
            ("MAIL FROM:<a@b> SIZE=-1", 501),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=1", 555),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", 501),
            ("MAIL FROM:<a@b> SMTPUTF8", 555),
            ("MAIL FROM:<a b@c>", 553),
            ("MAIL FROM:", 553),
            ("MAIL FROM:a@b> SIZE=1", 553),
            ("MAIL FROM:<\u{e9}@b>", 553),
            ("RCPT TO:<>", 553),
            ("RCPT TO:<a@b> NOTIFY=NEVER", 555),
        ] {
            assert_eq!(code(line), expected, "{line:?}");
        }
        assert_eq!(
            replies::UTF8_ADDRESS.to_string(),
            "553 5.6.7 Non-ASCII addresses are not supported"
        );
        let long = "x".repeat(500);
        assert_eq!(code(&format!("MAIL FROM:<{long}@b>")), 501);
    }

    #[test]
    fn only_mail_may_exceed_512_bytes() {
        let noop = |total: usize| format!("NOOP {}", "x".repeat(total - 7));
        assert!(parse(noop(512).as_bytes()).is_ok());
        assert_eq!(code(&noop(513)), 500);
        let mail = |total: usize| {
            let mail = "MAIL FROM:<a@b>";
            format!("{mail}{}SIZE=1", " ".repeat(total - mail.len() - 8))
        };
        assert!(parse(mail(LONGEST_LINE).as_bytes()).is_ok());
        assert_eq!(code(&mail(LONGEST_LINE + 1)), 500);
    }
}
