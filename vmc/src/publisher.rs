//! VM State Publisher (M5): join, leave, migrating, arrived and gone reach
//! every peer as events, and an idle system sends nothing (design rule R14).

use core::fmt;
use core::net::IpAddr;

use crate::channel::Vmc;
use crate::message::Message;
use crate::output::Output;
use crate::platform::{Platform, Uuid};

/// What happened to a guest of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberEvent {
    /// A link is up.
    Join,
    /// It shuts down.
    Leave,
    /// It is about to migrate.
    Migrating,
    /// It was known, and has a new domid.
    Arrived,
    /// It was found dead.
    Gone,
}

impl MemberEvent {
    /// Its number in a MEMBER message.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Join => 1,
            Self::Leave => 2,
            Self::Migrating => 3,
            Self::Arrived => 4,
            Self::Gone => 5,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Join,
            2 => Self::Leave,
            3 => Self::Migrating,
            4 => Self::Arrived,
            5 => Self::Gone,
            _ => return None,
        })
    }
}

/// A change among the guests of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// What happened.
    pub event: MemberEvent,
    /// To whom.
    pub uuid: Uuid,
    /// At which address.
    pub address: IpAddr,
    /// A peer told it. Otherwise this guest has seen it itself.
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

impl<P: Platform> Vmc<P> {
    /// Tells the user, and the peers of all links but `except`.
    pub(crate) fn publish(
        &mut self,
        event: MemberEvent,
        uuid: Uuid,
        address: IpAddr,
        except: usize,
    ) {
        self.output_if_room(Output::Member(Membership {
            event,
            uuid,
            address,
            hearsay: false,
        }));
        for (key, link) in self.links.iter_mut() {
            if key.index as usize != except && link.is_open() {
                link.post(&Message::Member {
                    event,
                    uuid,
                    address,
                });
            }
        }
    }

    /// What a peer says of others. It makes nobody a peer.
    pub(crate) fn hear(&mut self, event: MemberEvent, uuid: Uuid, address: IpAddr) {
        if matches!(event, MemberEvent::Join | MemberEvent::Arrived) {
            self.vms.forget_remote(address);
        }
        self.output_if_room(Output::Member(Membership {
            event,
            uuid,
            address,
            hearsay: true,
        }));
    }
}
