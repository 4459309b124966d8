//! Neighbours that are being asked for their MAC address, and the packets that wait for it.
//!
//! Each is asked three times, a second apart, whatever the others do (RFC 4861 section 7.2.2, RFC
//! 1122 section 2.3.2.1); then its packets are dropped, as other hosts do, and the next packet
//! begins anew.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::phy::PacketMeta;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetFrame};

use crate::memory::copied;

/// Requests in a series (`MAX_MULTICAST_SOLICIT` of RFC 4861 section 10).
const REQUESTS: u8 = 3;
/// Time between two requests (`RETRANS_TIMER`).
const INTERVAL: Duration = Duration::from_secs(1);
/// Neighbours that are asked at the same time; one more takes the place of the oldest.
const QUESTIONS: usize = 256;
/// Packets that wait for one neighbour (RFC 1122 section 2.3.2.2: at least the latest).
const PACKETS: usize = 16;
/// Bytes of packets that wait for all neighbours together.
const BYTES: usize = 128 * 1024;

/// A packet that waits for its neighbour's MAC address.
pub(super) struct Held {
    pub(super) frame: Vec<u8>,
    pub(super) meta: PacketMeta,
}

impl Held {
    /// Writes the packet into `frame`, to be sent to `mac`.
    pub(super) fn write(&self, mac: EthernetAddress, frame: &mut [u8]) {
        frame.copy_from_slice(&self.frame);
        EthernetFrame::new_unchecked(frame).set_dst_addr(mac);
    }
}

struct Question {
    neighbour: IpAddr,
    since: Instant,
    /// Requests sent.
    sent: u8,
    /// When the next one is due or, after the last, when to give up.
    next: Instant,
    held: VecDeque<Held>,
}

/// All questions, oldest first.
#[derive(Default)]
pub(super) struct Asked {
    questions: VecDeque<Question>,
    /// Bytes of all packets that wait.
    bytes: usize,
}

impl Asked {
    /// Whether `neighbour` is being asked.
    pub(super) fn contains(&self, neighbour: IpAddr) -> bool {
        self.questions.iter().any(|it| it.neighbour == neighbour)
    }

    /// Asks `neighbour`, unless that is under way.
    pub(super) fn add(&mut self, neighbour: IpAddr, now: Instant) {
        if self.contains(neighbour) {
            return;
        }
        if self.questions.len() == QUESTIONS {
            self.drop_at(0);
        }
        self.questions.push_back(Question {
            neighbour,
            since: now,
            sent: 0,
            next: now,
            held: VecDeque::new(),
        });
    }

    /// Keeps a packet until `neighbour` has answered. For want of room the oldest is dropped: of
    /// those for the same neighbour, or for the one that has been asked longest. A packet that the
    /// card is to cut into segments is dropped; TCP sends it again.
    pub(super) fn hold(&mut self, neighbour: IpAddr, frame: &[u8], meta: PacketMeta) {
        if meta.segmentation_offload_size.is_some() || frame.len() > BYTES {
            return;
        }
        let Ok(copy) = copied(frame) else {
            return;
        };
        let mut questions = self.questions.iter_mut();
        let Some(question) = questions.find(|it| it.neighbour == neighbour) else {
            return;
        };
        self.bytes += copy.len();
        question.held.push_back(Held { frame: copy, meta });
        if question.held.len() > PACKETS {
            self.bytes -= question.held.pop_front().map_or(0, |old| old.frame.len());
        }
        while self.bytes > BYTES {
            let mut questions = self.questions.iter_mut();
            let Some(old) = questions.find_map(|question| question.held.pop_front()) else {
                debug_assert!(false, "held packets are counted wrongly");
                self.bytes = 0;
                return;
            };
            self.bytes -= old.frame.len();
        }
    }

    /// Ends a question; returns the packets that waited for its answer.
    pub(super) fn remove(&mut self, neighbour: IpAddr) -> VecDeque<Held> {
        let mut questions = self.questions.iter();
        let place = questions.position(|it| it.neighbour == neighbour);
        place.map_or_else(VecDeque::new, |place| self.drop_at(place))
    }

    fn drop_at(&mut self, place: usize) -> VecDeque<Held> {
        let question = self.questions.remove(place);
        let held = question.map(|question| question.held).unwrap_or_default();
        self.bytes -= held.iter().map(|held| held.frame.len()).sum::<usize>();
        held
    }

    /// Has `send` send the requests that are due, as long as it returns true. Gives up, and tells
    /// `give_up` since when the neighbour was asked, a second after the last request.
    pub(super) fn send(
        &mut self,
        now: Instant,
        mut send: impl FnMut(IpAddr) -> bool,
        mut give_up: impl FnMut(IpAddr, Instant),
    ) {
        let mut place = 0;
        while let Some(question) = self.questions.get_mut(place) {
            if now < question.next {
                place += 1;
            } else if question.sent == REQUESTS {
                give_up(question.neighbour, question.since);
                self.drop_at(place);
            } else if send(question.neighbour) {
                question.sent += 1;
                question.next = now + INTERVAL;
                place += 1;
            } else {
                return;
            }
        }
    }

    /// Returns when [`Self::send`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.questions.iter().map(|question| question.next).min()
    }

    /// Returns the number of questions, and of bytes that wait.
    #[cfg(test)]
    pub(super) fn holdings(&self) -> (usize, usize) {
        (self.questions.len(), self.bytes)
    }
}
