//! An SMTP client that sends what it is told, line by line, right or wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::body::Content;
use super::source::{RECIPIENT, SENDER};
use crate::deadline::Deadline;
use crate::net::stream;

/// The longest reply line that is read, in bytes. RFC 5321, 4.5.3.1.5 allows 512.
const MAX_REPLY_BYTES: u64 = 4096;

/// A connection to an SMTP server.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// A server's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code.
    pub code: u16,
    /// The text of every line, without code.
    pub lines: Vec<String>,
}

impl Reply {
    /// Fails unless the code is `code`.
    pub fn expect(self, code: u16, what: &str) -> Result<Self> {
        if self.code != code {
            bail!(
                "{what}: {code} expected, {} {}",
                self.code,
                self.lines.join(" / ")
            );
        }
        Ok(self)
    }

    /// Fails unless the code's first digit is `class`.
    pub fn expect_class(self, class: u16, what: &str) -> Result<Self> {
        if self.code / 100 != class {
            bail!(
                "{what}: {class}xx expected, {} {}",
                self.code,
                self.lines.join(" / ")
            );
        }
        Ok(self)
    }
}

impl Client {
    /// Connects and reads the first reply, whatever it is.
    pub fn connect(server: SocketAddr, deadline: Deadline) -> Result<(Self, Reply)> {
        Self::over(stream::connect(server, deadline)?)
    }

    /// Reads the first reply on an open connection.
    pub fn over(stream: TcpStream) -> Result<(Self, Reply)> {
        // Commands are short, and each waits for its reply.
        stream.set_nodelay(true)?;
        let mut client = Self {
            reader: BufReader::new(stream),
        };
        let banner = client.reply().context("the banner")?;
        Ok((client, banner))
    }

    /// Connects, expects 220, says EHLO and expects 250.
    pub fn ready(server: SocketAddr, deadline: Deadline) -> Result<Self> {
        let (mut client, banner) = Self::connect(server, deadline)?;
        banner.expect(220, "banner")?;
        client.command("EHLO client.test")?.expect(250, "EHLO")?;
        Ok(client)
    }

    /// Sends a line and returns the reply.
    pub fn command(&mut self, line: &str) -> Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply().with_context(|| shortened(line))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.get_mut().write_all(bytes).context("sending")
    }

    /// Reads one reply of one or more lines.
    pub fn reply(&mut self) -> Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let count = self
                .reader
                .by_ref()
                .take(MAX_REPLY_BYTES)
                .read_until(b'\n', &mut line)
                .context("reading a reply")?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            let (code, last, text) = reply_line(&line)?;
            lines.push(text.to_owned());
            if last {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// Sends MAIL FROM and RCPT TO with the usual addresses and expects 250.
    pub fn envelope(&mut self) -> Result<()> {
        self.command(&format!("MAIL FROM:<{SENDER}>"))?
            .expect(250, "MAIL")?;
        self.command(&format!("RCPT TO:<{RECIPIENT}>"))?
            .expect(250, "RCPT")?;
        Ok(())
    }

    /// Sends the envelope and DATA and expects 354.
    pub fn begin_data(&mut self) -> Result<()> {
        self.envelope()?;
        self.command("DATA")?.expect(354, "DATA")?;
        Ok(())
    }

    /// Sends a mail that has line feeds, dot-stuffed, and its end; returns the last reply.
    pub fn data(&mut self, mail: &[u8]) -> Result<Reply> {
        self.send(&wire_form(mail))?;
        self.command(".").context("end of the mail")
    }

    /// Sends QUIT and expects 221.
    pub fn quit(mut self) -> Result<()> {
        self.command("QUIT")?.expect(221, "QUIT").map(drop)
    }

    /// Waits until the server closes the connection; returns whether it does so in time. Replies
    /// before the end are skipped.
    pub fn closed(mut self) -> bool {
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
        let mut rest = [0; 1024];
        // Bounded: a server sends little before it closes.
        for _ in 0..64 {
            match self.reader.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
        false
    }
}

/// Sends a mail on a new connection. Returns the first reply that is not positive, or the reply to
/// the end of the mail.
///
/// # Errors
/// The connection breaks, or the server sends something that is not a reply.
pub fn send(server: SocketAddr, mail: &Content) -> Result<Reply> {
    let text = std::fs::read(mail.file.path()).context("the mail's file")?;
    let deadline = Deadline::seconds(30);
    let (mut client, banner) = Client::connect(server, deadline)?;
    if banner.code != 220 {
        return Ok(banner);
    }
    client.command("EHLO client.test")?.expect(250, "EHLO")?;
    for (line, good) in [
        (format!("MAIL FROM:<{SENDER}>"), 250),
        (format!("RCPT TO:<{RECIPIENT}>"), 250),
        ("DATA".to_owned(), 354),
    ] {
        let reply = client.command(&line)?;
        if reply.code != good {
            return Ok(reply);
        }
    }
    client.data(&text)
}

/// Returns `mail` with CRLF line ends and a dot before each line that begins with one.
pub fn wire_form(mail: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(mail.len() + mail.len() / 50);
    for line in mail.split_inclusive(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            wire.push(b'.');
        }
        wire.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

fn reply_line(line: &str) -> Result<(u16, bool, &str)> {
    let Some(line) = line.strip_suffix("\r\n") else {
        bail!("a reply line without CRLF: {line:?}");
    };
    let code = line.get(..3).and_then(|code| code.parse().ok());
    let (Some(code), rest) = (code, line.get(3..).unwrap_or_default()) else {
        bail!("a reply line without a code: {line:?}");
    };
    match rest.as_bytes().first() {
        None => Ok((code, true, "")),
        Some(b' ') => Ok((code, true, &rest[1..])),
        Some(b'-') => Ok((code, false, &rest[1..])),
        Some(_) => bail!("a reply line without a separator: {line:?}"),
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::{Client, reply_line, wire_form};
    use crate::deadline::Deadline;
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn reply_lines_are_taken_apart() {
        assert_eq!(
            reply_line("250-SIZE 1\r\n").expect("fine"),
            (250, false, "SIZE 1")
        );
        assert_eq!(reply_line("354 go\r\n").expect("fine"), (354, true, "go"));
        assert_eq!(reply_line("250\r\n").expect("fine"), (250, true, ""));
        for bad in ["250 x\n", "25\r\n", "abc x\r\n", "250x\r\n", ""] {
            assert!(reply_line(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn dots_are_stuffed_and_lines_ended() {
        assert_eq!(wire_form(b".\nx.\n\n.."), b"..\r\nx.\r\n\r\n...\r\n");
    }

    #[test]
    fn replies_of_several_lines_are_read_and_the_end_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one client");
            let _ = stream.write_all(b"220-one\r\n220 two\r\n421 bye\r\n");
        });
        let (mut client, banner) = Client::connect(address, Deadline::seconds(60)).expect("served");
        assert_eq!(banner.lines, ["one", "two"]);
        let error = client.reply().expect("a second").expect(250, "x");
        assert!(error.expect_err("421").to_string().contains("bye"));
        assert!(client.closed());
    }
}
