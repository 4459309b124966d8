//! Works around two faults of smoltcp 0.14 by changing TCP segments on their way in. A network or
//! a correct peer could have made each of the changes, so they are right with any peer.
//!
//! smoltcp ignores the acknowledgement and the window of a segment that it does not take. Such
//! segments may be the only ones to learn from: after a retransmission time-out smoltcp counts from
//! the first unacknowledged byte again (`Socket::dispatch`) and numbers all its segments from
//! there, although SND.NXT of RFC 9293 section 3.10.7.4 never goes back. If both ends have lost
//! acknowledgements, as happens when one of them migrates, each sends what the other has, and
//! neither ever learns it; likewise a peer without room of its own (section 3.8.6.1) learns nothing
//! from probes. The connection then stands still until its user timeout. So whenever smoltcp
//! answers a segment that it did not take, it gets the segment's acknowledgement once more, alone,
//! with the sequence number that the answer asks for.
//!
//! That is done only for a segment that the peer may send again: one that begins no farther back
//! than the socket's receive buffer is large, and acknowledges no more than waits in its send buffer.
//! So a forged segment has to guess as much as one that smoltcp takes.
//!
//! smoltcp takes a FIN too early. From a segment that is longer than its window it takes the bytes
//! that fit, and also the FIN behind those that do not (`Socket::process`): the stream ends early,
//! and is never acknowledged as a whole. So it gets data and FIN as two segments: a FIN alone
//! beyond the window is not taken.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::SocketAddr;

use smoltcp::iface::SocketSet;
use smoltcp::phy::{self, Device, DeviceCapabilities, PacketMeta};
use smoltcp::socket::Socket;
use smoltcp::time::Instant;
use smoltcp::wire::TcpSeqNumber;

use super::segment::{apart, change, place, segment, shorten};
use crate::memory::copied;

/// Bytes of the longest headers: those of Ethernet, IPv4 and TCP with all options.
const HEADERS: usize = 14 + 60 + 60;

/// What is remembered from one frame to the next.
#[derive(Default)]
pub(super) struct Mending {
    /// Segments to be received before anything else: an acknowledgement and a FIN.
    next: RefCell<heapless::Deque<Vec<u8>, 2>>,
    /// The segment that came in last, until it is answered.
    heard: RefCell<Option<Heard>>,
    /// The acknowledgement of a segment that was answered and not taken.
    missed: RefCell<Option<Missed>>,
}

impl Mending {
    /// Has the acknowledgement of the segment that came in last received once more, if smoltcp
    /// missed it and the peer may have sent it.
    pub(super) fn settle(&self, sockets: &SocketSet<'_>) {
        if let Some(missed) = self.missed.take()
            && let Some(bounds) = Bounds::find(sockets, missed.local, missed.remote)
            && missed.is_within(bounds)
        {
            // There is room, as for a FIN.
            let refused = self.next.borrow_mut().push_front(missed.alone);
            debug_assert!(refused.is_ok(), "no room for an acknowledgement");
        }
    }

    /// Whether there is something to receive that the device does not have.
    pub(super) fn has_more(&self) -> bool {
        !self.next.borrow().is_empty()
    }
}

/// How far off the numbers of a segment may be that a peer sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    /// Size of the socket's receive buffer, in bytes: the peer never had room for more.
    receive: usize,
    /// Bytes in the socket's send buffer: there are no more to acknowledge.
    queued: usize,
}

impl Bounds {
    /// Returns the bounds of the socket with these ends.
    fn find(sockets: &SocketSet<'_>, local: SocketAddr, remote: SocketAddr) -> Option<Self> {
        let (local, remote) = (Some(local.into()), Some(remote.into()));
        sockets.iter().find_map(|(_, socket)| match socket {
            Socket::Tcp(socket)
                if socket.local_endpoint() == local && socket.remote_endpoint() == remote =>
            {
                Some(Self {
                    receive: socket.recv_capacity(),
                    queued: socket.send_queue(),
                })
            }
            _ => None,
        })
    }
}

/// The acknowledgement of a segment that smoltcp did not take.
struct Missed {
    local: SocketAddr,
    remote: SocketAddr,
    /// The acknowledgement as a segment of its own.
    alone: Vec<u8>,
    /// How far the segment began before what is wanted next.
    behind: usize,
    /// How far it acknowledges beyond what smoltcp counts as sent.
    beyond: usize,
}

impl Missed {
    fn is_within(&self, bounds: Bounds) -> bool {
        // SYN and FIN have a number each.
        self.behind <= bounds.receive + 1 && self.beyond <= bounds.queued + 1
    }
}

/// A segment that came in.
struct Heard {
    headers: heapless::Vec<u8, HEADERS>,
    /// Length of its payload.
    bytes: usize,
}

/// A device that gives smoltcp only segments that it handles correctly.
pub(super) struct Mended<'a, D> {
    pub(super) device: D,
    pub(super) mending: &'a Mending,
}

impl<D: Device> Device for Mended<'_, D> {
    type RxToken<'t>
        = RxToken<'t, D::RxToken<'t>>
    where
        Self: 't;
    type TxToken<'t>
        = TxToken<'t, D::TxToken<'t>>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let mending = self.mending;
        let checksums = self.device.capabilities().checksum.tcp;
        *mending.heard.borrow_mut() = None;
        *mending.missed.borrow_mut() = None;
        let (frame, device) = if mending.has_more() {
            // It is kept until there is room for an answer.
            let device = self.device.transmit(now)?;
            (Frame::Kept(mending.next.borrow_mut().pop_front()?), device)
        } else {
            let (frame, device) = self.device.receive(now)?;
            (Frame::Device(frame), device)
        };
        let receive = RxToken {
            frame,
            mending,
            check: checksums.rx(),
        };
        let transmit = TxToken {
            device,
            answers: Some(mending),
            check: checksums.rx(),
        };
        Some((receive, transmit))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        let device = self.device.transmit(now)?;
        Some(TxToken {
            device,
            answers: None,
            check: false,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.device.capabilities()
    }
}

enum Frame<R> {
    Device(R),
    Kept(Vec<u8>),
}

/// A frame that came in.
pub(super) struct RxToken<'a, R> {
    frame: Frame<R>,
    mending: &'a Mending,
    /// Whether smoltcp verifies the checksum.
    check: bool,
}

impl<R: phy::RxToken> phy::RxToken for RxToken<'_, R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, f: F) -> T {
        let token = match self.frame {
            Frame::Kept(frame) => return f(&frame),
            Frame::Device(token) => token,
        };
        token.consume(|frame| {
            let Some((start, segment)) = segment(frame) else {
                return f(frame);
            };
            let headers = start + usize::from(segment.header_len());
            let bytes = segment.payload().len();
            let is_plain = !segment.syn() && !segment.rst();
            if is_plain
                && let Some(headers) = frame.get(..headers)
                && let Ok(headers) = headers.try_into()
            {
                *self.mending.heard.borrow_mut() = Some(Heard { headers, bytes });
            }
            if !is_plain || !segment.fin() || bytes == 0 {
                return f(frame);
            }
            match apart(frame, headers, bytes, self.check) {
                Some((data, fin)) => {
                    // There is room: nothing comes from the device until all of it is taken.
                    let refused = self.mending.next.borrow_mut().push_back(fin);
                    debug_assert!(refused.is_ok(), "no room for a FIN");
                    f(&data)
                }
                // Without memory the segment stays as it is.
                None => f(frame),
            }
        })
    }

    fn meta(&self) -> PacketMeta {
        match &self.frame {
            Frame::Device(token) => token.meta(),
            Frame::Kept(_) => PacketMeta::default(),
        }
    }
}

/// The right to send one frame.
pub(super) struct TxToken<'a, T> {
    device: T,
    /// Set if the frame answers one that came in.
    answers: Option<&'a Mending>,
    /// Whether smoltcp verifies checksums.
    check: bool,
}

impl<T: phy::TxToken> phy::TxToken for TxToken<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.device.consume(len, |frame| {
            let result = f(frame);
            if let Some(mending) = self.answers
                && let Some(heard) = mending.heard.take()
            {
                *mending.missed.borrow_mut() = acknowledgement(heard, frame, self.check);
            }
            result
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.device.set_meta(meta);
    }
}

/// Returns the acknowledgement of `heard`, if `answer` shows that `heard` was not taken, because all
/// of it is old or because there is no room.
fn acknowledgement(heard: Heard, answer: &[u8], check: bool) -> Option<Missed> {
    let packet = place(answer)?;
    let (_, answer) = segment(answer)?;
    let mut alone = copied(&heard.headers).ok()?;
    shorten(&mut alone)?;
    let (_, found) = segment(&alone)?;
    let is_bare = answer.ack() && !answer.syn() && !answer.fin() && !answer.rst();
    let (ports, mirrored) = (
        (answer.src_port(), answer.dst_port()),
        (found.dst_port(), found.src_port()),
    );
    if !is_bare || !answer.payload().is_empty() || ports != mirrored || !found.ack() {
        return None;
    }
    let (begin, wanted) = (found.seq_number(), answer.ack_number());
    let behind = ahead(begin, wanted)?;
    let is_old = behind > 0 && heard.bytes <= behind;
    let has_no_room = answer.window_len() == 0 && behind == 0 && heard.bytes > 0;
    // An acknowledgement of less than smoltcp counts as sent tells it nothing new, but would be
    // taken for a duplicate, and three duplicates for a loss.
    let beyond = ahead(answer.seq_number(), found.ack_number())?;
    if !(is_old || has_no_room) {
        return None;
    }
    let (local, remote) = (
        SocketAddr::new(packet.source, answer.src_port()),
        SocketAddr::new(packet.destination, answer.dst_port()),
    );
    change(&mut alone, check, |segment| {
        segment.set_seq_number(wanted);
        segment.set_fin(false);
        segment.set_psh(false);
    })?;
    Some(Missed {
        local,
        remote,
        alone,
        behind,
        beyond,
    })
}

/// Returns how far `to` is ahead of `from`, or `None` if it is behind. smoltcp's own operators panic
/// on two numbers that are 2^31 apart, which a peer may send.
fn ahead(from: TcpSeqNumber, to: TcpSeqNumber) -> Option<usize> {
    usize::try_from(to.0.wrapping_sub(from.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use smoltcp::wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet,
        Ipv6Packet, TcpPacket,
    };

    /// A segment of `bytes` bytes from port 1 to port 2, numbered 1000, that acknowledges 5000 and
    /// has the FIN.
    fn frame(is_v4: bool, bytes: usize) -> Vec<u8> {
        let (ip, tcp) = (if is_v4 { 20 } else { 40 }, 20);
        let mut frame = vec![0; 14 + ip + tcp + bytes];
        let mut link = EthernetFrame::new_unchecked(&mut frame[..]);
        link.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 1]));
        link.set_dst_addr(EthernetAddress([2, 0, 0, 0, 0, 2]));
        let (from, to): (IpAddress, IpAddress) = if is_v4 {
            link.set_ethertype(EthernetProtocol::Ipv4);
            let (from, to) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
            let mut packet = Ipv4Packet::new_unchecked(link.payload_mut());
            packet.set_version(4);
            packet.set_header_len(20);
            packet.set_total_len((ip + tcp + bytes) as u16);
            packet.set_hop_limit(64);
            packet.set_next_header(IpProtocol::Tcp);
            packet.set_src_addr(from);
            packet.set_dst_addr(to);
            packet.fill_checksum();
            (from.into(), to.into())
        } else {
            link.set_ethertype(EthernetProtocol::Ipv6);
            let (from, to) = ([1u16; 8].into(), [2u16; 8].into());
            let mut packet = Ipv6Packet::new_unchecked(link.payload_mut());
            packet.set_version(6);
            packet.set_payload_len((tcp + bytes) as u16);
            packet.set_next_header(IpProtocol::Tcp);
            packet.set_src_addr(from);
            packet.set_dst_addr(to);
            (from.into(), to.into())
        };
        let mut segment = TcpPacket::new_unchecked(&mut frame[14 + ip..]);
        segment.set_src_port(1);
        segment.set_dst_port(2);
        segment.set_header_len(20);
        segment.set_seq_number(TcpSeqNumber(1000));
        segment.set_ack_number(TcpSeqNumber(5000));
        segment.set_ack(true);
        segment.set_fin(true);
        segment.set_window_len(700);
        segment.payload_mut().fill(7);
        segment.fill_checksum(&from, &to);
        frame
    }

    /// Returns sequence number, payload length and FIN of a frame, after checking its checksums
    /// and lengths.
    fn read(frame: &[u8]) -> (i32, usize, bool) {
        let packet = place(frame).expect("TCP");
        let (from, to) = (packet.source.into(), packet.destination.into());
        assert_eq!(packet.payload.end, frame.len(), "IP's length");
        if packet.source.is_ipv4() {
            assert!(Ipv4Packet::new_unchecked(&frame[14..]).verify_checksum());
        }
        let (_, segment) = segment(frame).expect("TCP");
        assert!(segment.verify_checksum(&from, &to));
        assert_eq!((segment.ack_number().0, segment.window_len()), (5000, 700));
        let bytes = segment.payload();
        assert!(bytes.iter().all(|byte| *byte == 7));
        (segment.seq_number().0, bytes.len(), segment.fin())
    }

    #[test]
    fn data_and_fin_are_split() {
        for is_v4 in [true, false] {
            let frame = frame(is_v4, 300);
            assert_eq!(read(&frame), (1000, 300, true));
            let (data, fin) = apart(&frame, frame.len() - 300, 300, true).expect("memory");
            assert_eq!(read(&data), (1000, 300, false));
            assert_eq!(read(&fin), (1300, 0, true));
        }
    }

    /// A socket with a receive buffer of 2000 bytes, and 3000 bytes to be acknowledged.
    const BOUNDS: Bounds = Bounds {
        receive: 2000,
        queued: 3000,
    };

    /// Returns what becomes of the segment above if it is answered with this sequence number,
    /// acknowledgement and window.
    fn answered(is_v4: bool, bytes: usize, seq: i32, ack: i32, window: u16) -> Option<Vec<u8>> {
        let found = frame(is_v4, bytes);
        let headers = found[..found.len() - bytes].try_into().expect("short");
        let mut answer = frame(is_v4, 0);
        change(&mut answer, true, |segment| {
            segment.set_src_port(2);
            segment.set_dst_port(1);
            segment.set_fin(false);
            segment.set_seq_number(TcpSeqNumber(seq));
            segment.set_ack_number(TcpSeqNumber(ack));
            segment.set_window_len(window);
        })
        .expect("TCP");
        let missed = acknowledgement(Heard { headers, bytes }, &answer, true)?;
        missed.is_within(BOUNDS).then_some(missed.alone)
    }

    #[test]
    fn a_segment_that_is_not_taken_is_heard_once_more() {
        for is_v4 in [true, false] {
            // All of it is old, and it acknowledges what was sent again, or more.
            for seq in [4000, 5000] {
                let alone = answered(is_v4, 300, seq, 2000, 900).expect("news");
                assert_eq!(read(&alone), (2000, 0, false));
            }
            // There is no room for the segment.
            let alone = answered(is_v4, 1, 4000, 1000, 0).expect("news");
            assert_eq!(read(&alone), (1000, 0, false));
        }
    }

    #[test]
    fn a_segment_that_is_taken_or_brings_no_news_is_not() {
        // It begins at the byte that is wanted, or behind it, or is old in part.
        for (ack, window) in [(1000, 900), (900, 900), (1200, 900), (900, 0)] {
            assert!(answered(true, 300, 4000, ack, window).is_none(), "{ack}");
        }
        // It acknowledges less than was sent, or what cannot have been sent.
        for seq in [5001, 5000 - 3002, 5000 - (1 << 20)] {
            assert!(answered(true, 300, seq, 2000, 900).is_none(), "{seq}");
        }
        // The numbers are 2^31 apart.
        for (seq, ack) in [(4000, 1000 + i32::MIN), (5000 + i32::MIN, 2000)] {
            assert!(answered(true, 300, seq, ack, 900).is_none());
        }
        // It is older than anything that a peer would send again.
        for behind in [2002, 1 << 20] {
            assert!(answered(true, 300, 4000, 1000 + behind, 900).is_none());
        }
    }

    /// The oldest segment that a peer would send again, and the farthest that it acknowledges.
    #[test]
    fn the_bounds_are_those_of_the_buffers() {
        for (seq, ack) in [(4000, 1000 + 2001), (5000 - 3001, 2000)] {
            let alone = answered(true, 300, seq, ack, 900).expect("within");
            assert_eq!(read(&alone), (ack, 0, false));
        }
    }
}
