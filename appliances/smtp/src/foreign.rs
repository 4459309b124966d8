//! Recognising clients that speak another protocol.
//!
//! A browser can be made to send a mail's commands behind a request of its own, and most servers
//! of mail answer a request line with an error and read on. So the session ends at the first line
//! that no mail client sends.

/// Methods of HTTP (RFC 9110 9, RFC 5789) and of what borrows its form (SIP, RTSP, WebDAV); none
/// is a command of SMTP.
const METHODS: [&str; 24] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "INVITE",
    "REGISTER",
    "SUBSCRIBE",
    "NOTIFY",
    "DESCRIBE",
    "ANNOUNCE",
];

/// Names of protocols as request lines have them.
const VERSIONS: [&str; 4] = [" HTTP/", " SIP/", " RTSP/", "SSH-"];

/// Whether no command begins with `first`: neither a letter nor the CR of an empty line. It is
/// enough to know a TLS handshake (0x16), a binary protocol or JSON, whose lines may never end.
pub(crate) fn cannot_begin(first: u8) -> bool {
    !first.is_ascii_alphabetic() && first != b'\r' && first != b'\n'
}

/// Whether `line` is of another protocol: a request, or a header field such as `Host:`.
pub(crate) fn is_foreign(line: &[u8]) -> bool {
    let word = line
        .split(|&b| b == b' ' || b == b'\t')
        .next()
        .unwrap_or_default();
    let is_method = |method: &str| word.eq_ignore_ascii_case(method.as_bytes());
    let is_field = word.contains(&b':');
    is_field || METHODS.iter().any(|method| is_method(method)) || names_a_version(line, word)
}

fn names_a_version(line: &[u8], word: &[u8]) -> bool {
    // Free text stands behind these commands.
    let is_command = [
        &b"HELO"[..],
        b"EHLO",
        b"MAIL",
        b"RCPT",
        b"NOOP",
        b"VRFY",
        b"HELP",
        b"EXPN",
    ]
    .iter()
    .any(|command| word.eq_ignore_ascii_case(command));
    let holds = |version: &str| {
        let mut windows = line.windows(version.len());
        windows.any(|window| window.eq_ignore_ascii_case(version.as_bytes()))
    };
    !is_command && VERSIONS.iter().any(|version| holds(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_mail_are_not_foreign() {
        for line in [
            "",
            "EHLO http.example",
            "HELO [IPv6:::1]",
            "MAIL FROM:<get@x.example>",
            "RCPT TO: <a@b>",
            "NOOP / HTTP/1.1",
            "VRFY SSH-2.0",
            "data",
            "BLURB",
            "STARTTLS",
            "quit",
            "QUIT now",
        ] {
            assert!(!is_foreign(line.as_bytes()), "{line}");
        }
    }
}
