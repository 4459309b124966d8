//! Connections to the peer that is measured.

use core::net::SocketAddr;
use core::time::Duration;

use embedded_io_async::{Read, ReadExactError, Write};
use kernel::time::{self, Instant};
use netstack::{Network, TcpOptions, TcpStream};

use crate::failure::Failure;

/// How long a handshake may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A network, and the options of connections on it. A cheap handle.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) network: Network,
    pub(crate) options: TcpOptions,
}

impl Client {
    pub(crate) async fn connect(&self, peer: SocketAddr) -> Result<TcpStream, Failure> {
        self.connect_with(peer, self.options).await
    }

    pub(crate) async fn connect_with(
        &self,
        peer: SocketAddr,
        options: TcpOptions,
    ) -> Result<TcpStream, Failure> {
        let stream = self.network.connect_with(peer, CONNECT_LIMIT, options);
        Ok(stream.await?)
    }
}

/// Asks a question and reads its answer.
pub(crate) async fn round(
    stream: &mut TcpStream,
    question: &[u8],
    answer: &mut [u8],
) -> Result<(), Failure> {
    stream.write_all(question).await?;
    match stream.read_exact(answer).await {
        Ok(()) => Ok(()),
        Err(ReadExactError::UnexpectedEof) => Err(Failure::EndedAt(0)),
        Err(ReadExactError::Other(error)) => Err(error.into()),
    }
}

/// Returns the nanoseconds since `start`.
pub(crate) fn since(start: Instant) -> u128 {
    time::now().saturating_duration_since(start).as_nanos()
}
