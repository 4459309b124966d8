//! HELLOs from dom0: under its own address, and under those of others.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use labkit::addresses::{DOM0, ipv4, mac};
use labkit::bench::Bench;
use labkit::channel::ChannelStatus;
use labkit::net::frame::Link;
use labkit::net::hello::{Hello, is_challenge};
use labkit::net::raw::{Raw, link_to};
use labkit::{Deadline, Domain};

use super::tally::Tally;
use super::{ATTACKER, FRIEND, NEWCOMER, VICTIM};

/// The channel's port.
const PORT: u16 = 22605;

/// CHALLENGEs that one source gets at once, and each second (docs/protocol.md, "Discovery and proof").
const AT_ONCE: u64 = 32;
const A_SECOND: u64 = 100;

/// How long to wait for an answer.
const ANSWER: Duration = Duration::from_millis(300);

/// Sends HELLOs from dom0's own address: it gets CHALLENGEs, up to a rate, and none for what comes
/// from another port or goes to everybody.
pub(super) fn own_address(victim: Ipv4Addr) -> Result<String> {
    const HELLOS: u64 = 400;
    let begin = Instant::now();
    let socket = socket(PORT)?;
    let mut answers = 0;
    for number in 0..HELLOS {
        let hello = hello(0, number).encode();
        socket.send_to(&hello, (victim, PORT))?;
        if number % 8 == 7 {
            // The guest's queue is short: what it drops tests nothing.
            answers += count(&socket, Duration::from_millis(5), hello.len())?;
        }
    }
    answers += count(&socket, ANSWER, 64)?;
    let most = AT_ONCE + 1 + A_SECOND * (begin.elapsed().as_millis() as u64 + 1000) / 1000;
    if answers == 0 || answers > most {
        bail!("{answers} CHALLENGEs for {HELLOS} HELLOs, of {most} at most");
    }
    thread::sleep(Duration::from_secs(1));
    socket.set_broadcast(true)?;
    let other = self::socket(0)?;
    for number in 0..50 {
        let hello = hello(0, number).encode();
        for everybody in [Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(224, 0, 0, 1)] {
            socket.send_to(&hello, (everybody, PORT))?;
        }
        other.send_to(&hello, (victim, PORT))?;
    }
    let wrong = count(&socket, ANSWER, 64)? + count(&other, ANSWER, 64)?;
    if wrong > 0 {
        bail!("{wrong} answers to everybody, or to another port");
    }
    Ok(format!("{answers} CHALLENGEs for {HELLOS} HELLOs of dom0"))
}

fn socket(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((DOM0, port)));
    socket.with_context(|| format!("UDP port {port} of dom0"))
}

/// Returns how many CHALLENGEs come within `patience` of the last one.
fn count(socket: &UdpSocket, patience: Duration, most_bytes: usize) -> Result<u64> {
    socket.set_read_timeout(Some(patience))?;
    let mut buffer = [0; 2048];
    let mut answers = 0;
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((len, _)) if len <= most_bytes && is_challenge(&buffer[..len]) => answers += 1,
            Ok((len, from)) => bail!("{len} bytes from {from} answer a HELLO"),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(answers);
            }
            Err(error) => return Err(error).context("waiting for answers"),
        }
    }
}

/// Returns HELLO number `number` of a domain, without a cookie or with one that is wrong.
fn hello(domid: u16, number: u64) -> Hello {
    let secret = (u128::from(number) << 64 | u128::from(domid) | 1 << 32).to_be_bytes();
    Hello {
        domid,
        uuid: secret,
        nonce: secret,
        cookie: if number.is_multiple_of(2) {
            [0; 16]
        } else {
            secret
        },
    }
}

/// HELLOs under addresses of others, without end.
pub(super) struct Storm {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
    /// What the victim had received before.
    datagrams: u64,
}

impl Storm {
    pub(super) fn start(victim: &Domain, friend: &Bench) -> Result<Self> {
        let raw = Raw::open(&victim.vif()?)?;
        let link = link_to(VICTIM)?;
        let friend = friend.domain.running()?.id as u16;
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let datagrams = ChannelStatus::of(victim)?.of_datagrams()?;
        let (flag, counter) = (stop.clone(), sent.clone());
        let thread = thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                raw.send(&frame(link, friend, number), Deadline::seconds(5))?;
                if number % 4 == 3 {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            Ok(())
        });
        Ok(Self {
            stop,
            sent,
            thread,
            datagrams,
        })
    }

    /// Fails if the victim holds anything for what was sent so far, or has not received it.
    pub(super) fn holds_nothing(&self, victim: &Domain, first: &Tally) -> Result<()> {
        let what = "the victim holds nothing for forged HELLOs";
        Deadline::seconds(10).poll(Duration::from_millis(200), what, || {
            let status = ChannelStatus::of(victim)?;
            let is_idle = ["granted", "mapped"]
                .into_iter()
                .all(|name| status.of_all(name).ok() == first.status.of_all(name).ok());
            let received = status.of_datagrams()? - self.datagrams;
            Ok((is_idle && received > 200).then_some(()))
        })
    }

    /// Ends it; says how much there was.
    pub(super) fn end(self) -> Result<String> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the storm panicked"))??;
        let sent = self.sent.load(Ordering::Relaxed);
        Ok(format!("{sent} HELLOs under addresses of others"))
    }
}

/// Returns a HELLO from somebody else: from an address that nobody has, from honest guests, from the
/// attacker and from dom0; some to everybody.
fn frame(link: Link, friend: u16, number: u64) -> Vec<u8> {
    let unused = ipv4(100 + (number / 8 % 100) as u8);
    let (from, domid) = match number % 8 {
        0 => (ipv4(FRIEND), friend),
        1 => (ipv4(NEWCOMER), friend + 2),
        2 => (ipv4(ATTACKER), friend + 1),
        3 => (DOM0, 0),
        _ => (unused, friend),
    };
    let link = Link {
        from: mac(from.octets()[3]),
        ..link
    };
    let hello = hello(domid, number);
    match number % 16 {
        6 => hello.frame(to([0xff; 6], link), from, Ipv4Addr::new(10, 0, 0, 255)),
        7 => hello.frame(to([0xff; 6], link), from, Ipv4Addr::BROADCAST),
        14 => {
            let group = Ipv4Addr::new(224, 0, 0, 1);
            hello.frame(to([1, 0, 0x5e, 0, 0, 1], link), from, group)
        }
        _ => hello.frame(link, from, ipv4(VICTIM)),
    }
}

const fn to(mac: [u8; 6], link: Link) -> Link {
    Link { to: mac, ..link }
}
