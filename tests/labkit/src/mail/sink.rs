//! The next hop: postfix's smtp-sink(1), which keeps every mail in a file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::body::ID_HEADER;
use crate::addresses::DOM0;
use crate::deadline::Deadline;
use crate::process::{Process, scratch_file};

/// The port in dom0 on which the next hop listens.
pub const PORT: u16 = 2525;

/// A running smtp-sink and the folder it fills.
#[derive(Debug)]
pub struct Sink {
    process: Process,
    folder: PathBuf,
}

/// A mail as it arrived.
#[derive(Debug)]
pub struct Arrived {
    /// The name in [`ID_HEADER`], if there is one.
    pub id: Option<String>,
    /// Its headers as smtp-sink wrote them, with smtp-sink's own first.
    pub headers: String,
    /// Its body, lines ended by line feeds.
    pub body: Vec<u8>,
}

impl Sink {
    /// Starts smtp-sink with `options` on dom0's address, port [`PORT`].
    pub fn start(options: &[&str]) -> Result<Self> {
        let endpoint = SocketAddr::from((DOM0, PORT)).to_string();
        let folder = scratch_file("sink");
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let template = folder.join("mail.").display().to_string();
        // As root, smtp-sink insists on a user to become.
        let mut arguments = vec!["-u", "root", "-d", &template];
        arguments.extend_from_slice(options);
        arguments.extend([endpoint.as_str(), "100"]);
        let mut sink = Self {
            process: Process::start("smtp-sink", &arguments)?,
            folder,
        };
        Deadline::seconds(20).poll(Duration::from_millis(20), "smtp-sink to listen", || {
            sink.process.check_running()?;
            Ok(listening(PORT)?.then_some(()))
        })?;
        Ok(sink)
    }

    /// Returns how many mails have files, whole or not yet whole.
    pub fn count(&self) -> Result<usize> {
        Ok(self.files()?.len())
    }

    /// Waits until there are exactly `count` mails. smtp-sink removes the file of a mail that was
    /// not finished when its session ends, which may be a little later than the client's.
    pub fn wait_for_count(&self, count: usize, deadline: Deadline) -> Result<()> {
        deadline.poll(Duration::from_millis(50), &format!("{count} mails"), || {
            Ok((self.count()? == count).then_some(()))
        })
    }

    /// Returns the total size of the files.
    pub fn bytes(&self) -> Result<u64> {
        let sizes = self
            .files()?
            .into_iter()
            .map(|file| fs::metadata(file).map(|m| m.len()));
        Ok(sizes.flatten().sum())
    }

    /// Reads the mails, in no particular order. Call it when the clients are done: smtp-sink closes
    /// a mail's file before it replies, and removes the file of a mail that was not finished.
    pub fn arrived(&self) -> Result<Vec<Arrived>> {
        self.files()?.iter().map(|file| read_mail(file)).collect()
    }

    /// Kills smtp-sink, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let folder = fs::read_dir(&self.folder).context("the sink's folder")?;
        folder.map(|entry| Ok(entry?.path())).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.process.kill();
        // A file that cannot be removed ends with dom0.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Arrived {
    /// Decodes its first base64 attachment.
    pub fn attachment(&self) -> Result<Vec<u8>> {
        use base64::Engine as _;
        let body = std::str::from_utf8(&self.body).context("a MIME body is ASCII")?;
        let lower = body.find("Content-Transfer-Encoding: BASE64");
        let part = &body[lower.context("no base64 attachment")?..];
        let (_, part) = part.split_once("\n\n").context("no end of its headers")?;
        let (text, _) = part.split_once("\n--").context("no boundary after it")?;
        let text: String = text.split_ascii_whitespace().collect();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .context("the attachment is not base64")
    }
}

fn read_mail(file: &Path) -> Result<Arrived> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    parse_mail(bytes).with_context(|| file.display().to_string())
}

/// Parses smtp-sink's dump: its own headers, the mail with line feeds, an empty line.
fn parse_mail(mut bytes: Vec<u8>) -> Result<Arrived> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let end = end.context("no end of the headers")?;
    let headers = String::from_utf8_lossy(&bytes[..end]).into_owned();
    // In place, because a mail may be large and dom0 is small.
    bytes.drain(..end + 2);
    if bytes.pop() != Some(b'\n') {
        bail!("the file does not end with an empty line");
    }
    let id = headers.lines().find_map(|line| {
        let value = line.strip_prefix(ID_HEADER)?.strip_prefix(':')?;
        Some(value.trim().to_owned())
    });
    Ok(Arrived {
        id,
        headers,
        body: bytes,
    })
}

/// Whether a process listens on TCP `port` of an IPv4 address.
fn listening(port: u16) -> Result<bool> {
    let table = fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp")?;
    Ok(has_listener(&table, port))
}

/// Looks for `port` in the kernel's table (proc_net_tcp.txt: the local address's port is
/// hexadecimal, and state 0A is LISTEN).
fn has_listener(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::{has_listener, listening, parse_mail};
    use std::net::TcpListener;

    #[test]
    fn a_dump_is_taken_apart() {
        let dump =
            b"X-Client-Addr: 1.2.3.4\nReceived: from x\n\tby y\nX-Lab-Mail: m7\n\n.\nend\n\n";
        let mail = parse_mail(dump.to_vec()).expect("as smtp-sink writes it");
        assert_eq!(mail.id.as_deref(), Some("m7"));
        assert_eq!(mail.body, b".\nend\n");
        assert!(mail.headers.contains("\tby y"));
    }

    #[test]
    fn an_attachment_is_decoded() {
        let dump = b"A: b\n\n--B\nContent-Type: text/plain\n\nhi\n--B\n\
            Content-Transfer-Encoding: BASE64\n\naGVs\nbG8=\n\n--B--\n\n\n";
        let mail = parse_mail(dump.to_vec()).expect("as smtp-sink writes it");
        assert_eq!(mail.attachment().expect("there is one"), b"hello");
    }

    #[test]
    fn only_a_listener_is_one() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            \x20  0: 0100000A:09DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
            \x20  1: 0100000A:0A00 0100000A:09DE 01 00000000:00000000 00:00000000 00000000\n";
        assert!(has_listener(table, 2525));
        assert!(!has_listener(table, 0x0a00));
        assert!(!has_listener(table, 2526));
    }

    #[test]
    fn a_listener_is_seen_in_proc() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        assert!(listening(port).expect("Linux has /proc"));
    }
}
