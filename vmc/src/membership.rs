//! What is said about the guests of this host (M5, design rule R14).

use core::fmt;
use core::net::IpAddr;

use crate::keys::LinkKey;
use crate::limits::NEWS;
use crate::platform::Uuid;
use crate::wire::Message;
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

/// Something about one guest that the others are to hear.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewsItem {
    pub(crate) event: MemberEvent,
    pub(crate) uuid: Uuid,
    pub(crate) address: IpAddr,
    /// The link with that guest, which need not be told.
    pub(crate) from: LinkKey,
}

impl NewsItem {
    pub(crate) const fn message(&self) -> Message<'static> {
        Message::Member {
            event: self.event,
            uuid: self.uuid,
            address: self.address,
        }
    }
}

/// What the peers have not been told yet. Of one link only the last event counts:
/// a peer must not be able to make this guest talk to others as much as it likes
/// (design rule R18).
#[derive(Default)]
pub(crate) struct News(heapless::Deque<NewsItem, NEWS>);

impl News {
    pub(crate) fn push(&mut self, item: NewsItem) {
        if let Some(known) = self.0.iter_mut().find(|known| known.from == item.from) {
            *known = item;
            return;
        }
        if self.0.is_full() {
            self.0.pop_front();
        }
        // There is room: see above.
        let _ = self.0.push_back(item);
    }

    pub(crate) fn pop(&mut self) -> Option<NewsItem> {
        self.0.pop_front()
    }
}
