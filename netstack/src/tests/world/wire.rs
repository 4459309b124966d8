//! The device of a host, with a queue at each end.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::stack::Card;

/// A device whose two ends are queues.
pub(in crate::tests) struct Wire {
    /// Bytes of the longest frame.
    pub(in crate::tests) frame: usize,
    pub(in crate::tests) inbox: VecDeque<Vec<u8>>,
    pub(in crate::tests) outbox: Vec<Vec<u8>>,
}

impl Device for Wire {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Outbox<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Outbox<'_>)> {
        let frame = self.inbox.pop_front()?;
        Some((Frame(frame), Outbox(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outbox<'_>> {
        // A poll may queue this much before the world carries it away.
        (self.outbox.len() < 256).then_some(Outbox(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.frame;
        capabilities
    }
}

pub(in crate::tests) struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(in crate::tests) struct Outbox<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Outbox<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        Wire::send_if(self, len, |frame| (f(frame), true))
    }
}

impl Card for Wire {
    fn send_if<'a, R>(
        token: Outbox<'a>,
        len: usize,
        build: impl FnOnce(&mut [u8]) -> (R, bool),
    ) -> R
    where
        Self: 'a,
    {
        let mut frame = alloc::vec![0; len];
        let (result, is_sent) = build(&mut frame);
        if is_sent {
            token.0.push(frame);
        }
        result
    }
}
