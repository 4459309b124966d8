//! Real clients: postfix's smtp-source(1) and swaks(1).

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::body::{Content, ID_HEADER};
use crate::process::{Output, run, tail};

/// The sender in every envelope.
pub const SENDER: &str = "lab@client.test";

/// The recipient in every envelope.
pub const RECIPIENT: &str = "user@sink.test";

/// How many sessions smtp-source has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// This many, each with a new connection for each of its mails.
    Reconnecting(usize),
    /// This many, each with one connection for all of its mails.
    Kept(usize),
}

/// Sends `count` copies of a mail with smtp-source, which stops with a non-zero exit code at the
/// first reply that is not positive.
pub fn smtp_source(
    server: SocketAddr,
    mail: &Content,
    count: usize,
    sessions: Sessions,
    limit: Duration,
) -> Result<Output> {
    let (number, kept) = match sessions {
        Sessions::Reconnecting(number) => (number, false),
        Sessions::Kept(number) => (number, true),
    };
    let (count, number) = (count.to_string(), number.to_string());
    let (file, server) = (mail.file.text(), server.to_string());
    let mut arguments = vec![
        "-m",
        &count,
        "-s",
        &number,
        "-M",
        "client.test",
        "-f",
        SENDER,
        "-t",
        RECIPIENT,
        "-F",
        &file,
    ];
    if kept {
        arguments.push("-d");
    }
    arguments.push(&server);
    run("smtp-source", &arguments, limit)
}

/// Sends one mail with an attachment with swaks; exit code 0 means that it was accepted.
pub fn swaks(server: SocketAddr, attached: &Content, limit: Duration) -> Result<Output> {
    let header = format!("{ID_HEADER}: {}", attached.id);
    let attach = format!("@{}", attached.file.text());
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    let arguments = [
        "--server",
        &host,
        "--port",
        &port,
        "--helo",
        "client.test",
        "--from",
        SENDER,
        "--to",
        RECIPIENT,
        "--add-header",
        &header,
        "--attach",
        &attach,
        "--suppress-data",
    ];
    run("swaks", &arguments, limit)
}

/// Returns how long a client program ran.
///
/// # Errors
/// It failed.
pub fn succeeded(output: Output, program: &str) -> Result<Duration> {
    if !output.status.success() {
        bail!("{program} ({}): {}", output.status, tail(&output.text, 6));
    }
    Ok(output.took)
}
