//! What is said about the guests of this host (M5, design rule R14).

use core::fmt;
use core::net::IpAddr;

use crate::platform::Uuid;
use crate::wire::message::MemberEvent;

/// A change among the guests of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// What happened.
    pub event: MemberEvent,
    /// The guest.
    pub uuid: Uuid,
    /// Its address.
    pub address: IpAddr,
    /// A peer told it; otherwise this guest has seen it itself.
    pub hearsay: bool,
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = match self.event {
            MemberEvent::Join => "joins",
            MemberEvent::Leave => "leaves",
            MemberEvent::Migrating => "migrates",
            MemberEvent::Arrived => "has arrived",
            MemberEvent::Gone => "is gone",
        };
        write!(f, "{} at {} {event}", self.uuid, self.address)?;
        if self.hearsay {
            f.write_str(", a peer says")?;
        }
        Ok(())
    }
}
