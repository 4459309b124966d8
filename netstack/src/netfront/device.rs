//! The device as smoltcp sees it. It stays, while the connection behind it ends with every migration.

use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroUsize};

use kernel::lifecycle::{self, Phase};
use smoltcp::phy::{
    self, Checksum, DeviceCapabilities, Medium, PacketMeta, SegmentationCapabilities,
};
use smoltcp::time::Instant;

use super::Violation;
use super::checksum::{Fill, fill};
use super::connection::{Connection, Features};
use super::headers::{ETHERNET, is_tcp_ack};
use super::netif::MAX_TX_SIZE;
use super::pages::Backend;
use super::receive::Received;
use super::segment::segments;
use super::statistics::LinkStatistics;
use super::transmit::{Offload, Transmitter, Unanswered};
use crate::stack::Card;

enum Link<B: Backend> {
    Up(Connection<B>),
    /// The backend broke the protocol. The connection keeps its pages, because the backend may
    /// still use any of them.
    Broken(Connection<B>),
    /// There is no connection at present.
    Down,
}

/// The network device.
pub(crate) struct Netfront<B: Backend> {
    link: Link<B>,
    /// Largest IP packet on the link, in bytes.
    ip_mtu: usize,
    /// Whether smoltcp was told that the device cuts large packets.
    segmentation: bool,
    /// The buffer in which smoltcp builds frames; it never builds them in granted memory.
    frame: Vec<u8>,
    segment: Vec<u8>,
    statistics: LinkStatistics,
    /// Whether the receiver stopped before it had seen everything.
    later: bool,
    /// Frames that the last connection left unanswered; the next one sends them first.
    unanswered: Vec<Unanswered>,
    /// What is still to be noted about a connection that follows a migration.
    fresh: Fresh,
}

/// Events of a connection that are noted when they happen for the first time.
#[derive(Clone, Copy, Debug, Default)]
struct Fresh {
    frame: bool,
    ack: bool,
}

impl<B: Backend> Netfront<B> {
    pub(crate) fn new(connection: Connection<B>, ip_mtu: usize) -> Self {
        Self {
            segmentation: connection.features.segments(),
            link: Link::Up(connection),
            ip_mtu,
            // The longest at once: a frame that has to be sent finds no memory when it is short.
            frame: Vec::with_capacity(MAX_TX_SIZE),
            segment: Vec::new(),
            statistics: LinkStatistics::default(),
            later: false,
            unanswered: Vec::new(),
            fresh: Fresh::default(),
        }
    }

    /// Ends the connection to a backend that is gone, and takes its pages back.
    pub(crate) fn disconnect(&mut self) {
        self.link = Link::Down;
        self.unanswered.clear();
    }

    /// Takes note of every frame that the backend has answered for, so that it is not sent again
    /// after a suspend.
    pub(crate) fn settle(&mut self) {
        if let Link::Up(connection) = &mut self.link
            && let Err(violation) = connection.transmitter.reap(&mut self.statistics)
        {
            self.break_link(violation);
        }
    }

    /// Lets go of a connection that ended because the guest is another domain now. Frames that its
    /// backend had not answered for, as far as the guest had looked, are kept for
    /// [`Self::reconnect`].
    ///
    /// Nothing in the rings is looked at any more. The backend went on while the guest was
    /// suspended and its pages were saved, and what a backend writes into mapped pages, unlike
    /// what it copies, is not in Xen's log of dirty pages (`xen/common/grant_table.c:
    /// unmap_common`): a response may have arrived without its data.
    pub(crate) fn lose_connection(&mut self) {
        let unanswered = match &self.link {
            Link::Up(connection) => connection.transmitter.unanswered(),
            // There are no rings, or none that can be believed. What an earlier connection left
            // still waits.
            Link::Broken(_) | Link::Down => Vec::new(),
        };
        self.unanswered.extend(unanswered);
        self.link = Link::Down;
    }

    /// Goes on with a new connection to a link that carries IP packets of `ip_mtu` bytes, and first
    /// sends again what the last backend has not answered for. Some of it may have been delivered;
    /// the layers above handle frames that arrive twice, as on any network.
    pub(crate) fn reconnect(&mut self, connection: Connection<B>, ip_mtu: usize) {
        self.lose_connection();
        self.ip_mtu = ip_mtu;
        self.link = Link::Up(connection);
        self.fresh = Fresh {
            frame: true,
            ack: true,
        };
        for Unanswered { mut frame, segment } in core::mem::take(&mut self.unanswered) {
            let Link::Up(connection) = &mut self.link else {
                return;
            };
            transmit(
                &mut connection.transmitter,
                connection.features,
                &mut frame,
                segment,
                &mut self.segment,
                &mut self.statistics,
            );
            self.statistics.tx_resent += 1;
            // Makes more room, if there are more pages.
            self.room();
        }
    }

    /// Returns the connection, if there is one that works.
    pub(crate) fn connection(&self) -> Option<&Connection<B>> {
        match &self.link {
            Link::Up(connection) => Some(connection),
            Link::Broken(_) | Link::Down => None,
        }
    }

    /// Whether the connection was given up because the backend broke the protocol.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.link, Link::Broken(_))
    }

    pub(crate) fn statistics(&self) -> LinkStatistics {
        self.statistics
    }

    /// Counts an event of the backend.
    pub(crate) fn count_event(&mut self) {
        self.statistics.events += 1;
    }

    /// Shows the backend what a batch of work produced, with at most one notification.
    pub(crate) fn finish_batch(&mut self) {
        // So that answers do not pile up: a suspend waits until all have been looked at.
        self.settle();
        let Link::Up(connection) = &mut self.link else {
            return;
        };
        let backend = &mut connection.backend;
        let wanted = [
            connection.transmitter.publish(),
            connection.receiver.publish(backend),
        ];
        let published = wanted.iter().flatten().count();
        if wanted[0].is_some() && core::mem::take(&mut self.fresh.frame) {
            lifecycle::reached(Phase::FirstFrame);
        }
        if wanted.contains(&Some(true)) {
            backend.notify();
            self.statistics.notifications += 1;
        } else if published > 0 {
            self.statistics.notifications_saved += 1;
        }
        self.statistics.pages =
            (connection.receiver.pages() + connection.transmitter.pages()) as u64;
    }

    /// Whether the backend has delivered something that has not been looked at.
    pub(crate) fn has_received(&self) -> bool {
        self.connection()
            .is_some_and(|connection| connection.receiver.is_waiting())
    }

    /// Whether there is more to receive or to send without waiting. If not, the backend's next
    /// response raises an event.
    pub(crate) fn has_work(&mut self) -> bool {
        let later = core::mem::take(&mut self.later);
        let Link::Up(connection) = &mut self.link else {
            return false;
        };
        let received = connection.receiver.rearm();
        // Completed transmissions matter only if there is no room for the next.
        let completed = connection.transmitter.is_full() && connection.transmitter.rearm();
        if completed && let Err(violation) = connection.transmitter.reap(&mut self.statistics) {
            self.break_link(violation);
            return false;
        }
        received || completed || later
    }

    /// Whether a frame of any size can be sent. To that end takes back pages that the backend has
    /// answered for.
    fn room(&mut self) -> bool {
        let Link::Up(connection) = &mut self.link else {
            return false;
        };
        let room = connection
            .transmitter
            .room(&mut connection.backend, &mut self.statistics);
        room.unwrap_or_else(|violation| {
            self.break_link(violation);
            false
        })
    }

    fn break_link(&mut self, violation: Violation) {
        log::error!("net: connection given up, the backend broke the protocol: {violation}");
        self.statistics.violations += 1;
        self.link = match core::mem::replace(&mut self.link, Link::Down) {
            Link::Up(connection) => Link::Broken(connection),
            other => other,
        };
    }
}

impl<B: Backend> phy::Device for Netfront<B> {
    type RxToken<'a>
        = RxToken<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a, B>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_, B>)> {
        let Link::Up(connection) = &mut self.link else {
            return None;
        };
        match connection.receiver.next(&mut self.statistics) {
            Ok(Received::Frame) => {}
            Ok(Received::Nothing) => return None,
            Ok(Received::Later) => {
                self.later = true;
                return None;
            }
            Err(violation) => {
                self.break_link(violation);
                return None;
            }
        }
        if self.fresh.ack && is_tcp_ack(connection.receiver.frame()) {
            self.fresh.ack = false;
            lifecycle::reached(Phase::FirstAck);
        }
        // Makes room for a reply, which would be dropped otherwise. In a guest that only answers
        // pings nothing else ever does.
        self.room();
        let Link::Up(connection) = &mut self.link else {
            return None;
        };
        let transmit = TxToken {
            transmitter: &mut connection.transmitter,
            features: connection.features,
            frame: &mut self.frame,
            segment: &mut self.segment,
            statistics: &mut self.statistics,
            mss: None,
        };
        Some((RxToken(connection.receiver.frame()), transmit))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_, B>> {
        if !self.room() {
            return None;
        }
        let Link::Up(connection) = &mut self.link else {
            return None;
        };
        Some(TxToken {
            transmitter: &mut connection.transmitter,
            features: connection.features,
            frame: &mut self.frame,
            segment: &mut self.segment,
            statistics: &mut self.statistics,
            mss: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.ip_mtu + ETHERNET;
        // The driver verifies and fills these checksums itself, packet by packet.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.udp = Checksum::None;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.icmpv4 = Checksum::Tx;
        capabilities.checksum.icmpv6 = Checksum::Tx;
        // Not for IPv6: smoltcp 0.14 drops IPv6 packets above the MTU before they get here
        // (`InterfaceInner::dispatch_ip`).
        let mut segmentation = SegmentationCapabilities::default();
        if self.segmentation {
            segmentation.tcpv4 = NonZeroUsize::new(MAX_TX_SIZE);
        }
        capabilities.segmentation = segmentation;
        capabilities
    }
}

impl<B: Backend> Card for Netfront<B> {
    fn send_if<'a, R>(
        token: TxToken<'a, B>,
        len: usize,
        build: impl FnOnce(&mut [u8]) -> (R, bool),
    ) -> R
    where
        Self: 'a,
    {
        if token.frame.len() < len {
            token.frame.resize(len, 0);
        }
        let frame = &mut token.frame[..len];
        let (result, is_sent) = build(frame);
        if is_sent {
            transmit(
                token.transmitter,
                token.features,
                frame,
                token.mss.map(NonZeroU16::get),
                token.segment,
                token.statistics,
            );
        }
        result
    }
}

/// A received frame.
pub(crate) struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The right to send one frame. Only the token that comes with a received frame may lack room; its
/// frame is then dropped and counted.
pub(crate) struct TxToken<'a, B: Backend> {
    transmitter: &'a mut Transmitter<B::Page>,
    features: Features,
    frame: &'a mut Vec<u8>,
    segment: &'a mut Vec<u8>,
    statistics: &'a mut LinkStatistics,
    mss: Option<NonZeroU16>,
}

impl<B: Backend> phy::TxToken for TxToken<'_, B> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        Netfront::<B>::send_if(self, len, |frame| (f(frame), true))
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.mss = meta.segmentation_offload_size;
    }
}

/// Sends a frame, cut into segments of `mss` bytes if the backend does not do that.
fn transmit<P: super::pages::Granted>(
    transmitter: &mut Transmitter<P>,
    features: Features,
    frame: &mut [u8],
    mss: Option<u16>,
    segment: &mut Vec<u8>,
    statistics: &mut LinkStatistics,
) {
    match mss {
        Some(mss) if !features.segments() => {
            let is_cut = segments(frame, mss, segment, |segment| {
                send(transmitter, features, segment, None, statistics);
            });
            // smoltcp asks for segments of TCP over IPv4 only (`Netfront::capabilities`).
            debug_assert!(is_cut, "a frame that cannot be cut into segments");
            if !is_cut {
                statistics.tx_dropped += 1;
            }
        }
        mss => send(transmitter, features, frame, mss, statistics),
    }
}

fn send<P: super::pages::Granted>(
    transmitter: &mut Transmitter<P>,
    features: Features,
    frame: &mut [u8],
    segment: Option<u16>,
    statistics: &mut LinkStatistics,
) {
    let filled = fill(frame, |version| features.completes(version));
    let offload = Offload {
        checksum: filled == Some(Fill::PseudoHeader),
        segment,
    };
    if transmitter.send(frame, offload) {
        statistics.tx_frames += 1;
        statistics.tx_bytes += frame.len() as u64;
        statistics.tx_gso_frames += u64::from(segment.is_some());
    } else {
        statistics.tx_dropped += 1;
    }
}
