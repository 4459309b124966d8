//! A driver without sockets: one relay session between a client that is a
//! byte string and next hops that are [`sink::Sink`]s. After every step it
//! checks the invariants.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod script;
pub(crate) mod sink;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sink::{Delivery, Plan, Sink};
use smtp::{Action, Config, HopEvent, Log, Relay, UnixTime};

pub(crate) const HOSTNAME: &str = "relay.test";
const NOW: UnixTime = UnixTime(1_795_380_560);

pub(crate) fn config() -> Config {
    Config::new(HOSTNAME).expect("a valid name")
}

/// Opens a mail.
pub(crate) const ENVELOPE: &str = "MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\n";

/// Sends one mail on a session that is open, and returns the answer to it.
pub(crate) fn mail(world: &mut World, message: &str) -> String {
    let heard = world.send(ENVELOPE);
    assert!(heard.ends_with("354 End with <CRLF>.<CRLF>\r\n"), "{heard}");
    world.send(format!("{message}\r\n.\r\n"))
}

/// A session whose client said HELO, with a next hop that follows `plan`.
pub(crate) fn opened(plan: Plan) -> World {
    let mut world = World::new(config(), plan, Pieces::new(&[100_000]));
    let heard = world.send("HELO c\r\n");
    assert!(heard.ends_with("\r\n250 relay.test\r\n"), "{heard}");
    world
}

/// Lengths of pieces, used in turn.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    lengths: Vec<usize>,
    at: usize,
}

impl Pieces {
    pub(crate) fn new(lengths: &[usize]) -> Self {
        Self {
            lengths: lengths.to_vec(),
            at: 0,
        }
    }

    fn next(&mut self) -> usize {
        self.at += 1;
        self.lengths[self.at % self.lengths.len()].max(1)
    }
}

pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) plan: Plan,
    pub(crate) hop: Option<Sink>,
    connecting: bool,
    /// What earlier connections to next hops received.
    pub(crate) past: Vec<Sink>,
    pieces: Pieces,
    buffer_bytes: usize,
    /// What the client sends, and how much of it has been taken.
    pending: Vec<u8>,
    taken: usize,
    /// What the client received.
    pub(crate) received: Vec<u8>,
    pub(crate) logs: Vec<Log>,
    pub(crate) client_open: bool,
    pub(crate) longest_hop_output: usize,
    /// The hop takes nothing more.
    pub(crate) hop_stalls: bool,
    /// A dead hop keeps its connection open.
    pub(crate) hop_hangs: bool,
    /// The hop connects, reads and answers only in [`World::step_hop`].
    pub(crate) hop_one_reply_at_a_time: bool,
}

impl World {
    pub(crate) fn new(config: Config, plan: Plan, pieces: Pieces) -> Self {
        let buffer_bytes = config.buffer_bytes.max(4096);
        let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        Self {
            relay: Relay::new(Arc::new(config), peer, 1),
            plan,
            hop: None,
            connecting: false,
            past: Vec::new(),
            pieces,
            buffer_bytes,
            pending: Vec::new(),
            taken: 0,
            received: Vec::new(),
            logs: Vec::new(),
            client_open: true,
            longest_hop_output: 0,
            hop_stalls: false,
            hop_hangs: false,
            hop_one_reply_at_a_time: false,
        }
    }

    pub(crate) fn plain() -> Self {
        Self::new(config(), Plan::default(), Pieces::new(&[100_000]))
    }

    /// Sends `bytes` as the client, and runs until nothing moves. Returns what
    /// the client received meanwhile.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.pending.extend_from_slice(bytes.as_ref());
        let before = self.received.len();
        self.run();
        String::from_utf8(self.received[before..].to_vec()).expect("replies are ASCII")
    }

    /// Returns what the client has sent and the relay has not taken.
    pub(crate) fn unread(&self) -> usize {
        self.pending.len() - self.taken
    }

    pub(crate) fn run(&mut self) {
        while self.actions() | self.client() | self.feed_hop() | self.read_hop() {
            self.check();
        }
        self.check();
    }

    fn actions(&mut self) -> bool {
        let mut moved = false;
        while let Some(action) = self.relay.poll_action() {
            moved = true;
            match action {
                Action::ConnectHop => {
                    assert!(self.hop.is_none() && !self.connecting, "one hop at a time");
                    self.connecting = true;
                }
                Action::CloseHop => {
                    assert!(self.relay.hop_output().is_empty() || self.connecting);
                    self.connecting = false;
                    self.past.extend(self.hop.take());
                }
                Action::CloseClient => {
                    assert!(self.client_open, "closed once");
                    assert!(self.relay.client_output().is_empty(), "all was sent");
                    self.client_open = false;
                }
                Action::Log(log) => self.logs.push(log),
            }
        }
        if self.connecting && !self.hop_one_reply_at_a_time {
            moved = true;
            self.connect();
        }
        moved
    }

    fn connect(&mut self) {
        self.connecting = false;
        if self.plan.connects {
            self.hop = Some(Sink::new(self.plan.clone()));
            self.relay.hop_event(HopEvent::Connected);
        } else {
            self.relay.hop_event(HopEvent::ConnectFailed);
        }
    }

    /// Has a hop that does one thing at a time connect, or give its next reply.
    pub(crate) fn step_hop(&mut self) {
        if self.connecting {
            self.connect();
        } else {
            let reply: Vec<u8> = match &mut self.hop {
                Some(hop) => hop.output.drain(..).collect(),
                None => Vec::new(),
            };
            assert_eq!(self.relay.hop_input(&reply), reply.len());
        }
        self.run();
    }

    fn client(&mut self) -> bool {
        let length = self.pieces.next().min(self.unread());
        let capacity = self.relay.client_capacity();
        let taken = self
            .relay
            .client_input(NOW, &self.pending[self.taken..self.taken + length]);
        assert!(capacity > 0 || taken == 0, "capacity is what it says");
        self.taken += taken;
        let length = self.pieces.next().min(self.relay.client_output().len());
        self.received
            .extend_from_slice(&self.relay.client_output()[..length]);
        self.relay.client_sent(length);
        taken + length > 0
    }

    fn feed_hop(&mut self) -> bool {
        let Some(hop) = &mut self.hop else {
            return false;
        };
        if self.hop_stalls {
            return false;
        }
        let length = self.pieces.next().min(self.relay.hop_output().len());
        let bytes = self.relay.hop_output()[..length].to_vec();
        self.longest_hop_output = self.longest_hop_output.max(length);
        self.relay.hop_sent(length);
        hop.input(&bytes);
        length > 0
    }

    fn read_hop(&mut self) -> bool {
        let Some(hop) = self.hop.as_mut().filter(|_| !self.hop_one_reply_at_a_time) else {
            return false;
        };
        let length = self.pieces.next().min(hop.output.len());
        let bytes: Vec<u8> = hop.output.iter().copied().take(length).collect();
        let taken = self.relay.hop_input(&bytes);
        hop.output.drain(..taken);
        if hop.output.is_empty() && hop.dead && !self.hop_hangs {
            self.past.extend(self.hop.take());
            self.relay.hop_event(HopEvent::Closed);
            return true;
        }
        taken > 0
    }

    /// Breaks the connection to the next hop.
    pub(crate) fn break_hop(&mut self) {
        if let Some(hop) = self.hop.take() {
            self.past.push(hop);
            self.relay.hop_event(HopEvent::Closed);
        }
    }

    /// Has the client leave, and every wait time out until the session is over.
    pub(crate) fn finish(&mut self) {
        self.relay.client_eof();
        self.run();
        for _ in 0..10 {
            if self.relay.is_finished() {
                return;
            }
            self.relay.timed_out();
            self.run();
        }
        panic!("a session without client does not end: {:?}", self.relay);
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        let sinks = self.past.iter().chain(&self.hop);
        sinks.flat_map(|sink| sink.deliveries.clone()).collect()
    }

    /// Returns how many messages the next hops took.
    pub(crate) fn accepted(&self) -> usize {
        let sinks = self.past.iter().chain(&self.hop);
        let deliveries = sinks.flat_map(|sink| &sink.deliveries);
        deliveries.filter(|delivery| delivery.accepted).count()
    }

    pub(crate) fn delivered_logs(&self) -> usize {
        let delivered = |log: &&Log| matches!(log, Log::Delivered { .. });
        self.logs.iter().filter(delivered).count()
    }

    pub(crate) fn hop_commands(&self) -> Vec<String> {
        let sinks = self.past.iter().chain(&self.hop);
        sinks.flat_map(|sink| sink.commands.clone()).collect()
    }

    fn check(&self) {
        assert!(self.relay.client_output().len() <= 4096);
        assert!(self.relay.hop_output().len() <= self.buffer_bytes);
        assert!(
            self.delivered_logs() <= self.accepted(),
            "a message was answered 250 that no next hop took"
        );
    }

    /// Checks that every reply is a well-formed line, or part of a multi-line one.
    pub(crate) fn check_replies(&self) {
        let text = std::str::from_utf8(&self.received).expect("ASCII");
        for line in text.split_inclusive("\r\n") {
            let content = line.strip_suffix("\r\n").expect("CRLF at the end");
            assert!(line.len() <= 512, "{line:?}");
            assert!(
                content.bytes().all(|b| (b' '..=b'~').contains(&b)),
                "{line:?}"
            );
            let code: u16 = content[..3].parse().expect("a code");
            assert!((200..600).contains(&code), "{line:?}");
        }
    }
}

/// Returns `body` as it arrives behind the trace header: an empty line comes between the two if
/// the first line is no field.
pub(crate) fn behind_trace(body: &[u8]) -> Vec<u8> {
    let line = body.split(|&b| b == b'\r').next().unwrap_or_default();
    let name = line.split(|&b| b == b':').next().unwrap_or_default();
    let trimmed = name.trim_ascii_end();
    let is_name = !trimmed.is_empty() && trimmed.iter().all(|b| (33..=126).contains(b));
    let joins = line.is_empty() || (is_name && name.len() < line.len());
    let separator: &[u8] = if joins { b"" } else { b"\r\n" };
    [separator, body].concat()
}

/// Doubles leading dots and appends the end-of-data mark.
pub(crate) fn stuff(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in body.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Splits off the trace header that the relay added, which is one folded field.
pub(crate) fn split_trace(data: &[u8]) -> (String, Vec<u8>) {
    assert!(data.starts_with(b"Received: from "));
    let mut end = 0;
    for line in data.split_inclusive(|&b| b == b'\n') {
        if end > 0 && !line.starts_with(b"\t") {
            break;
        }
        end += line.len();
        if line.ends_with(b" +0000\r\n") {
            break;
        }
    }
    let field = String::from_utf8(data[..end].to_vec()).expect("ASCII");
    (field, data[end..].to_vec())
}
