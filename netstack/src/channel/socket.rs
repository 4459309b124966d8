//! A connection's TCP socket, as the channel uses it.

use smoltcp::socket::tcp::{RecvError, Socket, State};
use vmc::{FourTuple, Received, StreamEnd, Tcp};

/// One connection's socket, for the length of a call.
pub(crate) struct TcpSocket<'a, 'buffers>(pub(crate) &'a mut Socket<'buffers>);

impl TcpSocket<'_, '_> {
    /// Returns both ends, or `None` before there is a peer.
    pub(crate) fn four_tuple(&self) -> Option<FourTuple> {
        let local = self.0.local_endpoint()?.into();
        let remote = self.0.remote_endpoint()?.into();
        Some(FourTuple { local, remote })
    }

    /// Whether this side has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(
            self.0.state(),
            State::FinWait1
                | State::FinWait2
                | State::Closing
                | State::LastAck
                | State::TimeWait
                | State::Closed
        )
    }
}

impl Tcp for TcpSocket<'_, '_> {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, StreamEnd> {
        self.0.send_slice(bytes).map_err(|_| StreamEnd::Tcp)
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<Received, StreamEnd> {
        match self.0.recv_slice(into) {
            Ok(0) => Ok(Received::Nothing),
            Ok(len) => Ok(Received::Bytes(len)),
            Err(RecvError::Finished) => Ok(Received::Finished),
            Err(RecvError::InvalidState) => Err(StreamEnd::Tcp),
        }
    }

    fn has_heard_all(&self) -> bool {
        matches!(
            self.0.state(),
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait | State::Closed
        )
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn abort(&mut self) {
        self.0.abort();
    }
}
