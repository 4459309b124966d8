//! What all links and connections of this guest share.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::cause::Cause;
use crate::config::Config;
use crate::error::Bug;
use crate::flow::resends::Resends;
use crate::limits::DISCARD_BUFFER;
use crate::link::budget::Pool;
use crate::output::{Output, Outputs};
use crate::platform::Platform;
use crate::statistics::Statistics;
use crate::suspend::phase::Phase;
use crate::wire::datagram::{Datagram, Kind, Nonce};
use crate::wire::resume::{Entry, Epoch, Resume};

/// The platform, the limits, the outputs and the counters of this guest.
pub(crate) struct Guest<P: Platform> {
    pub(crate) platform: P,
    pub(crate) config: Config,
    pub(crate) pool: Pool<P>,
    pub(crate) outputs: Outputs,
    pub(crate) resends: Resends,
    pub(crate) stats: Statistics,
    /// The early notice has come, and the channel stays (`vmc=advance`).
    pub(crate) noticed: bool,
    /// All links were left, or frozen; nobody is greeted before `renew`.
    pub(crate) parted: bool,
    /// A sender found no room in the pool: an idle ring of any link would help.
    pub(crate) wants_reclaim: bool,
    /// Where bytes without a reader go.
    discard: Vec<u8>,
}

impl<P: Platform> Guest<P> {
    pub(crate) fn new(platform: P, config: Config) -> Self {
        Self {
            pool: Pool::new(config.memory_pages()),
            platform,
            config,
            outputs: Outputs::default(),
            resends: Resends::default(),
            stats: Statistics::default(),
            noticed: false,
            parted: false,
            wants_reclaim: false,
            discard: vec![0; DISCARD_BUFFER],
        }
    }

    /// Ends the grants of a region, now or soon.
    pub(crate) fn take_back(&mut self, region: P::Region, pages: usize) {
        self.pool.take_back(&mut self.platform, region, pages);
    }

    /// Sends a datagram of discovery.
    pub(crate) fn send(&mut self, to: IpAddr, nonce_a: Nonce, kind: Kind) {
        let datagram = Datagram {
            domid: self.platform.domid(),
            uuid: self.config.uuid,
            nonce_a,
            kind,
        };
        let bytes = datagram.encode();
        self.outputs.push_if_room(Output::Datagram { to, bytes });
    }

    /// Sends RESUME, or RESUMED if `is_answer`.
    pub(crate) fn send_resume(
        &mut self,
        to: IpAddr,
        epoch: &Epoch,
        is_answer: bool,
        entries: &[Entry],
    ) {
        let domid = self.platform.domid();
        let uuid = self.config.uuid;
        let bytes = Resume::encode(uuid, domid, *epoch, is_answer, entries);
        self.outputs.push_if_room(Output::Datagram { to, bytes });
    }

    /// Tells that a migration has reached a phase on the link with `address`.
    pub(crate) fn trace(&mut self, address: IpAddr, phase: Phase, bytes: u64) {
        let at = self.platform.now();
        self.outputs.push_if_room(Output::Migration {
            address,
            phase,
            bytes,
            at,
        });
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
