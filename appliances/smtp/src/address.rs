//! Mailbox syntax (RFC 5321 4.1.2, 4.1.3), as wide as mail in use needs it.
//!
//! A relay that delivers nothing leaves it to the next hop which mailboxes exist. So a local part
//! may be as long as the command's line allows, dots may stand anywhere in it, and brackets and
//! domain may be missing.
//!
//! A valid mailbox is printable ASCII without angle brackets outside quotes and
//! without CR or LF, so it can go into a command to the next hop and into the
//! trace header as it is: no address can carry a second command.

use alloc::boxed::Box;
use alloc::format;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Longest mailbox in bytes: with `MAIL FROM:<>` and CRLF it fills a command line (RFC 5321
/// 4.5.3.1.4). That is more than the 64 of 4.5.3.1.1 for a local part, which SRS and VERP exceed.
const MAILBOX_MAX: usize = 512 - 14;
/// Longest domain in bytes (RFC 5321 4.5.3.1.2).
const DOMAIN_MAX: usize = 255;
/// Longest label of a domain in bytes (RFC 1035 2.3.4).
const LABEL_MAX: usize = 63;

/// A mailbox: `local@domain`, or a local part alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    text: Box<str>,
    local_len: usize,
}

impl Mailbox {
    /// Parses `local@domain`; returns `None` if `text` is not a mailbox.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match parse_path(format!("<{text}>").as_bytes()) {
            Ok((Some(mailbox), "")) => Some(mailbox),
            _ => None,
        }
    }

    /// Returns the part before the `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..self.local_len]
    }

    /// Returns the part behind the `@`, if there is one.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.text.get(self.local_len + 1..)
    }

    /// Whether the mailbox is `postmaster` (RFC 5321 4.5.1), at whatever domain.
    pub(crate) fn is_postmaster(&self) -> bool {
        let local = self.local();
        let inner = local.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
        inner.unwrap_or(local).eq_ignore_ascii_case("postmaster")
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressError {
    /// It is not a path of RFC 5321 4.1.2.
    Syntax,
    /// It has an octet above 127, which needs SMTPUTF8, which is not offered.
    EightBit,
    /// The local part or the domain is longer than allowed.
    TooLong,
}

/// Parses `<path>`, or a path without brackets, at the front of `input`, and returns the mailbox
/// (`None` for the null path `<>`) with what follows it. A source route is dropped, as
/// RFC 5321 appendix C asks.
pub(crate) fn parse_path(input: &[u8]) -> Result<(Option<Mailbox>, &str), AddressError> {
    if !input.is_ascii() {
        return Err(AddressError::EightBit);
    }
    let input = core::str::from_utf8(input).map_err(|_| AddressError::EightBit)?;
    let Some(path) = input.strip_prefix('<') else {
        return match parse_mailbox(input)? {
            (_, rest) if rest.starts_with('>') => Err(AddressError::Syntax),
            (mailbox, rest) => Ok((Some(mailbox), rest)),
        };
    };
    if let Some(rest) = path.strip_prefix('>') {
        return Ok((None, rest));
    }
    let (mailbox, rest) = parse_mailbox(path)?;
    let rest = rest.strip_prefix('>').ok_or(AddressError::Syntax)?;
    Ok((Some(mailbox), rest))
}

/// Parses a mailbox, with its source route if it has one, up to a `>`, a space or the end.
fn parse_mailbox(path: &str) -> Result<(Mailbox, &str), AddressError> {
    let path = skip_source_route(path)?;
    let local_len = match path.starts_with('"') {
        true => quoted_len(path)?,
        false => path
            .bytes()
            .take_while(|&b| is_atext(b) || b == b'.')
            .count(),
    };
    if local_len == 0 {
        return Err(AddressError::Syntax);
    }
    let len = match path[local_len..].strip_prefix('@') {
        Some(domain) => {
            let end = domain.find(['>', ' ']).unwrap_or(domain.len());
            let domain = &domain[..end];
            if domain.len() > DOMAIN_MAX {
                return Err(AddressError::TooLong);
            }
            if !is_domain(domain) && !is_address_literal(domain) {
                return Err(AddressError::Syntax);
            }
            local_len + 1 + end
        }
        None => local_len,
    };
    if len > MAILBOX_MAX {
        return Err(AddressError::TooLong);
    }
    let (whole, rest) = path.split_at(len);
    match rest.is_empty() || rest.starts_with(['>', ' ']) {
        true => Ok((mailbox(whole, local_len), rest)),
        false => Err(AddressError::Syntax),
    }
}

fn mailbox(text: &str, local_len: usize) -> Mailbox {
    Mailbox {
        text: text.into(),
        local_len,
    }
}

/// Skips `@one,@two:` in front of a mailbox.
fn skip_source_route(path: &str) -> Result<&str, AddressError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    let (route, mailbox) = path.split_once(':').ok_or(AddressError::Syntax)?;
    let valid = |hop: &str| hop.strip_prefix('@').is_some_and(is_domain);
    match route.split(',').all(valid) {
        true => Ok(mailbox),
        false => Err(AddressError::Syntax),
    }
}

/// Returns the length of the quoted string, with its quotes, at the front of `path`.
fn quoted_len(path: &str) -> Result<usize, AddressError> {
    let bytes = path.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') if matches!(bytes.get(at + 1), Some(b' '..=b'~')) => at += 2,
            Some(b'\\') => return Err(AddressError::Syntax),
            Some(b' '..=b'~') => at += 1,
            _ => return Err(AddressError::Syntax),
        }
    }
}

/// Whether `byte` is `atext` of RFC 5322 3.2.3.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// Whether `name` is a domain of RFC 5321 4.1.2 within the length limits. Underscores pass,
/// hyphens at the ends of labels, and a dot at the end: real hosts have them, and they do no harm.
pub(crate) fn is_domain(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |part: &str| (1..=LABEL_MAX).contains(&part.len()) && part.bytes().all(inner);
    let labels = name.strip_suffix('.').unwrap_or(name);
    name.len() <= DOMAIN_MAX && labels.split('.').all(label)
}

/// Whether two domains are the same name (RFC 1034 3.1): letters in any case, with a dot at the
/// end or without.
pub(crate) fn is_same_domain(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).len();
    one[..bare(one)].eq_ignore_ascii_case(&other[..bare(other)])
}

/// Whether `name` is `[1.2.3.4]` or `[IPv6:...]` (RFC 5321 4.1.3).
pub(crate) fn is_address_literal(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let Some(inner) = inner else { return false };
    match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("ipv6:") => {
            address.parse::<Ipv6Addr>().is_ok()
        }
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    fn parse(path: &str) -> Result<Option<String>, AddressError> {
        parse_path(path.as_bytes()).map(|(mailbox, _)| mailbox.map(|m| m.to_string()))
    }

    #[test]
    fn valid_paths_pass_unchanged() {
        for path in [
            "a@b",
            "first.last+tag@sub.example.org",
            "\"with space and >\\\"\"@example.org",
            "user@[192.0.2.1]",
            "user@[IPv6:2001:db8::1]",
            "under@score_host.example",
            "postmaster",
            "PostMaster",
            "root",
            "a..b@c",
            ".a.@c",
            "a@-b",
            "a@b-",
            "a@b.",
            "!#$%&'*+-/=?^_`{|}~@x",
        ] {
            assert_eq!(parse(&format!("<{path}>")), Ok(Some(path.into())));
        }
        assert_eq!(parse("<>"), Ok(None));
        assert_eq!(parse("a@b"), Ok(Some("a@b".into())));
    }

    #[test]
    fn source_routes_are_dropped() {
        let routed = parse("<@one.example,@two.example:user@example.org>");
        assert_eq!(routed, Ok(Some("user@example.org".into())));
        assert_eq!(parse("<@one example:u@x>"), Err(AddressError::Syntax));
        assert_eq!(parse("<@:u@x>"), Err(AddressError::Syntax));
    }

    #[test]
    fn what_stands_behind_the_path_is_returned() {
        let (mailbox, rest) = parse_path(b"<a@b> SIZE=3").expect("valid");
        let mailbox = mailbox.expect("not null");
        assert_eq!((mailbox.local(), mailbox.domain()), ("a", Some("b")));
        assert_eq!(rest, " SIZE=3");
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in [
            "a@b>",
            "<a@b",
            "a@",
            "<@>",
            "<a@>",
            "<@b>",
            "<a b@c>",
            "<a@b..c>",
            "<a@b..>",
            "<a@.b>",
            "<a@.>",
            "<a@[1.2.3]>",
            "<a@[IPv6:zz]>",
            "<a@[x]>",
            "<\"a@b>",
            "<\"a\u{1}\"@b>",
            "<a\r\nRCPT TO:<x@y>>",
            "<a@b\nQUIT>",
            "<a\0@b>",
            "<<a@b>>",
            "<\"a\"b@c>",
            "",
            "<",
            "<\"\\",
        ] {
            assert_eq!(parse(path), Err(AddressError::Syntax), "{path:?}");
        }
        assert_eq!(parse("<\u{e9}@b>"), Err(AddressError::EightBit));
    }

    #[test]
    fn lengths_are_limited() {
        let local = |n: usize| format!("<{}@b>", "l".repeat(n));
        assert!(parse(&local(MAILBOX_MAX - 2)).is_ok());
        assert_eq!(parse(&local(MAILBOX_MAX - 1)), Err(AddressError::TooLong));
        let label = "d".repeat(63);
        let domain = |last: usize| {
            let last = "e".repeat(last);
            format!("<a@{label}.{label}.{label}.{last}>")
        };
        assert!(parse(&domain(63)).is_ok(), "255 bytes");
        assert_eq!(parse(&domain(64)), Err(AddressError::TooLong));
        assert_eq!(parse(&format!("<a@{label}x>")), Err(AddressError::Syntax));
    }
}
