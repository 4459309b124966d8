//! The channel's part in a suspend: all links are left before it, and found again after it.
//!
//! This is what the original XENVMC does (`vmc=original`, design rule R16): shared memory ends
//! when the migration begins, and traffic goes on over TCP through pre-copy.

use kernel::lifecycle::{Lifecycle, Outcome};
use vmc::LeaveReason;

use super::Channel;
use crate::stack::Shared;

/// Registered after the network, so that it settles before it: what leaves a link goes on over
/// TCP.
pub(crate) struct Part {
    pub(crate) shared: Shared,
}

impl Part {
    fn with(&self, action: impl FnOnce(&mut Channel)) {
        self.shared.with(|stack| {
            if let Some(channel) = &mut stack.channel {
                action(channel);
                channel.kick();
            }
        });
    }

    fn leave(&self) {
        self.with(|channel| channel.vmc.leave(LeaveReason::Migrating));
    }

    fn renew(&self) {
        self.with(|channel| channel.vmc.renew());
    }
}

impl Lifecycle for Part {
    fn name(&self) -> &'static str {
        "channel"
    }

    fn early_notice(&self) {
        self.leave();
    }

    fn notice_withdrawn(&self) {
        self.renew();
    }

    fn settle(&self) {
        self.leave();
    }

    fn end(&self) {
        self.with(|channel| channel.vmc.leave(LeaveReason::Shutdown));
    }

    fn is_settled(&self) -> bool {
        self.shared.with(|stack| {
            let channel = stack.channel.as_ref();
            channel.is_none_or(|channel| channel.vmc.is_alone())
        })
    }

    fn resume(&self, outcome: Outcome) {
        // In a new domain the guest first has to learn its number, which its greetings carry.
        if outcome == Outcome::Cancelled {
            self.renew();
        }
    }

    fn identified(&self) {
        self.renew();
    }
}
