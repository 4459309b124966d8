//! What an event does: the doorbell says which messages and rings to look at.

use super::{HEADER, Message, doorbell};
use crate::channel::Vmc;
use crate::limits::{EMPTY_EVENTS, MESSAGES, STUCK_TIMEOUT};
use crate::output::Cause;
use crate::platform::Platform;
use crate::vms::control::{CLOSED, FROZEN};
use crate::vms::rings::User;

impl<P: Platform> Vmc<P> {
    /// The event channel of a link that is up has fired.
    pub(crate) fn serve_event(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        let heard = doorbell::answer(&link.memory, link.side.own_bell());
        let mut useful = matches!(link.peer_state(), CLOSED | FROZEN);
        if let Some(heard) = heard {
            if heard.messages {
                useful |= self.serve_messages(index);
            }
            for ring in doorbell::bits(heard.data) {
                useful |= self.data_in(index, ring);
            }
            for ring in doorbell::bits(heard.space) {
                useful |= self.space_in(index, ring);
            }
        }
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        link.counters.events += 1;
        // The clock is dear: it is read only for an event without effect.
        if useful {
            link.count_useful();
        } else if link.count_empty(EMPTY_EVENTS, self.platform.now()) {
            link.fault.get_or_insert(Cause::Flood);
        }
    }

    /// Handles messages, a bounded number. True where there was one, or where
    /// there is room again for what is to be sent.
    pub(crate) fn serve_messages(&mut self, index: usize) -> bool {
        let mut useful = self.catch_up(index);
        for _ in 0..MESSAGES {
            let Some(link) = self.links.get_mut(index) else {
                return useful;
            };
            link.more = !link.announced;
            if link.more {
                // A SWITCH may name a connection that is not tracked yet.
                return useful;
            }
            if link.fault.is_some() {
                return useful;
            }
            // Until nothing is left and the peer was asked to ring again.
            link.more = true;
            match link.inbox.next(&link.memory) {
                Ok(Some(len)) => {
                    useful = true;
                    self.handle_buffer(index, len);
                }
                Ok(None) => match link.inbox.consumer.wait_for_data(&link.memory) {
                    Ok(true) => {}
                    Ok(false) => {
                        link.more = false;
                        return useful;
                    }
                    Err(_) => link.fault = Some(Cause::IndexLie),
                },
                Err(cause) => link.fault = Some(cause),
            }
        }
        useful
    }

    fn handle_buffer(&mut self, index: usize, len: usize) {
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        link.counters.messages_received += 1;
        link.note_messages();
        let buffer = core::mem::take(&mut link.inbox.buffer);
        let message = buffer
            .get(HEADER..len)
            .and_then(|payload| Message::decode(buffer[0], payload));
        let result = match message {
            Some(message) => self.handle(index, message),
            None => Err(Cause::BadMessage),
        };
        if let Some(link) = self.links.get_mut(index) {
            link.inbox.buffer = buffer;
            if let Err(cause) = result {
                link.fault = Some(cause);
            }
        }
    }

    /// Sends messages that waited for room.
    fn catch_up(&mut self, index: usize) -> bool {
        let Some(link) = self.links.get_mut(index) else {
            return false;
        };
        if !link.outbox.is_behind() {
            link.stuck_at = None;
            return false;
        }
        let now = self.platform.now();
        match link.outbox.catch_up(&link.memory) {
            Ok(moved) => {
                if moved {
                    link.note_messages();
                    link.stuck_at = None;
                }
                if link.outbox.is_behind() {
                    link.stuck_at.get_or_insert(now.after(STUCK_TIMEOUT));
                } else {
                    link.stuck_at = None;
                }
                moved
            }
            Err(cause) => {
                link.fault = Some(cause);
                false
            }
        }
    }

    /// The peer has written to one of its rings. True where that matters.
    fn data_in(&mut self, index: usize, number: usize) -> bool {
        let Some(link) = self.links.get_mut(index) else {
            return false;
        };
        let Some(Some(ring)) = link.peers.get_mut(number) else {
            return false;
        };
        let Some(at) = ring.user else {
            return false;
        };
        let is_first = |conn: &crate::connection::Conn<P>| {
            let recver = &conn.recver;
            recver.blocked
                && recver.rings.first().is_some_and(|source| {
                    usize::from(source.ring) == number && recver.received >= source.base
                })
        };
        if !self.conns.get(at).is_some_and(is_first) {
            return false;
        }
        let Some((consumer, mapping)) = ring.consumer.as_mut().zip(ring.memory.as_ref()) else {
            return false;
        };
        match consumer.wait_for_data(mapping) {
            Ok(true) => {
                self.wake_reader(at);
                true
            }
            Ok(false) => false,
            Err(_) => {
                link.fault = Some(Cause::IndexLie);
                false
            }
        }
    }

    /// The peer has taken bytes from one of our rings. True where that matters.
    fn space_in(&mut self, index: usize, number: usize) -> bool {
        let Some(link) = self.links.get_mut(index) else {
            return false;
        };
        let Some(Some(ring)) = link.own.get_mut(number) else {
            return false;
        };
        let User::Conn(at) = ring.user else {
            return false;
        };
        let Some(conn) = self.conns.get(at) else {
            return false;
        };
        let is_newest = conn.sender.rings.last().map(|ring| usize::from(*ring)) == Some(number);
        if !conn.sender.blocked || !is_newest {
            return false;
        }
        let wanted = ring.producer.capacity() / 2;
        match ring.producer.wait_for_space(&ring.memory, wanted) {
            Ok(true) => {
                self.wake_writer(at);
                true
            }
            Ok(false) => false,
            Err(_) => {
                link.fault = Some(Cause::IndexLie);
                false
            }
        }
    }
}
