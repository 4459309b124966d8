//! The device as smoltcp sees it: it carries IP packets, and this gives them their Ethernet header.

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
