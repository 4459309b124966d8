//! The poll loop: receive, send, settle, in batches of bounded size.

use core::time::Duration;

use smoltcp::iface::{PollIngressSingleResult, PollResult};
use smoltcp::time::Instant;
use vmc::Platform;

use super::Stack;
use super::ethernet::{Card, Framed, Port};
use super::mend::Mended;
use crate::announce::announce;
use crate::autoconf::Autoconf;
use crate::channel::Routed;
use crate::dhcp::Dhcp;
use crate::tcp::Phase;

/// Frames received at a time, before anything is sent and other tasks run.
const RECEIVE_BATCH: usize = 64;
/// Rounds over all sockets; each socket sends at most one packet per round.
const SEND_ROUNDS: usize = 16;
/// How long to wait at least before the next poll if the stack says "now" but nothing moved.
const IDLE_RETRY: Duration = Duration::from_millis(1);
/// The same while the device cannot send: its event normally comes first.
const BLOCKED_RETRY: Duration = Duration::from_millis(100);

/// When [`Stack::poll`] is to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether a batch ended before the work did: poll again after other tasks have run.
    pub(crate) again: bool,
    /// The time of the next timer, if there is one. Frames and socket operations may come earlier.
    pub(crate) deadline: Option<Instant>,
}

impl<P: Platform> Stack<P> {
    /// Receives and sends a bounded number of frames, and runs the timers that are due at `now`.
    pub(crate) fn poll(&mut self, card: &mut impl Card, now: Instant) -> Progress {
        self.poller.begin();
        self.iface.poll_maintenance(now);

        let mut received = 0;
        while received < RECEIVE_BATCH {
            let mut port = Port::new(card, &mut self.ethernet, &mut self.control.inbox);
            let mut device = Framed {
                device: Mended {
                    device: Routed::new(&mut port, self.channel.as_mut()),
                    mending: &self.mending,
                },
                mac: self.mac,
            };
            match self
                .iface
                .poll_ingress_single(now, &mut device, &mut self.sockets)
            {
                PollIngressSingleResult::None => break,
                PollIngressSingleResult::PacketProcessed
                | PollIngressSingleResult::SocketStateChanged => received += 1,
            }
            if let Some(channel) = &mut self.channel {
                channel.note_arrival();
            }
            self.mending.settle(&self.sockets);
            // A segment can take at most one listening socket, so one spare per listener is enough
            // for any burst of connection requests.
            self.tcp.replenish(&mut self.sockets);
        }
        self.hear_advertisement(now);
        if received > 0 {
            self.observe(now, Phase::Received);
            if let Some(channel) = &mut self.channel {
                channel.serve(&mut self.sockets, &self.tcp, &mut self.poller);
            }
        }

        self.control.poll(card, now);
        self.ethernet.flush(card, now);
        let mut sent_rounds = 0;
        while sent_rounds < SEND_ROUNDS {
            let mut port = Port::new(card, &mut self.ethernet, &mut self.control.inbox);
            let mut device = Framed {
                device: Routed::new(&mut port, self.channel.as_mut()),
                mac: self.mac,
            };
            let sent = self.iface.poll_egress(now, &mut device, &mut self.sockets);
            if sent != PollResult::SocketStateChanged {
                break;
            }
            sent_rounds += 1;
        }
        self.ethernet.ask(card, now);
        self.observe(now, Phase::Sent);
        self.tcp.settle(&mut self.sockets, now, &mut self.channel);
        if let Some(channel) = &mut self.channel {
            channel.finish(&mut self.tcp);
        }
        self.apply_leases(now);
        self.tell_channel();
        self.solicit(card, now);
        if self.announcer.is_due(now) {
            let addresses = self.addresses();
            let addresses = addresses.into_iter().map(|(address, _)| address);
            announce(card, now, self.mac, addresses);
        }

        let again = received == RECEIVE_BATCH || sent_rounds == SEND_ROUNDS;
        let idle = received == 0 && sent_rounds == 0;
        // The device does not announce that it has room for what waits.
        let held = self.mending.has_more().then_some(now);
        let deadline = [
            held,
            self.iface.poll_at(now, &self.sockets),
            self.tcp.deadline(),
            self.announcer.deadline(),
            self.ethernet.deadline(),
            self.control.deadline(),
            self.dhcp.as_ref().and_then(Dhcp::deadline),
            self.autoconf.as_ref().and_then(Autoconf::deadline),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| self.not_without_end(card, at, now, idle));
        Progress { again, deadline }
    }

    fn observe(&mut self, now: Instant, phase: Phase) {
        self.tcp.observe(
            &mut self.iface,
            &mut self.sockets,
            now,
            phase,
            &mut self.channel,
        );
    }

    /// Puts off a deadline that has passed although nothing moved: the stack would be polled for it
    /// without end.
    fn not_without_end(
        &self,
        card: &mut impl Card,
        at: Instant,
        now: Instant,
        idle: bool,
    ) -> Instant {
        if at > now {
            at
        } else if card.transmit(now).is_none() {
            now + BLOCKED_RETRY.into()
        } else if idle {
            now + IDLE_RETRY.into()
        } else {
            now
        }
    }
}
