//! Two guests, the datagrams between them, and one connection.

use std::net::{IpAddr, SocketAddr};

use sim::endpoint::Socket;
use sim::tcp::{Connection, Path, Shared};
use sim::xen::{Clock, Dom, Host, Limits, SharedHost};
use vmc::{Config, ConnKey, FourTuple, LinkCounters, Output, Received, StreamEnd, Tcp, Uuid, Vmc};

/// TCP without delay, with buffers of 1000 bytes.
const PATH: Path = Path {
    delay: 0,
    loss: 0,
    buffer: 1000,
};

/// Opens a TCP connection between the two guests.
pub(super) fn established(now: u64) -> Shared {
    let tcp = Connection::open(PATH, 1, now);
    // SYN and SYN-ACK arrive in the first round, the ACK in the second.
    tcp.borrow_mut().advance(now);
    tcp.borrow_mut().advance(now);
    assert!(tcp.borrow().is_established(0) && tcp.borrow().is_established(1));
    tcp
}

pub(super) struct Guest {
    pub(super) vmc: Vmc<Dom>,
    pub(super) address: IpAddr,
    pub(super) conn: Option<ConnKey>,
    /// What the channel has asked for since [`Pair::take_outputs`].
    pub(super) outputs: Vec<Output>,
}

pub(super) struct Pair {
    pub(super) host: SharedHost,
    pub(super) clock: Clock,
    pub(super) guests: [Guest; 2],
    /// The connection's TCP; guest 0 is its client.
    pub(super) tcp: Shared,
    /// Whether datagrams get lost.
    pub(super) deaf: bool,
}

pub(super) fn config(number: u8) -> Config {
    Config {
        uuid: Uuid([number; 16]),
        max_peers: 4,
        max_rings: 8,
        largest_ring: 64 * 1024,
        memory: 1 << 20,
        peer_timeout: 600_000_000_000,
    }
}

impl Pair {
    pub(super) fn new() -> Self {
        let host = Host::new(1);
        let clock = Clock::default();
        clock.set(1);
        let guests = [1, 2].map(|number| {
            let address = IpAddr::from([10, 0, 0, number]);
            let mut vmc = Vmc::new(Dom::boot(&host, &clock, number.into()), config(number));
            vmc.set_addresses(&[address]);
            Guest {
                vmc,
                address,
                conn: None,
                outputs: Vec::new(),
            }
        });
        Self {
            host,
            tcp: established(clock.get()),
            clock,
            guests,
            deaf: false,
        }
    }

    /// Returns a pair with a link, and one connection on it.
    pub(super) fn linked() -> Self {
        let mut pair = Self::new();
        pair.greet(0);
        pair.run();
        pair.connect();
        pair
    }

    /// Has both channels track the connection.
    pub(super) fn connect(&mut self) {
        for at in 0..2 {
            let tuple = FourTuple {
                local: SocketAddr::new(self.guests[at].address, 100 + at as u16),
                remote: SocketAddr::new(self.guests[1 - at].address, 101 - at as u16),
            };
            self.guests[at].conn = self.guests[at].vmc.track(tuple, 0, 0, false);
        }
    }

    /// Replaces the connection with a new one of the same four-tuple.
    pub(super) fn reconnect(&mut self) {
        for guest in &mut self.guests {
            if let Some(conn) = guest.conn.take() {
                guest.vmc.forget(conn);
            }
        }
        self.tcp = established(self.clock.get());
        self.connect();
    }

    pub(super) fn conn(&self, at: usize) -> ConnKey {
        self.guests[at].conn.expect("tracked")
    }

    /// Advances the clock by `nanos` without running a guest.
    pub(super) fn wait(&self, nanos: u64) {
        self.clock.set(self.clock.get() + nanos);
    }

    /// Calls guest `at` with its end of the connection.
    fn with<R>(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut Vmc<Dom>, ConnKey, &mut Socket<'_>) -> R,
    ) -> R {
        let (conn, now) = (self.conn(at), self.clock.get());
        self.tcp.borrow_mut().advance(now);
        let result = call(
            &mut self.guests[at].vmc,
            conn,
            &mut Socket::new(&self.tcp, at, now),
        );
        self.tcp.borrow_mut().advance(now);
        result
    }

    /// Runs one turn of a guest; returns whether something happened.
    pub(super) fn turn(&mut self, at: usize) -> bool {
        let guest = &mut self.guests[at];
        let rung: Vec<_> = guest
            .vmc
            .links()
            .filter_map(|(link, port)| port.take_pending().then_some(link))
            .collect();
        let mut busy = !rung.is_empty();
        for link in rung {
            guest.vmc.event(link);
        }
        guest.vmc.poll();
        let mut datagrams = Vec::new();
        while let Some(output) = self.guests[at].vmc.output() {
            busy = true;
            match &output {
                Output::Datagram { pair, bytes } => datagrams.push((*pair, bytes.clone())),
                Output::Service(_) => self.advance(at),
                Output::Failed(_) => self.with(at, |_, _, tcp| tcp.abort()),
                _ => {}
            }
            self.guests[at].outputs.push(output);
        }
        let before = self.notifications();
        self.guests[at].vmc.flush();
        busy |= self.notifications() != before;
        if !self.deaf {
            for (pair, bytes) in datagrams {
                // It takes what is for one of its addresses.
                self.guests[1 - at].vmc.datagram(pair.flipped(), &bytes);
            }
        }
        busy
    }

    /// Runs turns until nothing happens.
    pub(super) fn run(&mut self) {
        for _ in 0..1000 {
            if !(self.turn(0) | self.turn(1)) {
                return;
            }
        }
        panic!("the guests do not come to rest");
    }

    /// Runs both guests for `nanos`, from timer to timer.
    pub(super) fn pass(&mut self, nanos: u64) {
        let end = self.clock.get() + nanos;
        loop {
            self.run();
            let deadlines = self.guests.iter();
            let next = deadlines.filter_map(|guest| guest.vmc.deadline()).min();
            match next {
                Some(at) if at.0 <= end => {
                    assert!(at.0 > self.clock.get(), "a timer is not cleared");
                    self.clock.set(at.0);
                }
                _ => break,
            }
        }
        self.clock.set(end);
        self.run();
    }

    /// The same for guest `at` alone: the other gets no turns.
    pub(super) fn pass_alone(&mut self, at: usize, nanos: u64) {
        let end = self.clock.get() + nanos;
        while let Some(due) = self.guests[at].vmc.deadline().filter(|due| due.0 <= end) {
            self.clock.set(due.0);
            self.turn(at);
        }
        self.clock.set(end);
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) -> Result<usize, StreamEnd> {
        self.with(at, |vmc, conn, tcp| vmc.write(conn, tcp, bytes))
    }

    pub(super) fn finish(&mut self, at: usize) {
        self.with(at, |vmc, conn, tcp| vmc.finish(conn, tcp));
    }

    pub(super) fn advance(&mut self, at: usize) {
        self.with(at, |vmc, conn, tcp| vmc.service(conn, tcp));
    }

    pub(super) fn read(&mut self, at: usize, len: usize) -> Result<Received, StreamEnd> {
        self.read_into(at, &mut vec![0; len])
    }

    pub(super) fn read_into(&mut self, at: usize, into: &mut [u8]) -> Result<Received, StreamEnd> {
        self.with(at, |vmc, conn, tcp| vmc.read(conn, tcp, into))
    }

    /// Reads everything that has arrived; returns it, and whether the stream
    /// ended.
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
        std::mem::take(&mut self.guests[at].outputs)
    }

    /// Returns the bytes at offsets `from` to `from + len` of a stream.
    pub(super) fn pattern(from: usize, len: usize) -> Vec<u8> {
        (from..from + len)
            .map(|at| (at % 251) as u8 ^ (at / 251) as u8)
            .collect()
    }

    /// Sends `len` bytes from guest `at`, from offset `from` on, to the other
    /// guest, which reads at once; returns what it read.
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
            self.advance(at);
            self.run();
            got.extend(self.read_all(1 - at).0);
            if got.len() == len {
                return got;
            }
        }
        panic!("{} of {len} bytes", got.len());
    }

    /// Returns how many bytes guest `at` has put into TCP.
    pub(super) fn sent_by_tcp(&self, at: usize) -> u64 {
        self.tcp.borrow().offsets(at).0
    }

    /// Whether guest `at` has closed its direction of TCP.
    pub(super) fn is_closed(&self, at: usize) -> bool {
        self.tcp.borrow().is_closed(at)
    }

    /// Returns how many notifications were sent on this host so far.
    pub(super) fn notifications(&self) -> u64 {
        self.host.borrow().notifications
    }

    /// Returns the counters of guest `at`'s link.
    pub(super) fn link(&self, at: usize) -> LinkCounters {
        let mut links = self.guests[at].vmc.report().links();
        links.next().expect("a link").1.counters
    }

    /// Returns guest `at`'s address and the other's.
    pub(super) const fn link_of(&self, at: usize) -> vmc::Pair {
        vmc::Pair {
            local: self.guests[at].address,
            remote: self.guests[1 - at].address,
        }
    }

    /// Returns what guest `at` knows of the other.
    pub(super) fn peer(&self, at: usize) -> vmc::PeerState {
        self.guests[at].vmc.peer(self.link_of(at))
    }

    /// Tells the channel of guest `at`, a new one, its address.
    pub(super) fn name(&mut self, at: usize) {
        let guest = &mut self.guests[at];
        guest.vmc.set_addresses(&[guest.address]);
    }

    /// Guest `at` sends HELLO to the other.
    pub(super) fn greet(&mut self, at: usize) {
        let link = self.link_of(at);
        self.guests[at].vmc.greet(link);
    }

    /// Returns how many pages the two grant, quarantined ones included, and how
    /// many ports they have.
    pub(super) fn holdings(&self) -> (usize, usize) {
        let all = self.guests.iter();
        let all = all.map(|guest| guest.vmc.platform().holdings());
        all.fold((0, 0), |(pages, ports), holds| {
            (
                pages + holds.grants + holds.quarantined,
                ports + holds.ports,
            )
        })
    }

    /// Lets guest `at` map no more than it maps now.
    pub(super) fn refuse_maps(&mut self, at: usize) {
        let dom = self.guests[at].vmc.platform_mut();
        let maps = dom.holdings().maps;
        dom.limit(Limits {
            maps,
            ..Limits::NONE
        });
    }
}
