//! Does what the channel asks for, and gives it what comes in.

use core::net::IpAddr;

use smoltcp::iface::SocketSet;
use smoltcp::socket::tcp;
use smoltcp::socket::udp::{self, UdpMetadata};
use smoltcp::wire::{IpCidr, IpEndpoint};
use vmc::{Output, Pair, Phase, Platform};

use super::{Channel, INBOX, Stage, TcpSocket};
use crate::error::StreamError;
use crate::stack::Poller;
use crate::tcp::Table;

/// Datagrams taken at a time.
const DATAGRAM_BATCH: usize = 16;

/// What a turn of the channel leaves to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Whether there is more to do: take another turn after other tasks have run.
    pub(crate) again: bool,
    /// When the next timer is due.
    pub(crate) deadline: Option<vmc::Instant>,
}

impl<P: Platform> Channel<P> {
    /// Serves the links that have rung, runs the timers that are due, does what follows from both,
    /// and rings the peers for everything written since the last turn. `rang` tells whether a link
    /// has rung, and makes sure that there is a turn when it rings next.
    pub(crate) fn turn(
        &mut self,
        sockets: &mut SocketSet<'static>,
        tcp: &Table,
        poller: &mut Poller,
        mut rang: impl FnMut(&P::Port) -> bool,
    ) -> Turn {
        self.kicked = false;
        let mut rung = core::mem::take(&mut self.rung);
        rung.extend(
            self.vmc
                .links()
                .filter_map(|(link, port)| rang(port).then_some(link)),
        );
        // A link that has rung asks to be heard again: the turn after this finds nothing.
        let again = !rung.is_empty();
        for link in rung.drain(..) {
            self.vmc.event(link);
        }
        self.rung = rung;
        self.vmc.poll();
        self.do_outputs(sockets, tcp, poller);
        self.watch(sockets, poller);
        self.vmc.flush();
        let deadlines = self.vmc.deadline().into_iter();
        Turn {
            again: again || self.kicked || self.vmc.has_work(),
            deadline: deadlines.chain(self.watch.deadline()).min(),
        }
    }

    /// Takes the datagrams that came in, and does what follows from them.
    pub(crate) fn serve(
        &mut self,
        sockets: &mut SocketSet<'static>,
        tcp: &Table,
        poller: &mut Poller,
    ) {
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.datagrams);
        let mut is_served = false;
        for _ in 0..DATAGRAM_BATCH {
            let Ok((bytes, meta)) = socket.recv() else {
                break;
            };
            is_served = true;
            let remote = IpAddr::from(meta.endpoint.addr);
            let is_near = self.networks.contain(remote, &self.own);
            if let Some(local) = meta.local_address
                && meta.endpoint.port == vmc::wire::PORT
                && is_near
            {
                let local = local.into();
                self.vmc.datagram(Pair { local, remote }, bytes);
            }
        }
        if is_served {
            // There may be another event channel to wait for, and another timer.
            self.kick();
        }
        self.do_outputs(sockets, tcp, poller);
    }

    /// Forgets connections that a poll has ended, and has the peers notified of frames that it
    /// wrote to links.
    pub(crate) fn finish(&mut self, tcp: &mut Table) {
        while let Some(conn) = tcp.take_gone() {
            self.forget(conn);
        }
        if core::mem::take(&mut self.framed) {
            self.kick();
        }
    }

    /// Does what the channel asks for, until it asks for nothing. What it can have queued is
    /// bounded, and nothing done here makes it queue more than one phase further.
    fn do_outputs(&mut self, sockets: &mut SocketSet<'static>, tcp: &Table, poller: &mut Poller) {
        while let Some(output) = self.vmc.output() {
            self.do_output(sockets, tcp, poller, output);
        }
    }

    fn do_output(
        &mut self,
        sockets: &mut SocketSet<'static>,
        tcp: &Table,
        poller: &mut Poller,
        output: Output,
    ) {
        match output {
            Output::Datagram { pair, bytes } => {
                let is_own = |cidr: &IpCidr| IpAddr::from(cidr.address()) == pair.local;
                if self.own.iter().any(is_own) {
                    let socket = sockets.get_mut::<udp::Socket<'_>>(self.datagrams);
                    let mut meta: UdpMetadata =
                        IpEndpoint::new(pair.remote.into(), vmc::wire::PORT).into();
                    meta.local_address = Some(pair.local.into());
                    // A datagram without room is lost, as on any network; HELLO is repeated.
                    let _ = socket.send_slice(&bytes, meta);
                    poller.kick();
                }
            }
            Output::Frame(frame) => {
                if self.inbox.len() < INBOX {
                    self.inbox.push_back(frame);
                }
                poller.kick();
            }
            Output::Readable(conn) => {
                if let Some(record) = self.record(conn) {
                    record.reader.wake();
                }
            }
            Output::Writable(conn) => {
                if let Some(record) = self.record(conn) {
                    record.blocked.set(false);
                    record.writer.wake();
                }
            }
            Output::Service(conn) => {
                if let Some(record) = self.record(conn) {
                    let socket = sockets.get_mut::<tcp::Socket<'_>>(record.handle);
                    self.vmc.service(conn, &mut TcpSocket(socket));
                    poller.kick();
                }
            }
            Output::Failed(conn) => {
                if let Some(record) = self.record(conn) {
                    record.fail(StreamError::Reset);
                    sockets.get_mut::<tcp::Socket<'_>>(record.handle).abort();
                    record.reader.wake();
                    record.writer.wake();
                    poller.kick();
                }
            }
            Output::LinkUp { pair } => {
                // The line is for programs, too (tests/labkit/src/lines.rs).
                log::info!("vmc: {} is on this host", pair.remote);
                self.consider_all(sockets, tcp, pair);
            }
            Output::PairDown { pair } => self.send_by_netfront(pair),
            Output::LinkDown { address, cause } => {
                // What stands in brackets is for programs (tests/labkit/src/lines.rs).
                log::info!("vmc: no channel to {address} any more: {cause} [{cause:?}]");
            }
            Output::Migration {
                address,
                phase,
                bytes,
                at,
            } => {
                if phase == Phase::EarlyNotice {
                    self.noticed = at;
                }
                let micros = at.0.saturating_sub(self.noticed.0) / 1000;
                log::info!("handover: peer {address} phase {phase} offset {bytes} us {micros}");
            }
            Output::Member(membership) => log::debug!("vmc: {membership}"),
        }
    }

    /// Puts all connections with a new peer into the channel's care, except those without an
    /// owner: TCP finishes them.
    fn consider_all(&mut self, sockets: &mut SocketSet<'static>, tcp: &Table, pair: Pair) {
        for record in tcp.records() {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(record.handle);
            let ends = TcpSocket(socket).four_tuple();
            let is_owned = !tcp.is_lingering(record);
            if ends.is_some_and(|ends| ends.pair() == pair) && socket.is_active() && is_owned {
                self.consider(record, &TcpSocket(socket), Stage::UnderWay);
                // A writer that waits for TCP may go on at once.
                record.writer.wake();
            }
        }
    }
}
