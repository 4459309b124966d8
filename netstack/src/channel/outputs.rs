//! What the channel wants done, done.

use core::net::IpAddr;

use smoltcp::socket::{tcp, udp};
use smoltcp::wire::IpEndpoint;
use vmc::{Output, Platform, Step};

use super::{INBOX, Stage, TcpSocket, World};
use crate::error::StreamError;
use crate::stack::Stack;

/// Datagrams taken in one go.
const DATAGRAM_BATCH: usize = 16;

/// What a turn of the channel leaves to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// There is more: take another turn after other tasks ran.
    pub(crate) again: bool,
    /// When the next timer is due.
    pub(crate) deadline: Option<vmc::Instant>,
}

impl Stack {
    /// Serves the links that have rung, runs the timers that are due, does what follows from both,
    /// and rings the peers for all that was written since the last turn. `rang` says whether a link
    /// has rung, and sees to it that there is a turn when it rings next.
    pub(crate) fn turn_channel(
        &mut self,
        mut rang: impl FnMut(&<World as Platform>::Port) -> bool,
    ) -> Turn {
        let Some(channel) = &mut self.channel else {
            return Turn::default();
        };
        channel.kicked = false;
        let mut rung = core::mem::take(&mut channel.rung);
        rung.extend(
            channel
                .vmc
                .links()
                .filter_map(|(link, port)| rang(port).then_some(link)),
        );
        // Who has rung asks to be heard again: the turn after this finds nothing.
        let again = !rung.is_empty();
        for link in rung.drain(..) {
            channel.vmc.event(link);
        }
        channel.rung = rung;
        channel.vmc.poll();
        self.do_outputs();
        let Some(channel) = &mut self.channel else {
            return Turn::default();
        };
        channel.vmc.flush();
        Turn {
            again: again || channel.kicked || channel.vmc.has_work(),
            deadline: channel.vmc.deadline(),
        }
    }

    /// Gives the channel the datagrams that came in, and does what it asks for.
    pub(crate) fn serve_channel(&mut self) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(channel.datagrams);
        let mut served = false;
        for _ in 0..DATAGRAM_BATCH {
            let Ok((bytes, meta)) = socket.recv() else {
                break;
            };
            channel.vmc.datagram(meta.endpoint.addr.into(), bytes);
            served = true;
        }
        if served {
            // There may be another event channel to wait for, and another timer.
            channel.kick();
        }
        self.do_outputs();
    }

    /// Tells the channel what became of its connections in a poll, and sends on what frames were
    /// written to links.
    pub(crate) fn finish_channel(&mut self) {
        while let Some(conn) = self.tcp.take_gone() {
            if let Some(channel) = &mut self.channel {
                channel.forget(conn);
            }
        }
        if let Some(channel) = &mut self.channel
            && core::mem::take(&mut channel.framed)
        {
            channel.kick();
        }
    }

    /// Does what the channel asks for, until it asks for nothing. What it can have queued is
    /// bounded, and nothing done here makes it queue more than one step further.
    fn do_outputs(&mut self) {
        while let Some(output) = self
            .channel
            .as_mut()
            .and_then(|channel| channel.vmc.output())
        {
            self.do_output(output);
        }
    }

    fn do_output(&mut self, output: Output) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        match output {
            Output::Datagram { to, bytes } => {
                let socket = self.sockets.get_mut::<udp::Socket<'_>>(channel.datagrams);
                // One that finds no room is lost, as on any network; HELLO is repeated.
                let _ = socket.send_slice(&bytes, IpEndpoint::new(to.into(), vmc::PORT));
                self.kick();
            }
            Output::Frame(frame) => {
                if channel.inbox.len() < INBOX {
                    channel.inbox.push_back(frame);
                }
                self.kick();
            }
            Output::Readable(conn) => {
                if let Some(record) = channel.record(conn) {
                    record.reader.wake();
                }
            }
            Output::Writable(conn) => {
                if let Some(record) = channel.record(conn) {
                    record.writer.wake();
                }
            }
            Output::Advance(conn) => {
                if let Some(record) = channel.record(conn) {
                    let socket = self.sockets.get_mut::<tcp::Socket<'_>>(record.handle);
                    channel.vmc.advance(conn, &mut TcpSocket(socket));
                    self.kick();
                }
            }
            Output::Failed(conn) => {
                if let Some(record) = channel.record(conn) {
                    record.fail(StreamError::Reset);
                    self.sockets
                        .get_mut::<tcp::Socket<'_>>(record.handle)
                        .abort();
                    record.reader.wake();
                    record.writer.wake();
                    self.kick();
                }
            }
            Output::LinkUp { address } => {
                log::info!("vmc: {address} is on this host");
                self.consider_all(address);
            }
            Output::LinkDown { address, cause } => {
                // What stands in brackets is for programs (tests/labkit/src/lines.rs).
                log::info!("vmc: no channel to {address} any more: {cause} [{cause:?}]");
                channel.send_by_netfront(address);
            }
            Output::Handover {
                address,
                step,
                bytes,
                at,
            } => {
                if step == Step::Notice {
                    channel.noticed = at;
                }
                let micros = at.0.saturating_sub(channel.noticed.0) / 1000;
                log::info!("handover: peer {address} phase {step} offset {bytes} us {micros}");
            }
            Output::Member(membership) => log::debug!("vmc: {membership}"),
        }
    }

    /// Puts all connections with a new peer into the channel's care, but for those that nobody
    /// owns any more: TCP finishes them.
    fn consider_all(&mut self, address: IpAddr) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        for record in self.tcp.records() {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(record.handle);
            let remote = socket
                .remote_endpoint()
                .map(|remote| IpAddr::from(remote.addr));
            let is_owned = !self.tcp.is_lingering(record);
            if remote == Some(address) && socket.is_active() && is_owned {
                channel.consider(record, &TcpSocket(socket), Stage::UnderWay);
                // A writer that waits for TCP may go on at once.
                record.writer.wake();
            }
        }
    }
}
