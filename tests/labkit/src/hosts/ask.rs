//! One request to the second host, and its answer.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::CONTROL_PORT;
use super::protocol::{Answer, Request, read_line, write_line};
use crate::addresses::SECOND_DOM0;
use crate::deadline::Deadline;

/// The limit of one attempt to connect, short so that a host that was silent is soon found again.
const ATTEMPT: Duration = Duration::from_secs(2);

/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// Sends a request to the second host and waits for its answer until `deadline`.
pub(super) fn ask(request: &Request, deadline: Deadline) -> Result<Answer> {
    let address = SocketAddr::from((SECOND_DOM0, CONTROL_PORT));
    let answer = attempt(address, request, deadline);
    match answer.with_context(|| format!("host b ({address}), asked for {request:?}"))? {
        Answer::Failed(why) => bail!("host b could not do {request:?}: {why}"),
        answer => Ok(answer),
    }
}

fn attempt(address: SocketAddr, request: &Request, deadline: Deadline) -> Result<Answer> {
    // Only connecting is retried: a request that was sent may have been carried out.
    let mut stream = deadline.poll(PAUSE, "a connection", || {
        let limit = ATTEMPT.min(deadline.socket_timeout());
        Ok(TcpStream::connect_timeout(&address, limit).ok())
    })?;
    stream.set_write_timeout(Some(deadline.socket_timeout()))?;
    stream.set_read_timeout(Some(deadline.socket_timeout()))?;
    write_line(&mut stream, request)?;
    read_line(&stream)
}
