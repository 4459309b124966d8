//! A device that remembers the router advertisement that it hands on. smoltcp answers what a
//! neighbour asks, and takes nothing from an advertisement ([`crate::autoconf`] does).

use alloc::vec::Vec;
use core::cell::Cell;

use smoltcp::phy::{self, Device, DeviceCapabilities, PacketMeta};
use smoltcp::time::Instant;

use crate::autoconf::is_advertisement;

/// A device, and the place for the latest advertisement that it handed on.
pub(super) struct Overheard<'a, D> {
    pub(super) device: D,
    pub(super) advertisement: &'a Cell<Option<Vec<u8>>>,
}

impl<D: Device> Device for Overheard<'_, D> {
    type RxToken<'t>
        = RxToken<'t, D::RxToken<'t>>
    where
        Self: 't;
    type TxToken<'t>
        = D::TxToken<'t>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let (frame, transmit) = self.device.receive(now)?;
        let advertisement = self.advertisement;
        Some((
            RxToken {
                frame,
                advertisement,
            },
            transmit,
        ))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        self.device.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.device.capabilities()
    }
}

/// A frame that came in.
pub(super) struct RxToken<'a, R> {
    frame: R,
    advertisement: &'a Cell<Option<Vec<u8>>>,
}

impl<R: phy::RxToken> phy::RxToken for RxToken<'_, R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, f: F) -> T {
        self.frame.consume(|frame| {
            if is_advertisement(frame) {
                self.advertisement.set(Some(frame.to_vec()));
            }
            f(frame)
        })
    }

    fn meta(&self) -> PacketMeta {
        self.frame.meta()
    }
}
