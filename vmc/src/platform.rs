//! What the channel needs of its surroundings: granted memory, event channels, a
//! clock, random numbers. The guest implements it on Xen, the simulator on a fake
//! hypervisor.

use core::fmt;

use shared_memory::Memory;

/// Number of a domain on its host (Xen's `domid_t`). A migration changes it.
pub type DomId = u16;

/// Identity of a guest, for the guest's whole life.
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
    /// Returns the point `nanos` nanoseconds later, or the last one there is.
    #[must_use]
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// State of an event channel as the hypervisor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// Allocated; the peer has not bound it, or not any more.
    Unbound,
    /// Both ends exist.
    Connected,
    /// It ended with the domain that this guest was before a migration.
    Stale,
}

/// Why the platform could not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformError {
    /// There is no memory that may be used for this.
    NoMemory,
    /// No grant entry, address to map to, or port is free.
    NoRoom,
    /// The hypervisor refused: the peer is gone, or it named something that this
    /// guest may not use.
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

/// The hypervisor and the machine, as the channel sees them.
///
/// Dropping a region, mapping or port ends it. Once this guest has become another
/// domain they are stale: dropping one then does nothing, and a stale region
/// belongs to the guest alone.
pub trait Platform {
    /// Pages of this guest that one peer may map; adjacent, and zero at first.
    type Region: Memory;
    /// Pages of a peer, mapped here, adjacent.
    type Mapping: Memory;
    /// One end of an event channel.
    type Port;

    /// Returns this guest's present domid.
    fn domid(&self) -> DomId;

    /// Reads the monotonic clock.
    fn now(&self) -> Instant;

    /// Fills `bytes` with values that a peer cannot predict.
    fn random(&mut self, bytes: &mut [u8]);

    /// Grants `pages` pages to `peer`, for reading and writing.
    ///
    /// # Errors
    /// [`PlatformError::NoMemory`], [`PlatformError::NoRoom`].
    fn grant(&mut self, peer: DomId, pages: usize) -> Result<Self::Region, PlatformError>;

    /// Appends the grant references of a region, one per page, to `into`.
    fn references(&self, region: &Self::Region, into: &mut alloc::vec::Vec<u32>);

    /// Whether the grants of a region ended with the domain that this guest was.
    fn is_stale(&self, region: &Self::Region) -> bool;

    /// Ends the grants of a region and frees its memory.
    ///
    /// # Errors
    /// Returns the region if the peer still maps a page of it. The caller may try
    /// again later; dropping the region quarantines its pages.
    fn revoke(&mut self, region: Self::Region) -> Result<(), Self::Region>;

    /// Maps pages of `peer`, in the order of `references`.
    ///
    /// # Errors
    /// [`PlatformError`]; if one page cannot be mapped, no page stays mapped.
    fn map(&mut self, peer: DomId, references: &[u32]) -> Result<Self::Mapping, PlatformError>;

    /// Allocates a port that `peer` may bind.
    ///
    /// # Errors
    /// [`PlatformError::NoRoom`].
    fn open_port(&mut self, peer: DomId) -> Result<Self::Port, PlatformError>;

    /// Binds `port` of `peer`.
    ///
    /// # Errors
    /// [`PlatformError`].
    fn bind_port(&mut self, peer: DomId, port: u32) -> Result<Self::Port, PlatformError>;

    /// Returns the number by which the peer binds a port; 0 if the port is stale.
    fn port_number(&self, port: &Self::Port) -> u32;

    /// Notifies the other end, if there is one.
    fn notify(&self, port: &Self::Port);

    /// Returns the state of a port. Costs one hypercall.
    fn port_state(&self, port: &Self::Port) -> PortState;
}
