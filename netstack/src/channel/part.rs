//! The channel's part in a suspend. With `vmc=advance` the links stay through pre-copy and end at
//! the last moment; with `vmc=original` they are left when the migration begins, as the original
//! XENVMC does (design rule R16). Either way the peers are found again afterwards.

use kernel::lifecycle::{Lifecycle, Outcome};
use vmc::{LeaveReason, Mode, Platform};

use super::Channel;
use crate::stack::Shared;

/// The channel, as the guest's lifecycle sees it.
pub(crate) struct Part<P: Platform> {
    shared: Shared<P>,
    mode: Mode,
}

impl<P: Platform> Part<P> {
    pub(super) fn new(shared: Shared<P>, mode: Mode) -> Self {
        Self { shared, mode }
    }

    fn with(&self, action: impl FnOnce(&mut Channel<P>)) {
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

impl<P: Platform> Lifecycle for Part<P> {
    fn name(&self) -> &'static str {
        "channel"
    }

    fn early_notice(&self) {
        match self.mode {
            Mode::Original => self.leave(),
            Mode::Advance => self.with(|channel| channel.vmc.early_notice()),
        }
    }

    fn notice_withdrawn(&self) {
        match self.mode {
            Mode::Original => self.renew(),
            Mode::Advance => self.with(|channel| channel.vmc.withdraw_notice()),
        }
    }

    fn settle(&self) {
        if self.mode == Mode::Original {
            self.leave();
        }
    }

    fn end(&self) {
        self.with(|channel| channel.vmc.leave(LeaveReason::Shutdown));
    }

    fn is_settled(&self) -> bool {
        self.shared.with(|stack| {
            let channel = stack.channel.as_ref();
            let is_ending = channel.is_some_and(|channel| channel.vmc.is_leaving());
            !is_ending
        })
    }

    fn quiesce(&self) {
        self.with(|channel| channel.vmc.freeze());
    }

    fn resume(&self, outcome: Outcome) {
        // In a new domain the guest first has to learn its domid, which its greetings carry.
        if outcome == Outcome::Cancelled {
            self.renew();
        }
    }

    fn identified(&self) {
        self.renew();
    }
}
