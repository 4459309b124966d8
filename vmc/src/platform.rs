//! What the channel needs of the world: granted memory, event channels, a
//! clock, random numbers. The guest implements it on Xen, the simulator on a
//! fake hypervisor.

use core::fmt;

use shared_memory::Memory;

/// Number of a domain on its host (Xen's `domid_t`); it changes in a migration.
pub type DomId = u16;

/// Identity of a guest; it stays for the guest's whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A point in time, in nanoseconds of the platform's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// `nanos` later; the end of time where there is no such point.
    #[must_use]
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// State of an event channel as the hypervisor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// Allocated, and the peer has not bound it yet, or no longer.
    Unbound,
    /// Both ends are there.
    Connected,
    /// It ended with the domain that this guest was before a migration.
    Stale,
}

/// Why the platform could not do something. None of them is a fault of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformError {
    /// No memory, or none that may be used for this.
    NoMemory,
    /// No grant entry, no place to map to, no port is free.
    NoRoom,
    /// The hypervisor refused: the peer is gone, or what it named is not ours to use.
    Refused,
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMemory => "no memory",
            Self::NoRoom => "no grant, address or event channel is free",
            Self::Refused => "the hypervisor refused",
        })
    }
}

impl core::error::Error for PlatformError {}

/// The world as the channel sees it.
///
/// Regions, mappings and ports end when they are dropped. After this guest has
/// become another domain they are stale: dropping them then does nothing, and
/// a stale region is the guest's alone.
pub trait Platform {
    /// Pages of this guest that one peer may map; adjacent, and zero at first.
    type Region: Memory;
    /// Pages of a peer, mapped here, adjacent.
    type Mapping: Memory;
    /// One end of an event channel.
    type Port;

    /// This guest's number at present.
    fn domid(&self) -> DomId;

    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// Fills `bytes` with what a peer cannot foresee.
    fn random(&mut self, bytes: &mut [u8]);

    /// Grants `pages` pages to `peer`, for reading and writing.
    ///
    /// # Errors
    /// [`PlatformError::NoMemory`], [`PlatformError::NoRoom`].
    fn grant(&mut self, peer: DomId, pages: usize) -> Result<Self::Region, PlatformError>;

    /// Appends the grant references of a region, one for each page, to `into`.
    fn references(&self, region: &Self::Region, into: &mut alloc::vec::Vec<u32>);

    /// Whether the grants of a region ended with the domain that this guest was.
    fn is_stale(&self, region: &Self::Region) -> bool;

    /// Ends the grants of a region and gives its memory back.
    ///
    /// # Errors
    /// The region, where the peer still maps a page of it. To try again later
    /// is the caller's; dropping it quarantines the pages.
    fn revoke(&mut self, region: Self::Region) -> Result<(), Self::Region>;

    /// Maps pages of `peer`, in the order of `references`.
    ///
    /// # Errors
    /// [`PlatformError`]; where one page cannot be mapped, none stays mapped.
    fn map(&mut self, peer: DomId, references: &[u32]) -> Result<Self::Mapping, PlatformError>;

    /// Makes a port that `peer` may bind.
    ///
    /// # Errors
    /// [`PlatformError::NoRoom`].
    fn open_port(&mut self, peer: DomId) -> Result<Self::Port, PlatformError>;

    /// Binds `port` of `peer`.
    ///
    /// # Errors
    /// [`PlatformError`].
    fn bind_port(&mut self, peer: DomId, port: u32) -> Result<Self::Port, PlatformError>;

    /// The number by which the peer binds a port; 0 where it is stale.
    fn port_number(&self, port: &Self::Port) -> u32;

    /// Wakes the other end. Where there is none, nothing happens.
    fn notify(&self, port: &Self::Port);

    /// What has become of a port. One hypercall.
    fn port_state(&self, port: &Self::Port) -> PortState;
}
