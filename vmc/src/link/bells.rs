//! Notifications of a link, put off until the guest has nothing else to do or a
//! quarter of a ring is news (design rule R6).

use super::state::Link;
use crate::platform::Platform;
use crate::wire::{RingNumber, doorbell};

impl<P: Platform> Link<P> {
    /// Notes that messages were taken: the peer may wait for room.
    pub(crate) fn note_messages(&mut self) {
        self.bells.messages = true;
    }

    /// Notes that an own ring has something new, and announces a quarter of a
    /// ring at once.
    pub(crate) fn note_data(&mut self, number: RingNumber, platform: &P) {
        let Some(Some(ring)) = self.own.get_mut(number.index()) else {
            return;
        };
        if !ring.noted {
            ring.noted = true;
            self.bells.data.push(number);
        }
        if ring.producer.unannounced() >= ring.producer.capacity() / 4 {
            if ring.producer.must_ring(&ring.memory) {
                doorbell::ring_data(&self.memory, self.side.peer_bell(), number);
                self.notify(platform);
            } else {
                self.counters.suppressed += 1;
            }
        }
    }

    /// Notes that bytes were taken from a ring of the peer.
    pub(crate) fn note_space(&mut self, number: RingNumber, taken: usize, platform: &P) {
        let Some(Some(ring)) = self.peers.get_mut(number.index()) else {
            return;
        };
        if !ring.noted {
            ring.noted = true;
            self.bells.space.push(number);
        }
        ring.unannounced += taken;
        let Some((consumer, mapping)) = ring.consumer.as_mut().zip(ring.memory.as_ref()) else {
            return;
        };
        if ring.unannounced >= consumer.capacity() / 4 {
            ring.unannounced = 0;
            if consumer.must_ring(mapping) {
                doorbell::ring_space(&self.memory, self.side.peer_bell(), number);
                self.notify(platform);
            } else {
                self.counters.suppressed += 1;
            }
        }
    }

    /// Sends the notifications that were put off.
    pub(crate) fn flush(&mut self, platform: &P) {
        let bell = self.side.peer_bell();
        let mut due = false;
        let mut looked = false;
        while let Some(number) = self.bells.data.pop() {
            let Some(Some(ring)) = self.own.get_mut(number.index()) else {
                continue;
            };
            ring.noted = false;
            looked = true;
            if ring.producer.must_ring(&ring.memory) {
                doorbell::ring_data(&self.memory, bell, number);
                due = true;
            }
        }
        while let Some(number) = self.bells.space.pop() {
            let Some(Some(ring)) = self.peers.get_mut(number.index()) else {
                continue;
            };
            ring.noted = false;
            ring.unannounced = 0;
            looked = true;
            if let Some((consumer, mapping)) = ring.consumer.as_mut().zip(ring.memory.as_ref())
                && consumer.must_ring(mapping)
            {
                doorbell::ring_space(&self.memory, bell, number);
                due = true;
            }
        }
        if core::mem::take(&mut self.bells.messages) {
            looked = true;
            let written = self.outbox.producer.must_ring(&self.memory);
            let taken = self.inbox.consumer.must_ring(&self.memory);
            if written || taken {
                doorbell::ring_messages(&self.memory, bell);
                due = true;
            }
        }
        if due {
            self.notify(platform);
        } else if looked {
            self.counters.suppressed += 1;
        }
    }

    pub(super) fn notify(&mut self, platform: &P) {
        platform.notify(&self.port);
        self.counters.notifications += 1;
    }
}
