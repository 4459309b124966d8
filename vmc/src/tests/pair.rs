//! Two guests, the datagrams between them, and one connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use super::world::{Dom, Host};
use crate::{Config, ConnId, FourTuple, Mode, Output, Received, StreamEnd, Tcp, Uuid, Vmc};

/// One direction of TCP.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    fin: bool,
    reset: bool,
}

const WINDOW: usize = 1000;

/// One end of a TCP connection.
pub(super) struct FakeTcp {
    out: Rc<RefCell<Pipe>>,
    inward: Rc<RefCell<Pipe>>,
    pub(super) sent: usize,
}

impl FakeTcp {
    fn pair() -> (Self, Self) {
        let (one, other) = (
            Rc::<RefCell<Pipe>>::default(),
            Rc::<RefCell<Pipe>>::default(),
        );
        let end = |out: &Rc<RefCell<Pipe>>, inward: &Rc<RefCell<Pipe>>| Self {
            out: out.clone(),
            inward: inward.clone(),
            sent: 0,
        };
        (end(&one, &other), end(&other, &one))
    }

    /// One whose other end nobody has.
    pub(super) fn unconnected() -> Self {
        Self::pair().0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.out.borrow().fin
    }
}

impl Tcp for FakeTcp {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, StreamEnd> {
        let mut out = self.out.borrow_mut();
        if out.reset || out.fin || self.inward.borrow().reset {
            return Err(StreamEnd::Tcp);
        }
        let count = bytes.len().min(WINDOW - out.bytes.len());
        out.bytes.extend(&bytes[..count]);
        self.sent += count;
        Ok(count)
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<Received, StreamEnd> {
        let mut inward = self.inward.borrow_mut();
        if inward.reset || self.out.borrow().reset {
            return Err(StreamEnd::Tcp);
        }
        let count = into.len().min(inward.bytes.len());
        for byte in &mut into[..count] {
            *byte = inward.bytes.pop_front().expect("counted");
        }
        Ok(match count {
            0 if inward.fin && inward.bytes.is_empty() => Received::Finished,
            0 => Received::Nothing,
            count => Received::Bytes(count),
        })
    }

    fn close(&mut self) {
        self.out.borrow_mut().fin = true;
    }

    fn abort(&mut self) {
        self.out.borrow_mut().reset = true;
    }
}

pub(super) struct Guest {
    pub(super) vmc: Vmc<Dom>,
    pub(super) address: IpAddr,
    pub(super) conn: Option<ConnId>,
    pub(super) tcp: FakeTcp,
    pub(super) outputs: Vec<Output>,
}

pub(super) struct Pair {
    pub(super) host: Rc<Host>,
    pub(super) guests: [Guest; 2],
    /// Datagrams are lost.
    pub(super) deaf: bool,
}

pub(super) fn config(number: u8) -> Config {
    Config {
        uuid: Uuid([number; 16]),
        mode: Mode::Original,
        max_peers: 4,
        max_rings: 8,
        largest_ring: 64 * 1024,
        memory: 1 << 20,
    }
}

impl Pair {
    pub(super) fn new() -> Self {
        let host = Rc::new(Host::default());
        host.clock.set(1);
        let (one, other) = FakeTcp::pair();
        let guest = |number: u8, tcp| Guest {
            vmc: Vmc::new(host.dom(u16::from(number)), config(number)),
            address: IpAddr::from([10, 0, 0, number]),
            conn: None,
            tcp,
            outputs: Vec::new(),
        };
        let guests = [guest(1, one), guest(2, other)];
        Self {
            host,
            guests,
            deaf: false,
        }
    }

    /// With a link, and one connection on it.
    pub(super) fn linked() -> Self {
        let mut pair = Self::new();
        let to = pair.guests[1].address;
        pair.guests[0].vmc.greet(to);
        pair.run();
        pair.connect();
        pair
    }

    pub(super) fn connect(&mut self) {
        for at in 0..2 {
            let tuple = FourTuple {
                local: SocketAddr::new(self.guests[at].address, 100 + at as u16),
                remote: SocketAddr::new(self.guests[1 - at].address, 101 - at as u16),
            };
            self.guests[at].conn = self.guests[at].vmc.track(tuple, 0, 0);
        }
    }

    pub(super) fn reconnect(&mut self) {
        for guest in &mut self.guests {
            if let Some(conn) = guest.conn.take() {
                guest.vmc.forget(conn);
            }
        }
        let (one, other) = FakeTcp::pair();
        self.guests[0].tcp = one;
        self.guests[1].tcp = other;
        self.connect();
    }

    pub(super) fn conn(&self, at: usize) -> ConnId {
        self.guests[at].conn.expect("tracked")
    }

    /// One turn of a guest; true where something happened.
    pub(super) fn turn(&mut self, at: usize) -> bool {
        let guest = &mut self.guests[at];
        let rung: Vec<_> = guest
            .vmc
            .links()
            .filter(|(_, port)| port.take_pending())
            .collect();
        let rung: Vec<_> = rung.into_iter().map(|(link, _)| link).collect();
        let mut busy = !rung.is_empty();
        for link in rung {
            guest.vmc.event(link);
        }
        guest.vmc.poll();
        let mut datagrams = Vec::new();
        while let Some(output) = guest.vmc.output() {
            busy = true;
            match &output {
                Output::Datagram { to, bytes } => datagrams.push((*to, bytes.clone())),
                Output::Advance(conn) => guest.vmc.advance(*conn, &mut guest.tcp),
                Output::Failed(_) => guest.tcp.abort(),
                _ => {}
            }
            guest.outputs.push(output);
        }
        let before = self.host.notifications.get();
        guest.vmc.flush();
        busy |= self.host.notifications.get() != before;
        let from = guest.address;
        if !self.deaf {
            for (to, bytes) in datagrams {
                let to = self.guests.iter_mut().find(|guest| guest.address == to);
                if let Some(to) = to {
                    to.vmc.datagram(from, &bytes);
                }
            }
        }
        busy
    }

    /// Turns until nothing happens.
    pub(super) fn run(&mut self) {
        for _ in 0..1000 {
            if !(self.turn(0) | self.turn(1)) {
                return;
            }
        }
        panic!("the guests do not come to rest");
    }

    /// The clock goes on to the next timer, or by `nanos` if that is sooner.
    pub(super) fn pass(&mut self, nanos: u64) {
        let end = self.host.clock.get() + nanos;
        loop {
            self.run();
            let next = self
                .guests
                .iter()
                .filter_map(|guest| guest.vmc.deadline())
                .min();
            match next {
                Some(at) if at.0 <= end => {
                    assert!(at.0 > self.host.clock.get(), "a timer is not cleared");
                    self.host.clock.set(at.0);
                }
                _ => break,
            }
        }
        self.host.clock.set(end);
        self.run();
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) -> Result<usize, StreamEnd> {
        let conn = self.conn(at);
        let guest = &mut self.guests[at];
        guest.vmc.write(conn, &mut guest.tcp, bytes)
    }

    pub(super) fn finish(&mut self, at: usize) {
        let conn = self.conn(at);
        let guest = &mut self.guests[at];
        guest.vmc.finish(conn, &mut guest.tcp);
    }

    pub(super) fn read(&mut self, at: usize, len: usize) -> Result<Received, StreamEnd> {
        let mut into = vec![0; len];
        self.read_into(at, &mut into)
    }

    pub(super) fn read_into(&mut self, at: usize, into: &mut [u8]) -> Result<Received, StreamEnd> {
        let conn = self.conn(at);
        let guest = &mut self.guests[at];
        guest.vmc.read(conn, &mut guest.tcp, into)
    }

    /// Everything that can be read now, and whether the end was reached.
    pub(super) fn read_all(&mut self, at: usize) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        let mut into = [0; 777];
        loop {
            match self.read_into(at, &mut into).expect("no failure") {
                Received::Bytes(count) => all.extend_from_slice(&into[..count]),
                Received::Nothing => return (all, false),
                Received::Finished => return (all, true),
            }
        }
    }

    pub(super) fn take_outputs(&mut self, at: usize) -> Vec<Output> {
        core::mem::take(&mut self.guests[at].outputs)
    }

    /// Bytes that differ by their offset.
    pub(super) fn pattern(from: usize, len: usize) -> Vec<u8> {
        (from..from + len)
            .map(|at| (at % 251) as u8 ^ (at / 251) as u8)
            .collect()
    }

    /// Sends `len` bytes from guest `at` on, from offset `from`, read by the
    /// other at once; returns what came.
    pub(super) fn pump(&mut self, at: usize, from: usize, len: usize) -> Vec<u8> {
        let bytes = Self::pattern(from, len);
        let (mut sent, mut got) = (0, Vec::new());
        for _ in 0..100_000 {
            while sent < len {
                match self.write(at, &bytes[sent..]).expect("no failure") {
                    0 => break,
                    count => sent += count,
                }
            }
            let conn = self.conn(at);
            let guest = &mut self.guests[at];
            guest.vmc.advance(conn, &mut guest.tcp);
            self.run();
            got.extend(self.read_all(1 - at).0);
            if got.len() == len {
                return got;
            }
        }
        panic!("{} of {len} bytes", got.len());
    }
}
