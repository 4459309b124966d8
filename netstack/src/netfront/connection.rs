//! A connection to a backend, and what the two have agreed on.

use super::headers::Version;
use super::pages::{Backend, PageError};
use super::receive::Receiver;
use super::transmit::{MAX_PAGES, Transmitter};

/// Pages that a large packet takes if it is cut here: one for each segment, with an MTU of at least
/// 1280.
const SEGMENTED_PAGES: usize = 64;

/// What the backend does with packets that we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// Packets may span several slots (`feature-sg`).
    pub(crate) scatter: bool,
    /// It completes TCP and UDP checksums over IPv4 (no `feature-no-csum-offload`).
    pub(crate) checksum_ipv4: bool,
    /// It completes TCP and UDP checksums over IPv6 (`feature-ipv6-csum-offload`).
    pub(crate) checksum_ipv6: bool,
    /// It cuts large TCP/IPv4 packets (`feature-gso-tcpv4`).
    pub(crate) segment_ipv4: bool,
}

impl Features {
    pub(super) fn segments(&self) -> bool {
        self.scatter && self.segment_ipv4 && self.checksum_ipv4
    }

    /// Returns the pages that the largest frame takes.
    fn reserve(&self) -> usize {
        if self.segments() {
            MAX_PAGES
        } else {
            SEGMENTED_PAGES
        }
    }

    pub(super) fn completes(&self, version: Version) -> bool {
        match version {
            Version::V4 => self.checksum_ipv4,
            Version::V6 => self.checksum_ipv6,
        }
    }
}

/// A connection to a backend: rings, granted pages, and the negotiated features.
pub(crate) struct Connection<B: Backend> {
    pub(super) backend: B,
    pub(super) receiver: Receiver<B::Page>,
    pub(super) transmitter: Transmitter<B::Page>,
    pub(super) features: Features,
}

impl<B: Backend> Connection<B> {
    /// Shares rings and pages with `backend`, at most `rx_pages` and `tx_pages`.
    pub(super) fn new(
        mut backend: B,
        features: Features,
        rx_pages: usize,
        tx_pages: usize,
    ) -> Result<Self, PageError> {
        let receiver = Receiver::new(&mut backend, rx_pages)?;
        let transmitter = Transmitter::new(&mut backend, tx_pages, features.reserve())?;
        Ok(Self {
            backend,
            receiver,
            transmitter,
            features,
        })
    }

    /// Returns the grant references of the transmit ring and of the receive ring.
    pub(super) fn ring_references(&self) -> (u32, u32) {
        (
            self.transmitter.ring_reference(),
            self.receiver.ring_reference(),
        )
    }

    /// Sets what the backend really offers, before the first frame.
    pub(super) fn set_features(&mut self, features: Features) {
        self.features = features;
        self.transmitter.set_reserve(features.reserve());
    }

    pub(crate) fn backend(&self) -> &B {
        &self.backend
    }

    pub(crate) fn features(&self) -> Features {
        self.features
    }
}
