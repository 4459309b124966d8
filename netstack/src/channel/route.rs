//! The device as smoltcp sees it, with the links beside it: frames that need not go through
//! netfront (`frames.rs`) reach a peer on this host through its link. Without a link every frame
//! goes straight to the device.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::Cell;

use smoltcp::phy::{self, Device, DeviceCapabilities, PacketMeta};
use smoltcp::time::Instant;
use vmc::{FourTuple, Platform, Vmc};

use super::Channel;
use super::frames::{Bare, Kind, OffNetfront, arrived, kind};

/// The longest frame that may take a link: an ordinary Ethernet frame.
const LONGEST: usize = 1514;

/// The device, with the links beside it.
pub(crate) struct Routed<'a, D, P: Platform> {
    device: &'a mut D,
    links: Option<Links<'a, P>>,
}

struct Links<'a, P: Platform> {
    vmc: &'a mut Vmc<P>,
    inbox: &'a mut VecDeque<Vec<u8>>,
    scratch: &'a mut Vec<u8>,
    off_netfront: &'a mut OffNetfront,
    arrived: &'a Cell<Option<FourTuple>>,
    /// A frame has been written to a link.
    used: &'a mut bool,
}

impl<'a, D: Device, P: Platform> Routed<'a, D, P> {
    /// Routes frames to the links of `channel`, if it has any, and to `device`.
    pub(crate) fn new(device: &'a mut D, channel: Option<&'a mut Channel<P>>) -> Self {
        let links = channel
            .filter(|channel| !channel.vmc.is_alone() || !channel.inbox.is_empty())
            .map(|channel| Links {
                vmc: &mut channel.vmc,
                inbox: &mut channel.inbox,
                scratch: &mut channel.scratch,
                off_netfront: &mut channel.off_netfront,
                arrived: &channel.arrived,
                used: &mut channel.framed,
            });
        Self { device, links }
    }
}

impl<P: Platform> Links<'_, P> {
    fn again(&mut self) -> Links<'_, P> {
        Links {
            vmc: self.vmc,
            inbox: self.inbox,
            scratch: self.scratch,
            off_netfront: self.off_netfront,
            arrived: self.arrived,
            used: self.used,
        }
    }

    /// Takes note of a frame that netfront carries in any case.
    fn note(&mut self, frame: &[u8]) {
        if !self.off_netfront.is_empty()
            && let Kind::Bare(Bare { tuple, .. }) | Kind::Data(tuple) = kind(frame)
        {
            self.off_netfront.remove(&tuple);
        }
    }

    /// Sends the frame in `scratch` by a link; false if netfront has to carry it.
    fn send(&mut self) -> bool {
        // What netfront has brought is answered by netfront: the peer has its reasons.
        if let Some(tuple) = self.arrived.take() {
            self.off_netfront.remove(&tuple);
        }
        match kind(self.scratch) {
            Kind::Other => false,
            Kind::Datagram(pair) => self.vmc.send_frame(pair, self.scratch),
            Kind::Bare(segment) => {
                let Some(sent) = self.off_netfront.get_mut(&segment.tuple) else {
                    return false;
                };
                let pair = segment.tuple.pair();
                let goes = !sent.repeats(&segment) && self.vmc.send_frame(pair, self.scratch);
                if goes {
                    sent.note(&segment);
                } else {
                    self.off_netfront.remove(&segment.tuple);
                }
                goes
            }
            Kind::Data(tuple) => {
                self.off_netfront.remove(&tuple);
                false
            }
        }
    }
}

impl<D: Device, P: Platform> Device for Routed<'_, D, P> {
    type RxToken<'t>
        = RxToken<'t, D::RxToken<'t>>
    where
        Self: 't;
    type TxToken<'t>
        = TxToken<'t, D::TxToken<'t>, P>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let frame = self
            .links
            .as_mut()
            .and_then(|links| links.inbox.pop_front());
        let (receive, device) = match frame {
            Some(frame) => (RxToken::Link(frame), self.device.transmit(now)),
            None => {
                let (receive, transmit) = self.device.receive(now)?;
                let links = self.links.as_mut();
                let links = links.filter(|links| !links.off_netfront.is_empty());
                let arrived = links.map(|links| links.arrived);
                (RxToken::Device(receive, arrived), Some(transmit))
            }
        };
        let transmit = TxToken {
            device,
            links: self.links.as_mut().map(Links::again),
            meta: PacketMeta::default(),
        };
        Some((receive, transmit))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        Some(TxToken {
            device: Some(self.device.transmit(now)?),
            links: self.links.as_mut().map(Links::again),
            meta: PacketMeta::default(),
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.device.capabilities()
    }
}

/// A frame that came in.
pub(crate) enum RxToken<'a, R> {
    /// With the place for the connection of its segment.
    Device(R, Option<&'a Cell<Option<FourTuple>>>),
    Link(Vec<u8>),
}

impl<R: phy::RxToken> phy::RxToken for RxToken<'_, R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, f: F) -> T {
        match self {
            Self::Device(token, None) => token.consume(f),
            Self::Device(token, Some(place)) => token.consume(|frame| {
                place.set(arrived(frame));
                f(frame)
            }),
            Self::Link(frame) => f(&frame),
        }
    }
}

/// The right to send one frame, by a link or by the device.
pub(crate) struct TxToken<'a, T, P: Platform> {
    /// `None` only if a frame from a link is answered while the device has no room.
    device: Option<T>,
    links: Option<Links<'a, P>>,
    meta: PacketMeta,
}

impl<T: phy::TxToken, P: Platform> phy::TxToken for TxToken<'_, T, P> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        if let Some(device) = &mut self.device {
            device.set_meta(self.meta);
        }
        let Some(mut links) = self.links else {
            return match self.device {
                Some(device) => device.consume(len, f),
                // Dropped for lack of room, as on any network.
                None => f(&mut alloc::vec![0; len]),
            };
        };
        if len > LONGEST {
            return match self.device {
                Some(device) => device.consume(len, |frame| {
                    let result = f(frame);
                    links.note(frame);
                    result
                }),
                None => f(&mut alloc::vec![0; len]),
            };
        }
        links.scratch.clear();
        links.scratch.resize(len, 0);
        let result = f(links.scratch);
        if links.send() {
            *links.used = true;
        } else if let Some(device) = self.device {
            device.consume(len, |frame| frame.copy_from_slice(links.scratch));
        }
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}
