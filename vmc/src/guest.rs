//! What all links and connections of this guest share.

use alloc::vec;
use alloc::vec::Vec;

use crate::cause::Cause;
use crate::config::Config;
use crate::error::Bug;
use crate::flow::resends::Resends;
use crate::keys::LinkKey;
use crate::limits::DISCARD_BUFFER;
use crate::link::budget::{Pool, Share};
use crate::membership::{Membership, News, NewsItem};
use crate::output::{Output, Outputs};
use crate::platform::{Instant, Platform, Uuid};
use crate::statistics::Statistics;
use crate::stream::Pair;
use crate::suspend::phase::Phase;
use crate::wire::datagram::{Cookie, Datagram, Kind, Nonce};
use crate::wire::message::MemberEvent;
use crate::wire::resume::{Entry, Epoch, Resume};

/// The platform, the limits, the outputs and the counters of this guest.
pub(crate) struct Guest<P: Platform> {
    pub(crate) platform: P,
    pub(crate) config: Config,
    pub(crate) pool: Pool<P>,
    pub(crate) outputs: Outputs,
    pub(crate) news: News,
    pub(crate) resends: Resends,
    pub(crate) stats: Statistics,
    /// The early notice has come, and the channel stays (`vmc=advance`).
    pub(crate) noticed: bool,
    /// All links were left, or frozen; nobody is greeted before `renew`.
    pub(crate) parted: bool,
    /// This guest is being suspended: nothing is asked or answered before `renew`.
    pub(crate) frozen: bool,
    /// A connection that a suspend had left to settle has ended.
    pub(crate) has_let_go: bool,
    /// A sender found no room in the pool: an idle ring of any link would help.
    pub(crate) wants_reclaim: bool,
    /// Where bytes without a reader go.
    discard: Vec<u8>,
}

impl<P: Platform> Guest<P> {
    pub(crate) fn new(platform: P, config: Config) -> Self {
        Self {
            pool: Pool::new(config.memory_pages(), config.max_peers),
            platform,
            config,
            outputs: Outputs::default(),
            news: News::default(),
            resends: Resends::default(),
            stats: Statistics::default(),
            noticed: false,
            parted: false,
            frozen: false,
            has_let_go: false,
            wants_reclaim: false,
            discard: vec![0; DISCARD_BUFFER],
        }
    }

    /// Ends the grants of a region, now or as soon as its peer unmaps it.
    pub(crate) fn take_back(&mut self, region: P::Region, share: Share) {
        self.pool.take_back(&mut self.platform, region, share);
    }

    /// Sends a datagram of discovery.
    pub(crate) fn send(&mut self, pair: Pair, nonce_a: Nonce, kind: Kind) {
        self.send_datagram(
            pair,
            &Datagram {
                domid: self.platform.domid(),
                uuid: self.config.uuid,
                nonce_a,
                kind,
            },
        );
    }

    /// Sends CHALLENGE, which does not say who answers: its receiver may be
    /// anybody.
    pub(crate) fn challenge(&mut self, pair: Pair, nonce_a: Nonce, cookie: Cookie) {
        self.send_datagram(
            pair,
            &Datagram {
                domid: 0,
                uuid: Uuid([0; 16]),
                nonce_a,
                kind: Kind::Challenge { cookie },
            },
        );
    }

    fn send_datagram(&mut self, pair: Pair, datagram: &Datagram) {
        let bytes = datagram.encode();
        self.outputs.push_if_room(Output::Datagram { pair, bytes });
    }

    /// Sends RESUME, or RESUMED if `is_answer`.
    pub(crate) fn send_resume(
        &mut self,
        pair: Pair,
        epoch: &Epoch,
        is_answer: bool,
        entries: &[Entry],
    ) {
        let domid = self.platform.domid();
        let uuid = self.config.uuid;
        let bytes = Resume::encode(uuid, domid, *epoch, is_answer, entries);
        self.outputs.push_if_room(Output::Datagram { pair, bytes });
    }

    /// Tells that a migration has reached a phase on the link of `pair`.
    pub(crate) fn trace(&mut self, pair: Pair, phase: Phase, bytes: u64) {
        let at = self.platform.now();
        self.outputs.push_if_room(Output::Migration {
            address: pair.remote,
            phase,
            bytes,
            at,
        });
    }

    /// Tells the user what is new of the guest of a link, and with
    /// [`Links::tell`](crate::link::Links::tell) all other peers.
    pub(crate) fn publish(&mut self, from: LinkKey, event: MemberEvent, uuid: Uuid, pair: Pair) {
        let address = pair.remote;
        self.outputs.push_if_room(Output::Member(Membership {
            event,
            uuid,
            address,
            hearsay: false,
        }));
        self.news.push(NewsItem {
            event,
            uuid,
            address,
            from,
        });
    }

    /// Returns until when a suspended peer is awaited from now on.
    pub(crate) fn peer_deadline(&self) -> Instant {
        self.platform.now().after(self.config.peer_timeout)
    }

    /// Counts a peer that named an address that is not its own.
    pub(crate) fn note_wrong_address(&mut self) {
        self.stats.ends.count(Cause::WrongAddress);
    }

    /// Reports a broken invariant: a panic in builds with debug assertions, a
    /// counter in others.
    pub(crate) fn note_bug(&mut self, bug: Bug) {
        debug_assert!(false, "{}", bug.0);
        self.stats.bugs += 1;
    }

    /// Lends the buffer for bytes without a reader; give it back with
    /// [`Guest::return_discard`].
    pub(crate) fn borrow_discard(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.discard)
    }

    pub(crate) fn return_discard(&mut self, buffer: Vec<u8>) {
        self.discard = buffer;
    }
}
