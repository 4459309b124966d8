//! Frames that need not go through netfront.
//!
//! What opens a connection (SYN, SYN-ACK and the acknowledgement that answers it) and UDP reach a
//! peer on this host through its link. No other segment does: it must not overtake what netfront
//! still carries. smoltcp 0.14 throws data away whose acknowledgement number is older than one it
//! has seen (`Socket::process`, "duplicate ACK"). Without a link every frame goes straight to the
//! device.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::phy::{self, Device, DeviceCapabilities, PacketMeta};
use smoltcp::time::Instant;
use smoltcp::wire::TcpSeqNumber;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};
use vmc::Vmc;

use super::{Channel, World};

/// Handshakes that wait for their last acknowledgement, at most.
pub(super) const HANDSHAKES: usize = 32;

/// The longest frame that may take a link: an ordinary Ethernet frame.
const LONGEST: usize = 1514;

/// The device, and beside it the links.
pub(crate) struct Routed<'a, D> {
    device: &'a mut D,
    links: Option<Links<'a>>,
}

struct Links<'a> {
    vmc: &'a mut Vmc<World>,
    inbox: &'a mut VecDeque<Vec<u8>>,
    scratch: &'a mut Vec<u8>,
    handshakes: &'a mut Handshakes,
    /// A frame has been written to a link.
    used: &'a mut bool,
}

impl<'a, D: Device> Routed<'a, D> {
    /// Routes past the links of `channel`, where there are any.
    pub(crate) fn new(device: &'a mut D, channel: Option<&'a mut Channel>) -> Self {
        let links = channel
            .filter(|channel| channel.links > 0 || !channel.inbox.is_empty())
            .map(|channel| Links {
                vmc: &mut channel.vmc,
                inbox: &mut channel.inbox,
                scratch: &mut channel.scratch,
                handshakes: &mut channel.handshakes,
                used: &mut channel.framed,
            });
        Self { device, links }
    }
}

impl Links<'_> {
    fn again(&mut self) -> Links<'_> {
        Links {
            vmc: self.vmc,
            inbox: self.inbox,
            scratch: self.scratch,
            handshakes: self.handshakes,
            used: self.used,
        }
    }
}

impl<D: Device> Device for Routed<'_, D> {
    type RxToken<'t>
        = RxToken<D::RxToken<'t>>
    where
        Self: 't;
    type TxToken<'t>
        = TxToken<'t, D::TxToken<'t>>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let frame = self.links.as_mut().and_then(|links| {
            let frame = links.inbox.pop_front()?;
            links.handshakes.note(&frame);
            Some(frame)
        });
        let (receive, device) = match frame {
            Some(frame) => (RxToken::Link(frame), self.device.transmit(now)),
            None => {
                let (receive, transmit) = self.device.receive(now)?;
                (RxToken::Device(receive), Some(transmit))
            }
        };
        let transmit = TxToken {
            device,
            links: self.links.as_mut().map(Links::again),
            meta: PacketMeta::default(),
        };
        Some((receive, transmit))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        Some(TxToken {
            device: Some(self.device.transmit(now)?),
            links: self.links.as_mut().map(Links::again),
            meta: PacketMeta::default(),
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.device.capabilities()
    }
}

/// A frame that came in.
pub(crate) enum RxToken<R> {
    Device(R),
    Link(Vec<u8>),
}

impl<R: phy::RxToken> phy::RxToken for RxToken<R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, f: F) -> T {
        match self {
            Self::Device(token) => token.consume(f),
            Self::Link(frame) => f(&frame),
        }
    }
}

/// The right to send one frame, either way.
pub(crate) struct TxToken<'a, T> {
    /// Lacking only where a frame from a link is answered while the device has no room.
    device: Option<T>,
    links: Option<Links<'a>>,
    meta: PacketMeta,
}

impl<T: phy::TxToken> phy::TxToken for TxToken<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        if let Some(device) = &mut self.device {
            device.set_meta(self.meta);
        }
        let Some(links) = self.links.filter(|_| len <= LONGEST) else {
            return match self.device {
                Some(device) => device.consume(len, f),
                // Larger than a link takes, and no room: dropped, as any network may.
                None => f(&mut alloc::vec![0; len]),
            };
        };
        links.scratch.clear();
        links.scratch.resize(len, 0);
        let result = f(links.scratch);
        let taken = destination(links.scratch, links.handshakes)
            .is_some_and(|address| links.vmc.send_frame(address, links.scratch));
        if taken {
            *links.used = true;
        } else if let Some(device) = self.device {
            device.consume(len, |frame| frame.copy_from_slice(links.scratch));
        }
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}

/// The answers that SYN-ACKs from links wait for: our port, the peer, the sequence number.
pub(super) type Handshakes = heapless::Deque<(u16, IpAddr, u16, TcpSeqNumber), HANDSHAKES>;

trait Note {
    fn note(&mut self, frame: &[u8]);
}

impl Note for Handshakes {
    /// Remembers what a SYN-ACK from a link is to be answered with; the oldest is forgotten where
    /// there are too many, and its answer takes netfront.
    fn note(&mut self, frame: &[u8]) {
        let Some((packet, segment)) = tcp_segment(frame) else {
            return;
        };
        if !(segment.syn() && segment.ack()) {
            return;
        }
        if self.is_full() {
            self.pop_front();
        }
        let answer = (
            segment.dst_port(),
            packet.source,
            segment.src_port(),
            segment.ack_number(),
        );
        // There is room now.
        let _ = self.push_back(answer);
    }
}

/// What of an IP packet matters here.
struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: &'a [u8],
}

fn ip_packet(frame: &[u8]) -> Option<Packet<'_>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            Some(Packet {
                source: IpAddr::V4(packet.src_addr()),
                destination: IpAddr::V4(packet.dst_addr()),
                protocol: packet.next_header(),
                payload: packet.payload(),
            })
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            Some(Packet {
                source: IpAddr::V6(packet.src_addr()),
                destination: IpAddr::V6(packet.dst_addr()),
                protocol: packet.next_header(),
                payload: packet.payload(),
            })
        }
        _ => None,
    }
}

fn tcp_segment(frame: &[u8]) -> Option<(Packet<'_>, TcpPacket<&[u8]>)> {
    let packet = ip_packet(frame)?;
    if packet.protocol != IpProtocol::Tcp {
        return None;
    }
    let segment = TcpPacket::new_checked(packet.payload).ok()?;
    Some((packet, segment))
}

/// Where a frame goes, if it is of a kind that may take a link.
fn destination(frame: &[u8], handshakes: &mut Handshakes) -> Option<IpAddr> {
    let packet = ip_packet(frame)?;
    let may = match packet.protocol {
        // What proves where a peer lives must go where the address is.
        IpProtocol::Udp => {
            let datagram = UdpPacket::new_checked(packet.payload).ok()?;
            datagram.dst_port() != vmc::PORT
        }
        IpProtocol::Tcp => {
            let segment = TcpPacket::new_checked(packet.payload).ok()?;
            let opens = segment.syn() && !segment.rst();
            opens || answers(&packet, &segment, handshakes)
        }
        _ => false,
    };
    may.then_some(packet.destination)
}

/// Whether a segment is the acknowledgement that a handshake over a link waits for.
fn answers(packet: &Packet<'_>, segment: &TcpPacket<&[u8]>, handshakes: &mut Handshakes) -> bool {
    if handshakes.is_empty() || !segment.payload().is_empty() || segment.fin() || segment.rst() {
        return false;
    }
    let answer = (
        segment.src_port(),
        packet.destination,
        segment.dst_port(),
        segment.seq_number(),
    );
    let waits = handshakes.iter().any(|waiting| *waiting == answer);
    if waits {
        handshakes.retain(|waiting| *waiting != answer);
    }
    waits
}
