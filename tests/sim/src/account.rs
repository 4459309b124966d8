//! What the channel of a guest sends to addresses that have shown nothing, against
//! what it got from there (design rule R17).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Bytes to and from an address.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes {
    received: u64,
    sent: u64,
}

/// The account of all guests.
#[derive(Debug, Default)]
pub struct Account {
    bytes: BTreeMap<(usize, IpAddr), Bytes>,
    /// Addresses with which a guest has had a link.
    linked: BTreeSet<(usize, IpAddr)>,
    /// Whose datagrams have reached each guest.
    contacts: BTreeSet<(usize, usize)>,
}

impl Account {
    /// A datagram that claims to be from `from` has reached a guest; `origin`
    /// really sent it.
    pub fn receive(&mut self, guest: usize, from: IpAddr, origin: Option<usize>, len: usize) {
        self.bytes.entry((guest, from)).or_default().received += len as u64;
        if let Some(origin) = origin {
            self.contacts.insert((guest, origin));
        }
    }

    /// A guest sends a datagram to an address that it has not contacted of its own
    /// accord.
    ///
    /// # Errors
    /// Says by how much it sends more than it got from there.
    pub fn send(&mut self, guest: usize, to: IpAddr, len: usize) -> Result<(), String> {
        let bytes = self.bytes.entry((guest, to)).or_default();
        bytes.sent += len as u64;
        if bytes.sent > bytes.received && !self.linked.contains(&(guest, to)) {
            let Bytes { received, sent } = *bytes;
            return Err(format!(
                "{sent} bytes went to {to}, which has shown nothing, for {received} from there"
            ));
        }
        Ok(())
    }

    /// A guest has a link with an address.
    pub fn link(&mut self, guest: usize, address: IpAddr) {
        self.linked.insert((guest, address));
    }

    /// A guest has contacted another, of its own accord.
    pub fn contact(&mut self, guest: usize, with: usize) {
        self.contacts.insert((guest, with));
    }

    /// Whether a guest has heard of another, from itself.
    #[must_use]
    pub fn has_contact(&self, guest: usize, with: usize) -> bool {
        self.contacts.contains(&(guest, with))
    }
}
