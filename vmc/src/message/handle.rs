//! What a message does.

use super::Message;
use crate::channel::Vmc;
use crate::output::Cause;
use crate::platform::Platform;

impl<P: Platform> Vmc<P> {
    /// Does what a message of a link's peer says.
    ///
    /// # Errors
    /// Why the link is to be closed.
    pub(super) fn handle(&mut self, index: usize, message: Message<'_>) -> Result<(), Cause> {
        match message {
            Message::Frame(frame) => self.take_frame(index, frame),
            Message::Ring {
                own,
                log2,
                references,
            } => self.take_peer_ring(index, own, log2, references),
            Message::Switch { own, tuple, base } => self.switched(index, own, tuple, base),
            Message::Confirm {
                your,
                reason,
                offset,
            } => self.confirmed(index, your, reason, offset),
            Message::Fallback { own, reason } => self.fall_back(index, own, reason),
            Message::Done { your, offset } => self.done(index, your, offset),
            Message::Retire { own } => self.retire_peer_ring(index, own),
            Message::Released { your } => self.own_ring_released(index, your),
            Message::Member {
                event,
                uuid,
                address,
            } => {
                self.hear(event, uuid, address);
                Ok(())
            }
            Message::Leave(leave) => self.peer_leaves(index, leave),
            Message::Ask { own, log2 } => self.asked(index, own, log2),
            Message::Home {
                your,
                log2,
                references,
            } => self.home(index, your, log2, references),
            Message::Migrating(migrates) => {
                self.peer_migrates(index, migrates);
                Ok(())
            }
        }
    }
}
