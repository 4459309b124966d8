//! The wire format of netfront's two rings (`xen/include/public/io/netif.h`), little-endian.

/// Status of a response: no error (`NETIF_RSP_OKAY`).
pub(super) const RSP_OKAY: i16 = 0;
/// Status of the response to a slot with extra info (`NETIF_RSP_NULL`); its id has no meaning.
pub(super) const RSP_NULL: i16 = 1;

/// Bytes of the longest packet that a transmit request can announce (`XEN_NETIF_MAX_TX_SIZE`).
pub(super) const MAX_TX_SIZE: usize = 0xffff;
/// Slots of one packet, extra info not counted, that every backend accepts
/// (`XEN_NETIF_NR_SLOTS_MIN`).
pub(super) const MAX_SLOTS: usize = 18;

/// Flags of a transmit request (`NETTXF_*`).
pub(super) mod tx_flag {
    /// The TCP or UDP checksum holds only the pseudo-header's sum.
    pub(in super::super) const CSUM_BLANK: u16 = 1 << 0;
    /// The checksum need not be checked.
    pub(in super::super) const DATA_VALIDATED: u16 = 1 << 1;
    /// The packet continues in the next request.
    pub(in super::super) const MORE_DATA: u16 = 1 << 2;
    /// The next slot holds extra info.
    pub(in super::super) const EXTRA_INFO: u16 = 1 << 3;
}

/// Flags of a receive response (`NETRXF_*`): the same flags in another order.
pub(super) mod rx_flag {
    /// The checksum has been checked, or need not be.
    pub(in super::super) const DATA_VALIDATED: u16 = 1 << 0;
    /// The TCP or UDP checksum holds only the pseudo-header's sum.
    pub(in super::super) const CSUM_BLANK: u16 = 1 << 1;
    /// The packet continues in the next response.
    pub(in super::super) const MORE_DATA: u16 = 1 << 2;
    /// The next slot holds extra info.
    pub(in super::super) const EXTRA_INFO: u16 = 1 << 3;
}

/// `XEN_NETIF_EXTRA_TYPE_GSO`.
const EXTRA_TYPE_GSO: u8 = 1;
/// Number of extra info types, the invalid 0 included (`XEN_NETIF_EXTRA_TYPE_MAX`).
const EXTRA_TYPE_MAX: u8 = 5;
/// `XEN_NETIF_EXTRA_FLAG_MORE`.
const EXTRA_FLAG_MORE: u8 = 1;
/// `XEN_NETIF_GSO_TYPE_TCPV4`.
const GSO_TYPE_TCPV4: u8 = 1;

/// `netif_tx_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TxRequest {
    /// Grant reference of the page.
    pub(super) gref: u32,
    /// Offset of the data in the page, in bytes.
    pub(super) offset: u16,
    /// [`tx_flag`]s.
    pub(super) flags: u16,
    /// Echoed in the response.
    pub(super) id: u16,
    /// In the packet's first request the bytes of the whole packet, in others those of the fragment.
    pub(super) size: u16,
}

impl TxRequest {
    pub(super) fn encode(&self) -> [u8; 12] {
        let mut slot = [0; 12];
        slot[0..4].copy_from_slice(&self.gref.to_le_bytes());
        slot[4..6].copy_from_slice(&self.offset.to_le_bytes());
        slot[6..8].copy_from_slice(&self.flags.to_le_bytes());
        slot[8..10].copy_from_slice(&self.id.to_le_bytes());
        slot[10..12].copy_from_slice(&self.size.to_le_bytes());
        slot
    }
}

/// Encodes the extra info that asks the backend to cut a TCP/IPv4 packet into segments with `mss`
/// bytes of payload each (`XEN_NETIF_EXTRA_TYPE_GSO`).
pub(super) fn encode_gso_tcpv4(mss: u16) -> [u8; 12] {
    let mut slot = [0; 12];
    slot[0] = EXTRA_TYPE_GSO;
    slot[2..4].copy_from_slice(&mss.to_le_bytes());
    slot[4] = GSO_TYPE_TCPV4;
    slot
}

/// `netif_tx_response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TxResponse {
    pub(super) id: u16,
    pub(super) status: i16,
}

impl TxResponse {
    pub(super) fn decode(slot: [u8; 4]) -> Self {
        Self {
            id: u16::from_le_bytes([slot[0], slot[1]]),
            status: i16::from_le_bytes([slot[2], slot[3]]),
        }
    }
}

/// `netif_rx_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RxRequest {
    pub(super) id: u16,
    pub(super) gref: u32,
}

impl RxRequest {
    pub(super) fn encode(&self) -> [u8; 8] {
        let mut slot = [0; 8];
        slot[0..2].copy_from_slice(&self.id.to_le_bytes());
        slot[4..8].copy_from_slice(&self.gref.to_le_bytes());
        slot
    }
}

/// `netif_rx_response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RxResponse {
    pub(super) id: u16,
    /// Offset of the data in the page, in bytes.
    pub(super) offset: u16,
    /// [`rx_flag`]s.
    pub(super) flags: u16,
    /// Bytes of data, or a negative error.
    pub(super) status: i16,
}

impl RxResponse {
    pub(super) fn decode(slot: [u8; 8]) -> Self {
        let half = |at: usize| u16::from_le_bytes([slot[at], slot[at + 1]]);
        Self {
            id: half(0),
            offset: half(2),
            flags: half(4),
            status: half(6) as i16,
        }
    }
}

/// `netif_extra_info` in a receive slot, as far as a receiver needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RxExtra {
    /// Whether another extra info follows.
    pub(super) more: bool,
    /// Whether the packet is larger than the MTU because it was never cut into segments.
    pub(super) gso: bool,
}

impl RxExtra {
    /// Decodes a slot; returns `None` for a type that does not exist.
    pub(super) fn decode(slot: [u8; 8]) -> Option<Self> {
        let [kind, flags, ..] = slot;
        (kind != 0 && kind < EXTRA_TYPE_MAX).then_some(Self {
            more: flags & EXTRA_FLAG_MORE != 0,
            gso: kind == EXTRA_TYPE_GSO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Layouts as netif.h draws them.

    #[test]
    fn tx_request_layout() {
        let request = TxRequest {
            gref: 0x0403_0201,
            offset: 0x0605,
            flags: tx_flag::CSUM_BLANK | tx_flag::MORE_DATA,
            id: 0x0a09,
            size: 0x0c0b,
        };
        assert_eq!(request.encode(), [1, 2, 3, 4, 5, 6, 5, 0, 9, 10, 11, 12]);
    }

    #[test]
    fn gso_layout() {
        assert_eq!(
            encode_gso_tcpv4(1448),
            [1, 0, 0xa8, 0x05, 1, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn responses_decode() {
        assert_eq!(
            TxResponse::decode([1, 2, 0xff, 0xff]),
            TxResponse {
                id: 0x0201,
                status: -1
            }
        );
        assert_eq!(
            RxResponse::decode([1, 2, 3, 4, 5, 0, 0xdc, 0x05]),
            RxResponse {
                id: 0x0201,
                offset: 0x0403,
                flags: rx_flag::DATA_VALIDATED | rx_flag::MORE_DATA,
                status: 1500
            }
        );
        assert_eq!(
            RxRequest {
                id: 0x0201,
                gref: 0x0807_0605
            }
            .encode(),
            [1, 2, 0, 0, 5, 6, 7, 8]
        );
    }

    #[test]
    fn extra_info_decodes() {
        let gso = RxExtra {
            more: true,
            gso: true,
        };
        assert_eq!(RxExtra::decode([1, 1, 0, 0, 0, 0, 0, 0]), Some(gso));
        let hash = RxExtra {
            more: false,
            gso: false,
        };
        assert_eq!(RxExtra::decode([4, 0, 9, 9, 9, 9, 9, 9]), Some(hash));
        assert_eq!(RxExtra::decode([0; 8]), None);
        assert_eq!(RxExtra::decode([5, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
