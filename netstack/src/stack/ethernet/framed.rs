//! The device as smoltcp sees it: it carries IP packets, and this gives them their Ethernet header.

use core::num::NonZeroUsize;

use smoltcp::phy::{self, Device, DeviceCapabilities, Medium, PacketMeta};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, IpVersion};

use crate::packet::ETHERNET;

/// An Ethernet device that carries IP packets.
pub(in crate::stack) struct Framed<D> {
    pub(in crate::stack) device: D,
    pub(in crate::stack) mac: EthernetAddress,
}

impl<D: Device> Device for Framed<D> {
    type RxToken<'t>
        = RxToken<D::RxToken<'t>>
    where
        Self: 't;
    type TxToken<'t>
        = TxToken<D::TxToken<'t>>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let mac = self.mac;
        let (receive, device) = self.device.receive(now)?;
        Some((RxToken(receive), TxToken { device, mac }))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        let mac = self.mac;
        let device = self.device.transmit(now)?;
        Some(TxToken { device, mac })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = self.device.capabilities();
        capabilities.max_transmission_unit = capabilities.ip_mtu();
        // The limits for what the card cuts are of whole frames, too.
        let of_packet = |limit: Option<NonZeroUsize>| {
            limit.and_then(|limit| NonZeroUsize::new(limit.get().saturating_sub(ETHERNET)))
        };
        let segmentation = &mut capabilities.segmentation;
        segmentation.tcpv4 = of_packet(segmentation.tcpv4);
        segmentation.tcpv6 = of_packet(segmentation.tcpv6);
        capabilities.medium = Medium::Ip;
        capabilities
    }
}

/// A packet that came in; an empty one if the frame carried none.
pub(in crate::stack) struct RxToken<R>(R);

impl<R: phy::RxToken> phy::RxToken for RxToken<R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, f: F) -> T {
        self.0
            .consume(|frame| f(frame.get(ETHERNET..).unwrap_or_default()))
    }

    fn meta(&self) -> PacketMeta {
        self.0.meta()
    }
}

/// The right to send one packet.
pub(in crate::stack) struct TxToken<T> {
    device: T,
    mac: EthernetAddress,
}

impl<T: phy::TxToken> phy::TxToken for TxToken<T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.device.consume(ETHERNET + len, |frame| {
            let result = f(&mut frame[ETHERNET..]);
            let mut frame = EthernetFrame::new_unchecked(frame);
            let is_v6 = IpVersion::of_packet(frame.payload_mut()) == Ok(IpVersion::Ipv6);
            frame.set_src_addr(self.mac);
            // Which neighbour it is for is decided where the card is. A link between two guests
            // needs to know none.
            frame.set_dst_addr(EthernetAddress::BROADCAST);
            frame.set_ethertype(if is_v6 {
                EthernetProtocol::Ipv6
            } else {
                EthernetProtocol::Ipv4
            });
            result
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.device.set_meta(meta);
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::TxToken as _;

    use super::*;

    /// A card that cuts frames of 65,535 bytes at most.
    struct Cutter;

    struct Longest(usize);

    impl phy::RxToken for Longest {
        fn consume<T, F: FnOnce(&[u8]) -> T>(self, f: F) -> T {
            f(&[])
        }
    }

    impl phy::TxToken for Longest {
        fn consume<T, F: FnOnce(&mut [u8]) -> T>(self, len: usize, f: F) -> T {
            assert!(len <= self.0, "a frame of {len} bytes");
            f(&mut alloc::vec![0; len])
        }
    }

    impl Device for Cutter {
        type RxToken<'t> = Longest;
        type TxToken<'t> = Longest;

        fn receive(&mut self, _: Instant) -> Option<(Longest, Longest)> {
            None
        }

        fn transmit(&mut self, _: Instant) -> Option<Longest> {
            let limit = self.capabilities().segmentation.tcpv4;
            limit.map(|limit| Longest(limit.get()))
        }

        fn capabilities(&self) -> DeviceCapabilities {
            let mut capabilities = DeviceCapabilities::default();
            capabilities.medium = Medium::Ethernet;
            capabilities.max_transmission_unit = 1500 + ETHERNET;
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(0xffff);
            capabilities
        }
    }

    #[test]
    fn the_longest_packet_fits_the_card_with_its_header() {
        let mut framed = Framed {
            device: Cutter,
            mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
        };
        let capabilities = framed.capabilities();
        assert_eq!(capabilities.ip_mtu(), 1500);
        assert_eq!(capabilities.segmentation.tcpv6, None);
        let longest = capabilities.segmentation.tcpv4.expect("it cuts").get();
        let token = framed.transmit(Instant::ZERO).expect("room");
        token.consume(longest, |packet| assert_eq!(packet.len(), longest));
    }
}
