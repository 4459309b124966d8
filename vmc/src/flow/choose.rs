//! System Call Analyzer (M4): decides which path the next byte of a sender
//! takes. Its other half is the socket layer, `netstack/src/channel`.

use super::conn::{Fin, Path};
use super::view::Flow;
use crate::link::Link;
use crate::platform::Platform;
use crate::wire::control::SideState;

/// Where the next byte goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Along the path that the sender is on.
    Keep,
    /// Into TCP: there was no room for a ring a few writes ago.
    KeepTcp,
    /// Into a ring, if there is one: it is the first byte that finds a link.
    TryRing,
}

impl<P: Platform> Flow<'_, P> {
    /// Decides where the next byte goes. Changes nothing.
    pub(super) fn choose(&self) -> Choice {
        let sender = &self.conn.sender;
        let may_switch = sender.path == Path::Tcp
            && !(sender.refused || self.conn.off_link)
            && sender.fin == Fin::Open;
        if !may_switch || !self.link.as_deref().is_some_and(takes_senders) {
            Choice::Keep
        } else if sender.writes_before_retry > 0 {
            Choice::KeepTcp
        } else {
            Choice::TryRing
        }
    }

    /// Carries a choice out; returns the path that the next byte takes.
    pub(super) fn act_on(&mut self, choice: Choice) -> Path {
        match choice {
            Choice::Keep => {}
            Choice::KeepTcp => self.conn.sender.writes_before_retry -= 1,
            Choice::TryRing => self.upgrade(),
        }
        self.conn.sender.path
    }
}

/// Whether a link takes another sender.
fn takes_senders<P: Platform>(link: &Link<P>) -> bool {
    // A migrating peer stops without an event, and another guest may have its
    // address by now.
    let has_stopped = link.peer_migrates && link.peer_state() != SideState::Open;
    !has_stopped && link.is_open() && link.fault.is_none() && !link.outbox.is_behind()
}
