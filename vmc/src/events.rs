//! Event and Message Manager (M3): what an event does, and what a message does.

use crate::cause::Cause;
use crate::error::{Bug, Failure, PeerFault};
use crate::keys::{ConnKey, LinkKey};
use crate::limits::MESSAGES;
use crate::membership::Membership;
use crate::output::Output;
use crate::platform::Platform;
use crate::stream::FourTuple;
use crate::vmc::Vmc;
use crate::wire::message::{HEADER, MemberEvent, Reason};
use crate::wire::{Message, RingNumber, doorbell};

const LINK_STANDS: Bug = Bug("the link of a message stands while it is handled");
const CONN_STANDS: Bug = Bug("a ring in use has a connection");

impl<P: Platform> Vmc<P> {
    /// The event channel of a link that is up has fired.
    pub(crate) fn serve_event(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let heard = doorbell::answer(&link.memory, link.side.own_bell());
        let mut is_useful = link.peer_state().is_over();
        if let Some(heard) = heard {
            if heard.messages {
                is_useful |= self.serve_messages(key);
            }
            for ring in heard.data.iter() {
                is_useful |= self.ring_event(key, ring, true);
            }
            for ring in heard.space.iter() {
                is_useful |= self.ring_event(key, ring, false);
            }
        }
        if let Some(link) = self.links.get_mut(key) {
            link.count_event(is_useful, &self.guest.platform);
        }
    }

    /// Handles messages, a bounded number. Returns whether there was one, or room
    /// again for what is to be sent.
    pub(crate) fn serve_messages(&mut self, key: LinkKey) -> bool {
        let Some(link) = self.links.get_mut(key) else {
            return false;
        };
        let mut is_useful = link.catch_up(&self.guest);
        for _ in 0..MESSAGES {
            let Some(link) = self.links.get_mut(key) else {
                return is_useful;
            };
            // A SWITCH may name a connection that is not tracked yet.
            link.has_more = !link.announced;
            if link.has_more || link.fault.is_some() {
                return is_useful;
            }
            // Until nothing is left and the peer was asked for an event.
            link.has_more = true;
            match link.inbox.next(&link.memory) {
                Ok(Some(len)) => {
                    is_useful = true;
                    self.handle_next(key, len);
                }
                Ok(None) => match link.inbox.consumer.wait_for_data(&link.memory) {
                    Ok(true) => {}
                    Ok(false) => {
                        link.has_more = false;
                        return is_useful;
                    }
                    Err(_) => link.fault = Some(Cause::IndexLie),
                },
                Err(fault) => link.fault = Some(fault.into()),
            }
        }
        is_useful
    }

    /// Handles what a peer that is gone wrote before.
    #[inline(never)]
    pub(crate) fn read_last(&mut self, key: LinkKey) {
        // A message ring holds fewer than 4096 messages; a peer that has closed
        // it writes no more.
        for _ in 0..4096 / MESSAGES {
            self.serve_messages(key);
            let link = self.links.get(key);
            if link.is_none_or(|link| !link.has_more || link.fault.is_some()) {
                return;
            }
        }
    }

    /// Handles the message in the inbox, of `len` bytes.
    fn handle_next(&mut self, key: LinkKey, len: usize) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.counters.messages_received += 1;
        link.note_messages();
        let buffer = core::mem::take(&mut link.inbox.buffer);
        let payload = buffer.get(HEADER..len);
        let result = match payload.and_then(|payload| Message::decode(buffer[0], payload)) {
            Some(message) => self.handle(key, message),
            None => Err(PeerFault::Message.into()),
        };
        if let Some(link) = self.links.get_mut(key) {
            link.inbox.buffer = buffer;
        }
        self.note_failure(key, result);
    }

    /// A peer at fault loses its link at the next turn; a bug is counted.
    fn note_failure(&mut self, key: LinkKey, result: Result<(), Failure>) {
        match (result, self.links.get_mut(key)) {
            (Err(Failure::Peer(fault)), Some(link)) => link.fault = Some(fault.into()),
            (Err(Failure::Bug(bug)), _) => self.guest.note_bug(bug),
            (Err(Failure::Peer(_)), None) | (Ok(()), _) => {}
        }
    }

    /// Does what a message of the link's peer says.
    fn handle(&mut self, key: LinkKey, message: Message<'_>) -> Result<(), Failure> {
        let link = self.links.get_mut(key).ok_or(LINK_STANDS)?;
        let guest = &mut self.guest;
        match message {
            Message::Frame(frame) => self.take_frame(key, frame)?,
            Message::Ring {
                own,
                size,
                references,
            } => link.take_peer_ring(guest, own, size, references)?,
            Message::Switch { own, tuple, base } => {
                self.switched(key, own, tuple.flipped(), base)?;
            }
            Message::Confirm {
                your,
                reason,
                offset,
            } => match link.own_ring_answered(your, true, guest.noticed)? {
                Some(conn) => {
                    let result = self.with_flow(conn, |flow| flow.confirmed(your, reason, offset));
                    result.ok_or(CONN_STANDS)??;
                }
                None => link.drop_in_peer_pages(guest, your),
            },
            Message::Fallback { own, .. } => {
                // Without a user, the answer has crossed it; a ring in pages of this
                // guest has ended with that.
                if let Some(conn) = link.peer_ring(own).and_then(|ring| ring.user) {
                    let result = self.with_flow(conn, |flow| flow.confirm(Reason::Fallback));
                    result.ok_or(CONN_STANDS)?;
                }
            }
            Message::Done { your, offset } => {
                if let Some(conn) = link.own_ring_answered(your, false, guest.noticed)? {
                    let result = self.with_flow(conn, |flow| flow.done(your, offset));
                    if result.ok_or(CONN_STANDS)?? {
                        self.rehome(key);
                    }
                }
            }
            Message::Retire { own } => link.retire_peer_ring(guest, own)?,
            Message::Released { your } => link.own_ring_released(guest, your)?,
            Message::Member {
                event,
                uuid,
                address,
            } => {
                // It makes nobody a peer.
                if matches!(event, MemberEvent::Join | MemberEvent::Arrived) {
                    self.peers.forget_remote(address);
                }
                guest.outputs.push_if_room(Output::Member(Membership {
                    event,
                    uuid,
                    address,
                    hearsay: true,
                }));
            }
            Message::Leave(leave) => self.peer_leaves(key, leave)?,
            Message::Ask { own, size } => link.grant_asked(guest, own, size)?,
            Message::Granted {
                your,
                size,
                references,
            } => {
                if link.take_granted(guest, your, size, references)? {
                    self.rehome(key);
                }
            }
            Message::Migrating(migrates) => self.peer_migrates(key, migrates),
            Message::Address { pair, nonce_a } => self.asked_address(key, pair.flipped(), &nonce_a),
            Message::Proved {
                pair,
                nonce_a,
                cookie,
            } => self.proved_address(key, pair.flipped(), nonce_a, &cookie),
            Message::Lost { address } => self.peer_lost_address(key, address),
        }
        Ok(())
    }

    /// SWITCH: a connection's bytes go through a ring of the peer from `base` on.
    fn switched(
        &mut self,
        key: LinkKey,
        number: RingNumber,
        tuple: FourTuple,
        base: u64,
    ) -> Result<(), Failure> {
        let link = self.links.get_mut(key).ok_or(LINK_STANDS)?;
        let ring = link.peer_ring(number);
        if ring.is_none_or(|ring| ring.user.is_some()) {
            return Err(PeerFault::Message.into());
        }
        let conn = self.conns.find(&tuple);
        let is_on_link = |conn: &ConnKey| {
            let conn = self.conns.get(*conn);
            conn.is_some_and(|conn| conn.link == Some(key))
        };
        if let Some(conn) = conn.filter(is_on_link) {
            let result = self.with_flow(conn, |flow| flow.switched(number, base));
            return result.ok_or(CONN_STANDS)?;
        }
        let reason = if self.peers.link(tuple.pair()) != Some(key) {
            Reason::WrongAddress
        } else if !link.is_open() {
            Reason::Leaving
        } else {
            Reason::NoConnection
        };
        link.refuse_switch(&mut self.guest, number, reason, base);
        Ok(())
    }

    /// The peer has written to one of its rings (`is_data`), or taken bytes from
    /// one of ours. Returns whether that matters.
    fn ring_event(&mut self, key: LinkKey, number: RingNumber, is_data: bool) -> bool {
        let Some(link) = self.links.get(key) else {
            return false;
        };
        let user = if is_data {
            link.peer_ring(number).and_then(|ring| ring.user)
        } else {
            link.user_of(number)
        };
        let Some(conn) = user else {
            return false;
        };
        let result = self.with_flow(conn, |flow| match is_data {
            true => flow.data_arrived(number),
            false => flow.space_freed(number),
        });
        let result = result.unwrap_or(Err(CONN_STANDS.into()));
        let matters = result == Ok(true);
        self.note_failure(key, result.map(drop));
        matters
    }
}
