//! Two guests, each of which can be run in the middle of a call of the other.

use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use sim::endpoint::Socket;
use sim::tcp::Shared;
use sim::xen::{Clock, Dom, Elsewhere, Host, SharedHost, during};
use vmc::{ConnKey, FourTuple, LeaveReason, Output, Pair, Received, StreamEnd, Vmc};

use super::pair::{config, established};

const MILLISECOND: u64 = 1_000_000;

/// Connections between the two.
const CONNECTIONS: usize = 2;

/// One thing that a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Its events, its timers, what the channel asks for, its notifications.
    Turn,
    /// Writes to a connection.
    Write(usize, usize),
    /// Reads from a connection, until it has this many bytes or there are no more.
    Read(usize, usize),
    /// Writes no more to a connection.
    Finish(usize),
    /// Hears that it is to migrate.
    Notice,
    /// Hears that it is not.
    Withdraw,
    /// Leaves its links.
    Leave,
    /// Is suspended.
    Freeze,
    /// Goes on after a suspend.
    Renew(Onward),
}

/// One end of a connection.
struct End {
    key: ConnKey,
    tcp: Shared,
    written: usize,
    read: usize,
    is_finished: bool,
    has_ended: bool,
}

/// One guest.
pub(super) struct Side {
    number: usize,
    pub(super) vmc: Vmc<Dom>,
    address: IpAddr,
    clock: Clock,
    hosts: [SharedHost; 2],
    ends: Vec<End>,
    /// Datagrams that the network has not taken yet.
    sent: Vec<Vec<u8>>,
    is_frozen: bool,
    has_notice: bool,
    has_left: bool,
    /// What was wrong first.
    wrong: Option<String>,
    /// The connection, and where its bytes were wrong first.
    mixed_up: Option<(usize, usize)>,
}

/// How a suspended guest goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onward {
    /// In the old domain.
    Cancelled,
    /// On this machine.
    To(usize),
}

/// Two guests of one host, and the way to it.
pub(super) struct Two {
    pub(super) sides: [Rc<RefCell<Side>>; 2],
    clock: Clock,
}

/// Returns the byte at `offset` of what `from` writes to a connection.
fn byte(from: usize, conn: usize, offset: usize) -> u8 {
    let stream = (2 * conn + from + 1) * 0x9e37;
    ((offset ^ stream).wrapping_mul(0x9e37_79b1) >> 13) as u8
}

impl Side {
    fn note(&mut self, what: impl fmt::Display) {
        let number = self.number;
        self.wrong
            .get_or_insert_with(|| format!("{number}: {what}"));
    }

    /// Calls the channel with one end of a connection.
    fn with<R>(
        &mut self,
        conn: usize,
        call: impl FnOnce(&mut Vmc<Dom>, ConnKey, &mut Socket<'_>) -> R,
    ) -> R {
        let now = self.clock.get();
        let End { key, tcp, .. } = &self.ends[conn];
        tcp.borrow_mut().advance(now);
        let mut socket = Socket::new(tcp, self.number, now);
        let result = call(&mut self.vmc, *key, &mut socket);
        tcp.borrow_mut().advance(now);
        result
    }

    pub(super) fn run(&mut self, step: Step) {
        match step {
            Step::Renew(onward) if self.is_frozen => self.renew(onward),
            Step::Renew(_) => {}
            _ if self.is_frozen => {}
            Step::Turn => self.turn(),
            Step::Write(conn, len) => self.write(conn, len),
            Step::Read(conn, len) => self.read(conn, len),
            Step::Finish(conn) => {
                self.ends[conn].is_finished = true;
                self.with(conn, |vmc, key, tcp| vmc.finish(key, tcp));
            }
            Step::Notice if !self.has_left => {
                self.has_notice = true;
                self.vmc.early_notice();
            }
            Step::Withdraw if self.has_notice && !self.has_left => {
                self.has_notice = false;
                self.vmc.withdraw_notice();
            }
            Step::Leave => {
                self.has_left = true;
                self.vmc.leave(LeaveReason::Migrating);
            }
            Step::Notice | Step::Withdraw => {}
            Step::Freeze => {
                self.vmc.platform_mut().begin_last_round();
                self.vmc.freeze();
                self.vmc.platform_mut().suspend();
                self.is_frozen = true;
                for end in &self.ends {
                    end.tcp.borrow_mut().is_away[self.number] = true;
                }
            }
        }
    }

    fn turn(&mut self) {
        let links = self.vmc.links();
        let rung = links.filter_map(|(link, port)| port.take_pending().then_some(link));
        for link in rung.collect::<Vec<_>>() {
            self.vmc.event(link);
        }
        self.vmc.poll();
        self.outputs();
        self.vmc.flush();
    }

    fn outputs(&mut self) {
        while let Some(output) = self.vmc.output() {
            match output {
                Output::Datagram { bytes, .. } => self.sent.push(bytes),
                Output::Service(key) => self.serve(key),
                Output::Failed(key) => {
                    self.note(format_args!("{key:?} was reset"));
                    let conn = self.ends.iter().position(|end| end.key == key);
                    self.with(conn.expect("one of them"), |vmc, key, tcp| {
                        vmc.abort(key, tcp);
                    });
                }
                Output::LinkDown { cause, .. } if cause.is_peer_fault() => {
                    self.note(format_args!("link down: {cause:?}"));
                }
                _ => {}
            }
        }
    }

    fn serve(&mut self, key: ConnKey) {
        let conn = self.ends.iter().position(|end| end.key == key);
        self.with(conn.expect("one of them"), |vmc, key, tcp| {
            vmc.service(key, tcp);
        });
    }

    fn write(&mut self, conn: usize, len: usize) {
        let end = &self.ends[conn];
        if end.is_finished {
            return;
        }
        let offsets = end.written..end.written + len;
        let bytes: Vec<u8> = offsets.map(|at| byte(self.number, conn, at)).collect();
        match self.with(conn, |vmc, key, tcp| vmc.write(key, tcp, &bytes)) {
            Ok(count) => self.ends[conn].written += count,
            Err(end) => self.note(format_args!("write to {conn}: {end}")),
        }
    }

    fn read(&mut self, conn: usize, len: usize) {
        let mut left = len;
        let mut into = [0; 777];
        while left > 0 && !self.ends[conn].has_ended {
            let most = left.min(into.len());
            let result = self.with(conn, |vmc, key, tcp| vmc.read(key, tcp, &mut into[..most]));
            match result {
                Ok(Received::Bytes(count)) => {
                    let start = self.ends[conn].read;
                    let is_right =
                        |(at, found): (usize, &u8)| *found == byte(1 - self.number, conn, at);
                    if !(start..).zip(&into[..count]).all(is_right) {
                        self.note(format_args!("wrong bytes of {conn} from {start} on"));
                        self.mixed_up.get_or_insert((conn, start));
                    }
                    self.ends[conn].read += count;
                    left -= count;
                }
                Ok(Received::Nothing) => return,
                Ok(Received::Finished) => self.ends[conn].has_ended = true,
                Err(StreamEnd::Reset | StreamEnd::Tcp) => {
                    self.note(format_args!("read of {conn} failed"));
                    return;
                }
            }
        }
    }

    fn renew(&mut self, onward: Onward) {
        if let Onward::To(host) = onward {
            self.vmc.platform_mut().migrate(&self.hosts[host]);
        }
        (self.is_frozen, self.has_notice, self.has_left) = (false, false, false);
        for end in &self.ends {
            end.tcp.borrow_mut().is_away[self.number] = false;
        }
        self.vmc.renew();
    }
}

impl Two {
    /// Returns two guests with a link and two connections.
    pub(super) fn linked() -> Self {
        Self::linked_on(&Clock::default())
    }

    /// The same, with a clock that others have, too. It starts anew.
    pub(super) fn linked_on(clock: &Clock) -> Self {
        let hosts = [Host::new(1), Host::new(1)];
        let clock = Clock::clone(clock);
        clock.set(1);
        let sides = [0, 1].map(|number| {
            let dom = Dom::boot(&hosts[0], &clock, number as u64 + 1);
            let address = IpAddr::from([10, 0, 0, number as u8 + 1]);
            let mut vmc = Vmc::new(dom, config(number as u8 + 1));
            vmc.set_addresses(&[address]);
            Rc::new(RefCell::new(Side {
                number,
                vmc,
                address,
                clock: Clock::clone(&clock),
                hosts: hosts.clone(),
                ends: Vec::new(),
                sent: Vec::new(),
                is_frozen: false,
                has_notice: false,
                has_left: false,
                wrong: None,
                mixed_up: None,
            }))
        });
        let mut two = Self { sides, clock };
        let pair = two.pair(0);
        two.sides[0].borrow_mut().vmc.greet(pair);
        two.rest();
        for conn in 0..CONNECTIONS {
            two.connect(conn);
        }
        two
    }

    /// Returns a guest's address and the other's.
    fn pair(&self, number: usize) -> Pair {
        let [local, remote] = [number, 1 - number].map(|of| self.sides[of].borrow().address);
        Pair { local, remote }
    }

    fn connect(&mut self, conn: usize) {
        let tcp = established(self.clock.get());
        let port = 100 + 10 * conn as u16;
        for number in [0, 1] {
            let end = |of: usize| {
                let address = self.sides[of].borrow().address;
                SocketAddr::new(address, port + of as u16)
            };
            let (local, remote) = (end(number), end(1 - number));
            let side = &mut *self.sides[number].borrow_mut();
            let key = side.vmc.track(FourTuple { local, remote }, 0, 0, false);
            side.ends.push(End {
                key: key.expect("room"),
                tcp: Rc::clone(&tcp),
                written: 0,
                read: 0,
                is_finished: false,
                has_ended: false,
            });
        }
    }

    /// A guest does something.
    pub(super) fn run(&mut self, number: usize, step: Step) {
        self.sides[number].borrow_mut().run(step);
        self.deliver();
    }

    /// A guest does something, in the middle of which the other does something else: before the
    /// access of that number. Returns how many the first did not come to.
    pub(super) fn run_during(
        &mut self,
        number: usize,
        step: Step,
        elsewhere: &[(u64, Step)],
    ) -> usize {
        let elsewhere = elsewhere.iter().map(|&(at, step)| -> Elsewhere {
            let other = Rc::clone(&self.sides[1 - number]);
            (at, Box::new(move || other.borrow_mut().run(step)))
        });
        let elsewhere: Vec<_> = elsewhere.collect();
        let ((), left) = during(elsewhere, || self.sides[number].borrow_mut().run(step));
        left
    }

    /// Datagrams arrive, except at a guest that is suspended.
    fn deliver(&mut self) {
        for number in [0, 1] {
            let pair = self.pair(1 - number);
            let sent = std::mem::take(&mut self.sides[number].borrow_mut().sent);
            let to = &mut *self.sides[1 - number].borrow_mut();
            for bytes in sent.iter().filter(|_| !to.is_frozen) {
                to.vmc.datagram(pair, bytes);
            }
        }
    }

    /// Lets time pass, and both have turns.
    pub(super) fn rest(&mut self) {
        for _ in 0..8 {
            self.clock.set(self.clock.get() + MILLISECOND);
            for number in [0, 1] {
                self.run(number, Step::Turn);
            }
        }
    }

    pub(super) fn has_left(&self, number: usize) -> bool {
        self.sides[number].borrow().has_left
    }

    pub(super) fn is_frozen(&self, number: usize) -> bool {
        self.sides[number].borrow().is_frozen
    }

    /// Lets seconds pass.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.set(self.clock.get() + 1000 * MILLISECOND);
            for number in [0, 1] {
                self.run(number, Step::Turn);
            }
        }
    }

    /// The domain of a guest is destroyed.
    pub(super) fn destroy(&mut self, number: usize) {
        let side = &mut *self.sides[number].borrow_mut();
        side.vmc.platform_mut().end();
        side.is_frozen = true;
    }

    /// An image of a destroyed guest, taken when both had done the same, goes on. No
    /// byte has gone by TCP since, so the numbers of its TCP are right.
    pub(super) fn restore(&mut self, number: usize, image: &Self) {
        let restored = Rc::clone(&image.sides[number]);
        let lost = std::mem::replace(&mut self.sides[number], restored);
        let side = &mut *self.sides[number].borrow_mut();
        side.hosts = lost.borrow().hosts.clone();
        for (end, lost) in side.ends.iter_mut().zip(&lost.borrow().ends) {
            end.tcp = Rc::clone(&lost.tcp);
        }
        side.renew(Onward::To(0));
    }

    /// A destroyed guest boots anew, with the same address, and greets the other.
    pub(super) fn reboot(&mut self, number: usize) {
        let pair = self.pair(number);
        let side = &mut *self.sides[number].borrow_mut();
        let dom = Dom::boot(&side.hosts[0], &self.clock, 77);
        side.vmc = Vmc::new(dom, config(number as u8 + 1));
        side.vmc.set_addresses(&[side.address]);
        side.vmc.greet(pair);
        side.ends.clear();
        side.is_frozen = false;
    }

    /// Has both write some more, and read until nothing moves; connections may be reset.
    pub(super) fn see(&mut self) {
        for round in 0..80 {
            self.rest();
            for number in [0, 1] {
                for conn in 0..CONNECTIONS {
                    if !self.is_reset(number, conn) {
                        self.run(number, Step::Read(conn, usize::MAX));
                        let len = if round < 40 { 100 } else { 0 };
                        self.run(number, Step::Write(conn, len));
                        let key = self.sides[number].borrow().ends[conn].key;
                        self.sides[number].borrow_mut().serve(key);
                    }
                }
            }
        }
    }

    /// Whether a connection has failed at a guest.
    pub(super) fn is_reset(&self, number: usize, conn: usize) -> bool {
        let side = self.sides[number].borrow();
        side.ends[conn].tcp.borrow().is_reset(number)
    }

    /// Returns how many bytes a guest has written to a connection, and read.
    pub(super) fn moved(&self, number: usize, conn: usize) -> (usize, usize) {
        let end = &self.sides[number].borrow().ends[conn];
        (end.written, end.read)
    }

    /// Returns how many bytes a guest has put into the TCP of a connection.
    pub(super) fn by_tcp(&self, number: usize, conn: usize) -> u64 {
        self.sides[number].borrow().ends[conn]
            .tcp
            .borrow()
            .offsets(number)
            .0
    }

    /// Checks that no guest has read a byte at a wrong place.
    pub(super) fn check_bytes(&self) {
        for side in &self.sides {
            let side = side.borrow();
            assert_eq!(side.mixed_up, None, "guest {}", side.number);
        }
    }

    /// Runs both until everything has arrived, then sends something more, and ends the
    /// connections.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn conclude(mut self) -> Result<(), String> {
        self.drain()?;
        for number in [0, 1] {
            for conn in 0..CONNECTIONS {
                self.run(number, Step::Write(conn, 500));
            }
        }
        self.drain()?;
        for number in [0, 1] {
            for conn in 0..CONNECTIONS {
                self.run(number, Step::Finish(conn));
            }
        }
        self.drain()?;
        for side in &self.sides {
            let side = side.borrow();
            if !side.ends.iter().all(|end| end.has_ended) {
                return Err(format!("{}: no end", side.number));
            }
            let (statistics, holdings) = (side.vmc.statistics(), side.vmc.platform().holdings());
            let counted = (statistics.granted_pages, statistics.mapped_pages);
            if (holdings.grants, holdings.maps) != counted {
                return Err(format!("{}: {holdings:?} and {counted:?}", side.number));
            }
        }
        Ok(())
    }

    /// Runs both until everything that was written has been read.
    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..200 {
            self.rest();
            for number in [0, 1] {
                for conn in 0..CONNECTIONS {
                    self.run(number, Step::Read(conn, usize::MAX));
                    let key = self.sides[number].borrow().ends[conn].key;
                    self.sides[number].borrow_mut().serve(key);
                }
            }
            self.check()?;
            if self.is_drained() {
                return Ok(());
            }
        }
        let bytes = self.sides.each_ref().map(|side| {
            let side = side.borrow();
            let ends = side.ends.iter();
            ends.map(|end| (end.written, end.read)).collect::<Vec<_>>()
        });
        Err(format!("written and read by each: {bytes:?}"))
    }

    fn is_drained(&self) -> bool {
        let [one, other] = self.sides.each_ref().map(|side| side.borrow());
        one.ends.iter().zip(&other.ends).all(|(one, other)| {
            let has_arrived = one.written == other.read && other.written == one.read;
            let has_ended =
                one.has_ended == other.is_finished && other.has_ended == one.is_finished;
            has_arrived && has_ended
        })
    }

    /// Checks what must hold at any time.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        for side in &self.sides {
            let side = side.borrow();
            if let Some(wrong) = &side.wrong {
                return Err(wrong.clone());
            }
            let statistics = side.vmc.statistics();
            if (statistics.failed, statistics.bugs) != (0, 0) {
                return Err(format!("{}: {statistics:?}", side.number));
            }
        }
        Ok(())
    }
}
