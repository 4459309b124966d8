//! UDP requests to an echo server, one after the other, until stopped.
//!
//! UDP may lose, so a request without an answer is sent again; only one that is never answered
//! counts as lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::deadline::Deadline;
use crate::net::datagram::socket;
use crate::net::pattern::Pattern;

/// How long to wait for an answer before the request is sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(10);

/// How long one request is repeated: longer than any suspend in the lab.
const GIVE_UP: Duration = Duration::from_secs(60);

/// The most that fits an MTU of 1500 over IPv4.
const LARGEST_BYTES: usize = 1472;

/// A running client.
#[derive(Debug)]
pub struct Requests {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    client: JoinHandle<Result<Sums>>,
}

/// The sums of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests that were answered, each with its own bytes.
    pub answered: u64,
    /// Datagrams that had to be sent again.
    pub repeated: u64,
}

impl Requests {
    /// Starts to send requests to `server`, always from the same port.
    pub fn start(server: SocketAddr, seed: u64) -> Result<Self> {
        let socket = socket(server)?;
        socket.set_read_timeout(Some(AGAIN))?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let client = thread::spawn({
            let (stop, answered) = (stop.clone(), answered.clone());
            move || {
                let mut sums = Sums::default();
                let mut sizes = fastrand::Rng::with_seed(seed);
                let mut number = 0_u64;
                while !stop.load(Ordering::Acquire) {
                    let size = sizes.usize(8..=LARGEST_BYTES);
                    let request = datagram(number, size, seed);
                    sums.repeated += ask(&socket, &request, seed)
                        .with_context(|| format!("request {number} of {size} bytes"))?;
                    number += 1;
                    sums.answered = number;
                    answered.store(number, Ordering::Release);
                    sleep(PAUSE);
                }
                Ok(sums)
            }
        });
        Ok(Self {
            stop,
            answered,
            client,
        })
    }

    /// Waits until a request made from now on is answered.
    pub fn flows(&self, deadline: Deadline) -> Result<()> {
        // The request under way may have been answered before.
        let beyond = self.answered.load(Ordering::Acquire) + 1;
        deadline.poll(Duration::from_millis(20), "an answer by UDP", || {
            if self.client.is_finished() {
                bail!("the UDP client has given up");
            }
            Ok((self.answered.load(Ordering::Acquire) > beyond).then_some(()))
        })
    }

    /// Stops after the request under way is answered. A request that was never answered is an
    /// error, and so is an answer with other bytes.
    pub fn stop(self) -> Result<Sums> {
        self.stop.store(true, Ordering::Release);
        self.client
            .join()
            .map_err(|_| anyhow!("the UDP client panicked"))?
    }
}

/// Makes a datagram from its number, which it begins with.
fn datagram(number: u64, size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Pattern::new(seed ^ number).fill(&mut bytes[8..]);
    bytes
}

/// Sends `request` until it is answered; returns how often it was repeated.
fn ask(socket: &std::net::UdpSocket, request: &[u8], seed: u64) -> Result<u64> {
    let deadline = Deadline::after(GIVE_UP);
    let mut back = vec![0; 65536];
    let mut repeated = 0;
    loop {
        // While the guest is away, its address may be unreachable for a moment.
        let sent = socket.send(request);
        loop {
            match socket.recv(&mut back) {
                Ok(count) if back[..count] == *request => return Ok(repeated),
                // A second answer to an earlier request is fine.
                Ok(count) => old_answer(&back[..count], request, seed)?,
                Err(_) => break,
            }
        }
        if deadline.passed() {
            bail!("no answer in {} s ({sent:?})", GIVE_UP.as_secs());
        }
        repeated += 1;
        if sent.is_err() {
            sleep(AGAIN);
        }
    }
}

/// Fails unless `back` is the whole answer to a request before `request`.
fn old_answer(back: &[u8], request: &[u8], seed: u64) -> Result<()> {
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?));
    match (number(back), number(request)) {
        (Some(old), Some(new)) if old < new && back == datagram(old, back.len(), seed) => Ok(()),
        _ => bail!("{} bytes came back as {} others", request.len(), back.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::Requests;
    use crate::deadline::Deadline;
    use std::net::{SocketAddr, UdpSocket};
    use std::thread;

    /// A server that answers the n-th datagram so many times, after `bend`.
    fn server(times: fn(u64) -> u32, bend: fn(u64, &mut [u8])) -> SocketAddr {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("its address");
        thread::spawn(move || {
            let mut buffer = [0; 2000];
            for number in 0.. {
                let Ok((count, from)) = server.recv_from(&mut buffer) else {
                    return;
                };
                bend(number, &mut buffer[..count]);
                for _ in 0..times(number) {
                    let _ = server.send_to(&buffer[..count], from);
                }
            }
        });
        address
    }

    #[test]
    fn losses_are_repeated_and_doubles_accepted() {
        let times = |number| match number {
            2 => 0,
            4 => 2,
            _ => 1,
        };
        let client = Requests::start(server(times, |_, _| {}), 1).expect("started");
        while client.answered.load(std::sync::atomic::Ordering::Acquire) < 6 {
            client.flows(Deadline::seconds(60)).expect("answers come");
        }
        let sums = client.stop().expect("all answered");
        assert!(sums.answered >= 6);
        assert_eq!(sums.repeated, 1);
    }

    #[test]
    fn a_changed_answer_is_an_error() {
        let bend = |number, bytes: &mut [u8]| {
            if number == 3 {
                bytes[7] ^= 0x40;
            }
        };
        let client = Requests::start(server(|_| 1, bend), 1).expect("started");
        client.flows(Deadline::seconds(60)).ok();
        while !client.client.is_finished() {
            thread::yield_now();
        }
        assert!(client.stop().is_err());
    }
}
