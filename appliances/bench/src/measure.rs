//! The measurements. Times are in nanoseconds of the guest's clock.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use core::cell::Cell;
use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;

use echo::pattern::PERIOD;
use embassy_futures::join::join;
use embedded_io_async::{Read, Write};
use kernel::time;
use netstack::{DatagramError, ReadHalf, WriteHalf};

use crate::bells::Bells;
use crate::client::{Client, round, since};
use crate::failure::Failure;
use crate::flow::Flow;
use crate::held::Held;

/// How long a datagram's echo may take before it counts as lost.
const ECHO_LIMIT: Duration = Duration::from_millis(500);

/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;

/// A client that measures, and the state that its orders share. A cheap handle.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) client: Client,
    state: Rc<State>,
}

/// State that the orders share.
#[derive(Default)]
pub(crate) struct State {
    /// Number of [`Bench::stop`] calls.
    stops: Cell<u64>,
    pub(crate) flow: Flow,
    pub(crate) held: Held,
    pub(crate) bells: Bells,
}

impl Bench {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            state: Rc::default(),
        }
    }

    /// Ends every [`Self::verify`] under way as if its last byte had been sent.
    pub(crate) fn stop(&self) {
        self.state.stops.set(self.state.stops.get() + 1);
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Sends `total` bytes to a discard service. The time ends with the peer's FIN, which the peer
    /// sends once it has read everything; so it includes delivery.
    pub(crate) async fn stream(
        &self,
        peer: SocketAddr,
        write: usize,
        total: u64,
    ) -> Result<String, Failure> {
        let mut stream = self.client.connect(peer).await?;
        let buffer = vec![0x55; write];
        let start = time::now();
        let mut left = total;
        while left > 0 {
            let len = left.min(write as u64) as usize;
            stream.write_all(&buffer[..len]).await?;
            left -= len as u64;
        }
        stream.shutdown_write();
        match stream.read(&mut [0]).await? {
            0 => {}
            _ => return Err(Failure::Surplus(total)),
        }
        let nanos = since(start);
        Ok(alloc::format!("bytes={total} ns={nanos}"))
    }

    /// Sends the pattern to an echo service and compares what comes back. A stop during a write
    /// takes effect when the write is done.
    pub(crate) async fn verify(
        &self,
        peer: SocketAddr,
        write: usize,
        total: u64,
        pause: Duration,
    ) -> Result<String, Failure> {
        let (mut read, mut sink) = self.client.connect(peer).await?.split();
        let pattern = echo::pattern::repeated(PERIOD + write.max(CHUNK));
        self.state.flow.begin();
        let start = time::now();
        let sent = Cell::new(0);
        let (written, compared) = join(
            self.send(&mut sink, &pattern, write, total, pause, &sent),
            self.compare(&mut read, &pattern, &sent),
        )
        .await;
        let gap = compared?.as_nanos();
        written?;
        let (bytes, nanos) = (sent.get(), since(start));
        Ok(alloc::format!("bytes={bytes} ns={nanos} gap_ns={gap}"))
    }

    /// Puts `rounds` questions, each after the answer to the one before; the first round is not
    /// counted.
    pub(crate) async fn ping_pong(
        &self,
        peer: SocketAddr,
        size: usize,
        rounds: u64,
    ) -> Result<String, Failure> {
        let mut stream = self.client.connect(peer).await?;
        let question = vec![0x55; size];
        let mut answer = vec![0; size];
        round(&mut stream, &question, &mut answer).await?;
        let start = time::now();
        for _ in 0..rounds {
            round(&mut stream, &question, &mut answer).await?;
        }
        let nanos = since(start);
        stream.close().await?;
        Ok(alloc::format!("rounds={rounds} ns={nanos}"))
    }

    /// Measures, for each connection, the time from the call of connect to the first byte that
    /// comes back, and that to the end of connect.
    pub(crate) async fn connections(
        &self,
        peer: SocketAddr,
        count: u64,
    ) -> Result<String, Failure> {
        let (mut first_byte, mut connected) = (String::new(), String::new());
        for number in 0..count {
            let start = time::now();
            let mut stream = self.client.connect(peer).await?;
            let handshake = since(start);
            stream.write_all(&[1]).await?;
            if stream.read(&mut [0]).await? == 0 {
                return Err(Failure::EndedAt(0));
            }
            let nanos = since(start);
            stream.close().await?;
            let comma = if number == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(first_byte, "{comma}{nanos}");
            let _ = write!(connected, "{comma}{handshake}");
        }
        Ok(alloc::format!("ns={first_byte} handshake_ns={connected}"))
    }

    /// Puts `rounds` questions in datagrams, each after the answer to the one before; a lost
    /// datagram costs its round a time-out.
    pub(crate) async fn udp(
        &self,
        peer: SocketAddr,
        size: usize,
        rounds: u64,
    ) -> Result<String, Failure> {
        let socket = self.client.network.bind_udp(0)?;
        let mut question = vec![0x55; size];
        let mut answer = vec![0; size];
        let mut lost = 0_u64;
        let start = time::now();
        for number in 0..rounds {
            // Numbered, so that a late echo is not taken for that of the next question.
            for (byte, mark) in question.iter_mut().zip(number.to_le_bytes()) {
                *byte = mark;
            }
            socket.send_to(&question, peer).await?;
            let echo = async {
                loop {
                    match socket.recv_from(&mut answer).await {
                        Ok((len, from)) if from == peer && answer[..len] == question => {
                            return Ok(());
                        }
                        Ok(_) | Err(DatagramError::Truncated(_)) => {}
                        Err(error) => return Err(Failure::from(error)),
                    }
                }
            };
            match time::timeout(ECHO_LIMIT, echo).await {
                Ok(result) => result?,
                Err(time::TimedOut) => lost += 1,
            }
        }
        let nanos = since(start);
        Ok(alloc::format!("rounds={rounds} lost={lost} ns={nanos}"))
    }
}

impl Bench {
    /// Sends `total` bytes of the pattern, or until the next stop, and then a FIN.
    async fn send(
        &self,
        sink: &mut WriteHalf,
        pattern: &[u8],
        write: usize,
        total: u64,
        pause: Duration,
        sent: &Cell<u64>,
    ) -> Result<(), Failure> {
        let stops = self.state.stops.get();
        while sent.get() < total && self.state.stops.get() == stops {
            let len = (total - sent.get()).min(write as u64) as usize;
            let at = (sent.get() % PERIOD as u64) as usize;
            // Counted first, because the echo may arrive before the write returns.
            sent.set(sent.get() + len as u64);
            sink.write_all(&pattern[at..at + len]).await?;
            if !pause.is_zero() {
                time::sleep(pause).await;
            }
        }
        sink.shutdown();
        Ok(())
    }

    /// Compares what comes back, up to its end; returns the longest time without any.
    async fn compare(
        &self,
        read: &mut ReadHalf,
        pattern: &[u8],
        sent: &Cell<u64>,
    ) -> Result<Duration, Failure> {
        let mut buffer = vec![0; CHUNK];
        let mut offset = 0;
        let mut last = time::now();
        let mut gap = Duration::ZERO;
        loop {
            let len = read.read(&mut buffer).await?;
            let now = time::now();
            gap = gap.max(now.saturating_duration_since(last));
            last = now;
            match len {
                0 if offset == sent.get() => return Ok(gap),
                0 => return Err(Failure::EndedAt(offset)),
                _ => {}
            }
            let at = (offset % PERIOD as u64) as usize;
            if buffer[..len] != pattern[at..at + len] {
                let good = buffer[..len].iter().zip(&pattern[at..]);
                let good = good.take_while(|(got, sent)| got == sent).count();
                return Err(Failure::CorruptAt(offset + good as u64));
            }
            offset += len as u64;
            self.state.flow.add(len);
            if offset > sent.get() {
                return Err(Failure::Surplus(sent.get()));
            }
        }
    }
}
