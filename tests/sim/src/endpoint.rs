//! One end of a connection: its TCP, its place in the channel, and the two
//! tasks of its application.

use std::rc::Rc;

use vmc::platform::Instant;
use vmc::{ConnKey, FourTuple, Pair, Received, StreamEnd, Tcp, Vmc};

use crate::ledger::SharedLedger;
use crate::log::Log;
use crate::plan::{End, Plan};
use crate::tcp::{Found, Outgoing, Shared, Side};
use crate::xen::Dom;

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Ready,
    /// Waits for a wake-up; nothing else runs it again.
    Blocked,
    /// Sleeps until this time.
    Asleep(u64),
    Done,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) ledger: SharedLedger,
    pub(crate) side: Side,
    pub(crate) tcp: Shared,
    pub(crate) tuple: FourTuple,
    pub(crate) id: Option<ConnKey>,
    plan: Plan,
    reader: Task,
    writer: Task,
    has_let_go: bool,
    /// Whether its guest has checked whether the peer has a link.
    pub(crate) is_considered: bool,
}

/// The TCP socket of one end, for the duration of a call.
pub struct Socket<'a> {
    tcp: &'a Shared,
    side: Side,
    now: u64,
}

impl<'a> Socket<'a> {
    /// Returns the socket of `side` at `now`.
    #[must_use]
    pub fn new(tcp: &'a Shared, side: Side, now: u64) -> Self {
        Self { tcp, side, now }
    }
}

impl Tcp for Socket<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, StreamEnd> {
        let mut tcp = self.tcp.borrow_mut();
        tcp.send(self.side, self.now, bytes)
            .map_err(|_| StreamEnd::Tcp)
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<Received, StreamEnd> {
        match self.tcp.borrow_mut().receive(self.side, into) {
            Ok(Found::Bytes(len)) => Ok(Received::Bytes(len)),
            Ok(Found::Nothing) => Ok(Received::Nothing),
            Ok(Found::End) => Ok(Received::Finished),
            Err(_) => Err(StreamEnd::Tcp),
        }
    }

    fn has_heard_all(&self) -> bool {
        self.tcp.borrow().has_heard_all(self.side)
    }

    fn close(&mut self) {
        self.tcp.borrow_mut().close(self.side, self.now);
    }

    fn abort(&mut self) {
        self.tcp.borrow_mut().abort(self.side, self.now);
    }
}

impl Endpoint {
    pub(crate) fn new(
        ledger: SharedLedger,
        side: Side,
        tcp: Shared,
        tuple: FourTuple,
        plan: Plan,
    ) -> Self {
        Self {
            ledger,
            side,
            tcp,
            tuple,
            id: None,
            plan,
            reader: Task::Blocked,
            writer: Task::Blocked,
            has_let_go: false,
            is_considered: false,
        }
    }

    /// Returns its name in the trace.
    pub(crate) fn name(&self) -> String {
        let number = self.ledger.borrow().number;
        format!("c{number}{}", ["<", ">"][self.side])
    }

    /// Returns the addresses of both ends.
    pub(crate) const fn pair(&self) -> Pair {
        self.tuple.pair()
    }

    /// Returns the connection's TCP, and the side of it that this end is.
    pub(crate) fn tcp(&self) -> (Shared, Side) {
        (Rc::clone(&self.tcp), self.side)
    }

    /// Whether TCP has segments to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tcp.borrow().has_unsent(self.side)
    }

    /// Returns the next segment that TCP has to send.
    pub(crate) fn take_unsent(&self) -> Option<(Pair, Outgoing)> {
        let outgoing = self.tcp.borrow_mut().take_unsent(self.side)?;
        Some((self.pair(), outgoing))
    }

    /// Nothing has been sent yet: segments may take the link.
    pub(crate) fn send_off_network(&self) {
        let is_tracked = self.id.is_some();
        let mut tcp = self.tcp.borrow_mut();
        tcp.set_off_network(self.side, is_tracked);
    }

    /// The link has ended: segments take the network.
    pub(crate) fn send_by_network(&self) {
        self.tcp.borrow_mut().set_off_network(self.side, false);
    }

    fn socket(&self, now: u64) -> Socket<'_> {
        Socket::new(&self.tcp, self.side, now)
    }

    pub(crate) fn wake_reader(&mut self) {
        if self.reader == Task::Blocked {
            self.reader = Task::Ready;
        }
    }

    pub(crate) fn wake_writer(&mut self) {
        if self.writer == Task::Blocked {
            self.writer = Task::Ready;
        }
    }

    /// Whether a task can run at `now`.
    pub(crate) fn is_ready(&self, now: u64) -> bool {
        [self.reader, self.writer].iter().any(|task| match task {
            Task::Ready => true,
            Task::Asleep(until) => *until <= now,
            Task::Blocked | Task::Done => false,
        })
    }

    /// Returns when the next sleeping task wakes up.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        let until = |task: &Task| match task {
            Task::Asleep(until) => Some(*until),
            _ => None,
        };
        [self.reader, self.writer].iter().filter_map(until).min()
    }

    /// Whether nothing is left: the application has dropped the connection, and
    /// TCP is over.
    pub(crate) fn is_gone(&self) -> bool {
        self.has_let_go && self.tcp.borrow().is_over(self.side)
    }

    /// Has the channel track the connection.
    pub(crate) fn track(&mut self, vmc: &mut Vmc<Dom>, log: &Log) {
        if self.id.is_none() {
            let (sent, received) = self.tcp.borrow().offsets(self.side);
            let is_finished = self.tcp.borrow().is_closed(self.side);
            self.id = vmc.track(self.tuple, sent, received, is_finished);
            log.note(|| format!("{} is tracked: {:?}", self.name(), self.id));
            if self.has_let_go
                && let Some(id) = self.id
            {
                vmc.release(id);
            }
        }
    }

    /// Handles news from TCP.
    pub(crate) fn tcp_woken(&mut self, vmc: &mut Vmc<Dom>, now: u64) {
        let woken = self.tcp.borrow_mut().take_woken(self.side);
        if woken.readable {
            self.wake_reader();
        }
        if woken.writable {
            self.wake_writer();
        }
        if let Some(id) = self.id {
            vmc.service(id, &mut self.socket(now));
        } else if self.has_let_go {
            self.drain();
        }
    }

    /// Gives the channel its turn with TCP.
    pub(crate) fn advance(&mut self, vmc: &mut Vmc<Dom>, now: u64) {
        if let Some(id) = self.id {
            vmc.service(id, &mut self.socket(now));
        }
    }

    /// Ends a connection that the channel lost.
    pub(crate) fn failed(&mut self, log: &Log, now: u64) {
        self.may_fail(log, "failed with its link");
        self.socket(now).abort();
        self.wake_reader();
        self.wake_writer();
    }

    /// Discards what arrives, because nobody reads it.
    fn drain(&self) {
        let mut bytes = [0; 512];
        let mut tcp = self.tcp.borrow_mut();
        while let Ok(Found::Bytes(_)) = tcp.receive(self.side, &mut bytes) {}
    }

    fn may_fail(&self, log: &Log, how: &str) {
        if self.ledger.borrow().excuse.is_none() {
            log.violation(|| format!("{} {how}, and nothing explains it", self.name()));
        }
    }

    /// Runs each task that is due, once.
    pub(crate) fn run(
        &mut self,
        vmc: &mut Vmc<Dom>,
        random: &mut fastrand::Rng,
        log: &Log,
        now: u64,
    ) {
        let due =
            |task| matches!(task, Task::Ready) || matches!(task, Task::Asleep(at) if at <= now);
        if !self.tcp.borrow().is_established(self.side) && !self.tcp.borrow().is_reset(self.side) {
            (self.reader, self.writer) = (Task::Blocked, Task::Blocked);
            return;
        }
        if due(self.writer) && !self.has_let_go {
            self.writer = self.write(vmc, random, log, now);
        }
        if due(self.reader) && !self.has_let_go {
            self.reader = self.read(vmc, random, log, now);
        }
        if self.reader == Task::Done && self.writer == Task::Done && !self.has_let_go {
            self.let_go(vmc, now);
        }
    }

    fn nap(&self, random: &mut fastrand::Rng, chance: u32, now: u64) -> Task {
        if random.u32(..1000) < chance {
            Task::Asleep(now + random.u64(1..=self.plan.sleep))
        } else {
            Task::Ready
        }
    }

    fn write(
        &mut self,
        vmc: &mut Vmc<Dom>,
        random: &mut fastrand::Rng,
        log: &Log,
        now: u64,
    ) -> Task {
        let mut bytes = [0; 20_000];
        let (written, limit) = {
            let ledger = self.ledger.borrow();
            let mut limit = self.plan.limit(ledger.read[self.side]);
            if let End::AbortAt(at) = self.plan.end {
                if ledger.written[self.side] >= at {
                    drop(ledger);
                    self.abort(vmc, log, now);
                    return Task::Done;
                }
                limit = limit.min(at);
            }
            (ledger.written[self.side], limit)
        };
        if written == self.plan.total {
            self.finish(vmc, log, now);
            return Task::Done;
        }
        if written == limit {
            return Task::Blocked;
        }
        let most = self.plan.largest_write.min((limit - written) as usize);
        let bytes = &mut bytes[..random.usize(1..=most)];
        self.ledger.borrow().fill(self.side, bytes);
        let result = match self.id {
            Some(id) => vmc.write(id, &mut self.socket(now), bytes),
            None => self.socket(now).send(bytes),
        };
        match result {
            Ok(0) => {
                log.note(|| format!("{} finds no room", self.name()));
                Task::Blocked
            }
            Ok(len) => {
                if len > bytes.len() {
                    log.violation(|| format!("{} wrote {len} of {}", self.name(), bytes.len()));
                }
                log.note(|| format!("{} wrote {len} of {}", self.name(), bytes.len()));
                self.ledger.borrow_mut().written[self.side] += len as u64;
                self.nap(random, self.plan.write_sleeps, now)
            }
            Err(end) => {
                self.broken(vmc, log, end, now);
                Task::Done
            }
        }
    }

    fn read(
        &mut self,
        vmc: &mut Vmc<Dom>,
        random: &mut fastrand::Rng,
        log: &Log,
        now: u64,
    ) -> Task {
        let mut bytes = [0; 20_000];
        let bytes = &mut bytes[..random.usize(1..=self.plan.largest_read)];
        let result = match self.id {
            Some(id) => vmc.read(id, &mut self.socket(now), bytes),
            None => self.socket(now).receive(bytes),
        };
        match result {
            Ok(Received::Bytes(len)) => {
                log.note(|| format!("{} read {len}", self.name()));
                if len == 0 || len > bytes.len() {
                    log.violation(|| format!("{} read {len} of {}", self.name(), bytes.len()));
                    return Task::Done;
                }
                let checked = self.ledger.borrow_mut().check(self.side, &bytes[..len]);
                if let Err(what) = checked {
                    log.violation(|| format!("{} {what}", self.name()));
                }
                if self.plan.answers.is_some() {
                    self.wake_writer();
                }
                self.nap(random, self.plan.read_sleeps, now)
            }
            Ok(Received::Nothing) => {
                log.note(|| format!("{} finds nothing", self.name()));
                Task::Blocked
            }
            Ok(Received::Finished) => {
                log.note(|| format!("{} read to the end", self.name()));
                let checked = self.ledger.borrow_mut().end(self.side);
                if let Err(what) = checked {
                    log.violation(|| format!("{} {what}", self.name()));
                }
                // No more requests come, so the writer has written all it will.
                self.wake_writer();
                if self.plan.answers.is_some() && self.writer != Task::Done {
                    self.plan.answers = None;
                    self.plan.total = self.ledger.borrow().written[self.side];
                }
                Task::Done
            }
            Err(end) => {
                self.broken(vmc, log, end, now);
                Task::Done
            }
        }
    }

    fn finish(&mut self, vmc: &mut Vmc<Dom>, log: &Log, now: u64) {
        log.note(|| format!("{} finishes", self.name()));
        self.ledger.borrow_mut().finished[self.side] = true;
        match self.id {
            Some(id) => vmc.finish(id, &mut self.socket(now)),
            None => self.socket(now).close(),
        }
        if self.plan.end == End::Drop {
            self.let_go(vmc, now);
        }
    }

    fn abort(&mut self, vmc: &mut Vmc<Dom>, log: &Log, now: u64) {
        log.note(|| format!("{} aborts", self.name()));
        self.ledger.borrow_mut().excuse("an application aborted it");
        match self.id {
            Some(id) => vmc.abort(id, &mut self.socket(now)),
            None => self.socket(now).abort(),
        }
        self.let_go(vmc, now);
    }

    fn broken(&mut self, vmc: &mut Vmc<Dom>, log: &Log, end: StreamEnd, now: u64) {
        log.note(|| format!("{} is broken: {end:?}", self.name()));
        self.may_fail(log, "was reset");
        self.let_go(vmc, now);
    }

    /// Drops the connection, as its application does.
    fn let_go(&mut self, vmc: &mut Vmc<Dom>, now: u64) {
        self.has_let_go = true;
        (self.reader, self.writer) = (Task::Done, Task::Done);
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.finished[self.side] = true;
            ledger.released[self.side] |= !ledger.ended[self.side];
        }
        match self.id {
            Some(id) => {
                vmc.finish(id, &mut self.socket(now));
                vmc.release(id);
                vmc.service(id, &mut self.socket(now));
            }
            None => {
                self.socket(now).close();
                self.drain();
            }
        }
    }
}

/// Converts a time of the channel's to virtual nanoseconds.
pub(crate) fn nanos(instant: Instant) -> u64 {
    instant.0
}
