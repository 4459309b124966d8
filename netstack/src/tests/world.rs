//! Two hosts, a link with faults, a virtual clock and an executor for one root future.

mod clock;
mod wire;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Range;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use kernel::cmdline::CommandLine;
use kernel::lifecycle::Lifecycle;
use sim::xen::{Dom, SharedHost};
use vmc::Platform;

use crate::addressing::Addressing;
use crate::channel::{self, Channel, ChannelOptions, Started};
use crate::options::Limits;

pub(super) use clock::Clock;
pub(super) use wire::Wire;

/// A stack whose channel runs on the simulator's hypervisor; below, its handles.
pub(super) type Shared = crate::stack::Shared<Dom>;
pub(super) type TcpStream = crate::tcp::TcpStream<Dom>;
pub(super) type ReadHalf = crate::tcp::ReadHalf<Dom>;
pub(super) type TcpListener = crate::tcp::TcpListener<Dom>;
pub(super) type UdpSocket = crate::udp::UdpSocket<Dom>;

/// Virtual time after which a test has failed to finish.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Bytes of the longest frame.
const FRAME: usize = 1514;

/// What the link does to frames, in per mille of all frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) lose: u32,
    pub(super) duplicate: u32,
    pub(super) delay: u32,
}

/// A host on the link.
pub(super) struct Host {
    pub(super) shared: Shared,
    pub(super) wire: Wire,
    deadline: Option<Instant>,
    pub(super) channel: Option<ChannelTask>,
}

/// What a host runs beside its stack when it has a channel.
pub(super) struct ChannelTask {
    /// The channel's part in a suspend.
    pub(super) part: Rc<dyn Lifecycle>,
    task: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
    /// Times that the task was polled.
    pub(super) polls: usize,
}

impl ChannelTask {
    fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::Relaxed)
    }

    /// Polls the task, as the kernel's run loop does after a wake.
    fn poll(&mut self) {
        self.flag.0.store(false, Ordering::Relaxed);
        self.polls += 1;
        let waker = Waker::from(self.flag.clone());
        let polled = self.task.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "the channel's task never completes");
    }
}

impl Host {
    /// Makes a host without addresses.
    fn new(mac: EthernetAddress, seed: u64, limits: Limits, frame: usize) -> Self {
        let mut wire = Wire {
            frame,
            inbox: VecDeque::new(),
            outbox: Vec::new(),
        };
        let shared = Shared::new(&mut wire, mac, seed, limits);
        Self {
            shared,
            wire,
            deadline: None,
            channel: None,
        }
    }

    /// Whether a peer has rung and has not been heard yet.
    fn is_rung(&self) -> bool {
        self.shared.with(|stack| {
            let mut links = stack.channel.iter().flat_map(|channel| channel.vmc.links());
            links.any(|(_, port)| port.is_pending())
        })
    }

    /// Runs the channel's task if something has woken it.
    fn run_channel(&mut self) {
        let is_rung = self.is_rung();
        if let Some(channel) = &mut self.channel
            && (is_rung || channel.is_woken())
        {
            channel.poll();
        }
    }
}

/// The machine that the hosts' guests live on.
pub(super) struct Machine {
    pub(super) host: SharedHost,
    clock: sim::xen::Clock,
}

/// Returns the answer to a frame, given the time at which it was sent.
pub(super) type ThirdHost = Box<dyn FnMut(Duration, &[u8]) -> Option<Vec<u8>>>;

/// What becomes of a frame of one host: the hosts that get something, and what.
pub(super) type Carrier = Box<dyn FnMut(usize, Vec<u8>) -> Vec<(usize, Vec<u8>)>>;

/// Everything a test needs.
pub(super) struct World {
    pub(super) hosts: Vec<Host>,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    /// One-way delay of the link.
    pub(super) latency: Duration,
    /// Times during which the link carries nothing, as while a guest is moved.
    pub(super) dark: Vec<Range<Duration>>,
    /// What joins the hosts; `None`: a wire on which each hears all others.
    pub(super) carrier: Option<Carrier>,
    /// A host that makes nothing of the frames it gets by its links.
    pub(super) swallower: Option<usize>,
    /// Frames carried so far.
    pub(super) carried: usize,
    /// The first frames that went to B.
    pub(super) recorded: Vec<Vec<u8>>,
    pub(super) machine: Option<Machine>,
    /// A third host on the link, which may answer each frame that goes to B.
    pub(super) third: Option<ThirdHost>,
    dead: Vec<bool>,
    flying: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sequence: u64,
    random: u64,
}

pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) const A4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const B4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(super) const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// The IPv4 addresses of A and B, as A sees them.
pub(super) const PAIR: vmc::Pair = vmc::Pair {
    local: IpAddr::V4(A4),
    remote: IpAddr::V4(B4),
};

/// Returns the address of port `port` on host B.
pub(super) fn b(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(B4), port)
}

pub(super) fn mac(host: usize) -> EthernetAddress {
    EthernetAddress([0x00, 0x16, 0x3e, 0, 0, host as u8 + 1])
}

impl World {
    /// Makes hosts A and B with addresses.
    pub(super) fn new(seed: u64) -> Self {
        Self::with_frames(seed, FRAME)
    }

    /// Makes hosts A and B with addresses, and with frames of up to `frame` bytes.
    pub(super) fn with_frames(seed: u64, frame: usize) -> Self {
        let world = Self::build(seed, Limits::default(), frame);
        for (host, ipv4, ipv6) in [(0, A4, A6), (1, B4, B6)] {
            world.hosts[host].shared.with(|stack| {
                stack.set_addresses(&Addressing {
                    ipv4: Some((ipv4, 24)),
                    ipv6: Some((ipv6, 64)),
                    ..Addressing::default()
                });
            });
        }
        world
    }

    /// Puts another host in the place of one: it has the same addresses and another MAC.
    pub(super) fn replace_host(&mut self, index: usize) {
        let former = self.hosts[index].shared.with(|stack| stack.addresses());
        let host = Host::new(mac(index + 10), 99, Limits::default(), FRAME);
        let mut addressing = Addressing::default();
        for (address, prefix) in former {
            match address {
                IpAddr::V4(ipv4) => addressing.ipv4 = Some((ipv4, prefix)),
                IpAddr::V6(ipv6) if ipv6.is_unicast_link_local() => {}
                IpAddr::V6(ipv6) => addressing.ipv6 = Some((ipv6, prefix)),
            }
        }
        host.shared.with(|stack| stack.set_addresses(&addressing));
        self.hosts[index] = host;
    }

    /// Makes hosts A and B without addresses.
    pub(super) fn bare(seed: u64, limits: Limits) -> Self {
        Self::build(seed, limits, FRAME)
    }

    /// Adds a host at `ipv4`/24 that shares no memory; returns its number.
    pub(super) fn add_host(&mut self, ipv4: Ipv4Addr) -> usize {
        let index = self.hosts.len();
        let host = Host::new(mac(index), index as u64, Limits::default(), FRAME);
        host.shared.with(|stack| {
            stack.set_addresses(&Addressing {
                ipv4: Some((ipv4, 24)),
                ..Addressing::default()
            });
        });
        self.hosts.push(host);
        self.dead.push(false);
        index
    }

    fn build(seed: u64, limits: Limits, frame: usize) -> Self {
        let host = |index| Host::new(mac(index), seed + index as u64, limits, frame);
        Self {
            hosts: alloc::vec![host(0), host(1)],
            clock: Clock::new(),
            faults: Faults::default(),
            latency: Duration::from_micros(100),
            dark: Vec::new(),
            carrier: None,
            swallower: None,
            carried: 0,
            recorded: Vec::new(),
            machine: None,
            third: None,
            dead: alloc::vec![false; 2],
            flying: BTreeMap::new(),
            sequence: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Puts both guests on one machine, where they share memory as in the original protocol.
    pub(super) fn share_memory(&mut self, seed: u64) {
        self.share_memory_with(seed, "vmc=original");
    }

    /// Puts both guests on one machine, where they share memory with these options of the channel.
    pub(super) fn share_memory_with(&mut self, seed: u64, options: &str) {
        self.share_memory_alone(seed, options);
        self.add_channel(1, seed + 1, options);
    }

    /// Puts guest A on a machine, ready to share memory; guest B has no channel.
    pub(super) fn share_memory_alone(&mut self, seed: u64, options: &str) {
        self.machine = Some(Machine {
            host: sim::xen::Host::new(5),
            clock: sim::xen::Clock::default(),
        });
        self.add_channel(0, seed, options);
    }

    /// Puts a guest on the machine with these options of the channel.
    pub(super) fn add_channel(&mut self, index: usize, seed: u64, options: &str) {
        let machine = self.machine.as_ref().unwrap();
        let micros = self.clock.now().total_micros() as u64;
        machine.clock.set(micros * 1000);
        let platform = Dom::boot(&machine.host, &machine.clock, seed);
        let line =
            alloc::format!("vmc_peers=4 vmc_rings=64 vmc_ring=256 vmc_memory=4096 {options}");
        let mut line = CommandLine::parse(&line).unwrap();
        let options = ChannelOptions::take(&mut line).unwrap();
        line.finish().unwrap();
        let uuid = vmc::Uuid([index as u8 + 1; 16]);
        let host = &mut self.hosts[index];
        let started = channel::start(&host.shared, platform, self.clock.clone(), uuid, &options);
        host.channel = started.map(|Started { part, task }| ChannelTask {
            part,
            task: Box::pin(task),
            flag: Arc::new(Flag(AtomicBool::new(true))),
            polls: 0,
        });
    }

    /// Ends a guest as its destruction by the toolstack does: it does nothing any more.
    pub(super) fn kill(&mut self, index: usize) {
        let machine = self.machine.as_ref().unwrap();
        let domid = self.hosts[index].shared.with(|stack| {
            let channel = stack.channel.as_ref().unwrap();
            channel.vmc.platform().domid()
        });
        machine.host.borrow_mut().destroy(domid);
        self.hosts[index].channel = None;
        self.dead[index] = true;
    }

    /// Has a guest stand still, as `xl pause` does. Its links stay.
    pub(super) fn pause(&mut self, index: usize) {
        self.dead[index] = true;
    }

    /// Has a paused guest go on.
    pub(super) fn unpause(&mut self, index: usize) {
        self.dead[index] = false;
    }

    pub(super) fn a(&self) -> Shared {
        self.hosts[0].shared.clone()
    }

    pub(super) fn b(&self) -> Shared {
        self.hosts[1].shared.clone()
    }

    /// Returns a number below `bound` (xorshift64).
    fn random(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random(1000) < u64::from(per_mille)
    }

    fn carry(&mut self, from: usize, frame: Vec<u8>) {
        let Some(carrier) = &mut self.carrier else {
            for to in (0..self.hosts.len()).filter(|to| *to != from) {
                self.send(to, frame.clone());
            }
            return;
        };
        for (to, frame) in carrier(from, frame) {
            self.send(to, frame);
        }
    }

    fn send(&mut self, to: usize, frame: Vec<u8>) {
        self.carried += 1;
        if to == 1 && self.recorded.len() < 64 {
            self.recorded.push(frame.clone());
        }
        let now = Duration::from_micros(self.clock.now().total_micros() as u64);
        if self.dark.iter().any(|dark| dark.contains(&now)) || self.happens(self.faults.lose) {
            return;
        }
        if to == 1
            && let Some(third) = &mut self.third
            && let Some(answer) = third(now, &frame)
        {
            self.sequence += 1;
            let at = self.clock.now() + self.latency.into();
            self.flying.insert((at, self.sequence), (0, answer));
        }
        let copies = 1 + usize::from(self.happens(self.faults.duplicate));
        for _ in 0..copies {
            let mut at = self.clock.now() + self.latency.into();
            if self.happens(self.faults.delay) {
                at += smoltcp::time::Duration::from_micros(self.random(5000));
            }
            self.sequence += 1;
            self.flying.insert((at, self.sequence), (to, frame.clone()));
        }
    }

    /// Polls both hosts until they have nothing to do at this instant.
    pub(super) fn poll_hosts(&mut self) {
        loop {
            self.poll_each_host();
            let mut alive = self.hosts.iter().zip(&self.dead);
            if !alive.any(|(host, is_dead)| !*is_dead && host.is_rung()) {
                return;
            }
        }
    }

    fn poll_each_host(&mut self) {
        let now = self.clock.now();
        for index in 0..self.hosts.len() {
            if self.dead[index] {
                self.hosts[index].deadline = None;
                continue;
            }
            loop {
                let host = &mut self.hosts[index];
                if self.swallower == Some(index) {
                    host.shared.with(|stack| {
                        stack.channel.iter_mut().for_each(Channel::drop_frames);
                    });
                }
                let progress = host.shared.with(|stack| stack.poll(&mut host.wire, now));
                host.run_channel();
                host.deadline = progress.deadline;
                let is_woken = host.channel.as_ref().is_some_and(ChannelTask::is_woken);
                let is_kicked = host.shared.with(|stack| stack.is_kicked());
                let frames = core::mem::take(&mut host.wire.outbox);
                let sent = !frames.is_empty();
                for frame in frames {
                    self.carry(index, frame);
                }
                if !progress.again && !sent && !is_woken && !is_kicked {
                    break;
                }
            }
        }
    }

    /// Moves the clock to the next event, and delivers the frames that are due then.
    fn advance(&mut self) {
        let now = self.clock.now();
        let timers = self.hosts.iter().filter_map(|host| host.deadline);
        let flight = self.flying.keys().next().map(|(at, _)| *at);
        let next = timers.chain(flight).chain(self.clock.next()).min();
        let next = next.expect("deadlock: nothing will ever happen again");
        assert!(
            next < Instant::ZERO + PATIENCE.into(),
            "the test did not finish in virtual time"
        );
        self.clock.set(next.max(now));
        if let Some(machine) = &self.machine {
            machine
                .clock
                .set(self.clock.now().total_micros() as u64 * 1000);
        }
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.clock.now() {
                break;
            }
            let (to, frame) = entry.remove();
            self.hosts[to].wire.inbox.push_back(frame);
        }
    }

    /// Runs the world until `root` is done.
    pub(super) fn run<T>(&mut self, root: impl Future<Output = T>) -> T {
        let mut root = pin!(root);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        loop {
            while flag.0.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(result) = root.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return result;
                }
            }
            self.poll_hosts();
            if !flag.0.load(Ordering::Relaxed) {
                self.advance();
            }
        }
    }

    /// Lets `time` pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let clock = self.clock.clone();
        self.run(async move { clock.sleep(time).await });
    }
}

/// Runs both futures to their end.
pub(super) async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let mut a = Running::new(a);
    let mut b = Running::new(b);
    poll_fn(|cx| {
        a.poll(cx);
        b.poll(cx);
        if a.result.is_some() && b.result.is_some() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    (a.result.unwrap(), b.result.unwrap())
}

struct Running<'a, T> {
    future: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    result: Option<T>,
}

impl<'a, T> Running<'a, T> {
    fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self {
            future: Some(Box::pin(future)),
            result: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(future) = &mut self.future
            && let Poll::Ready(result) = future.as_mut().poll(cx)
        {
            self.future = None;
            self.result = Some(result);
        }
    }
}
