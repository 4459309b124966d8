//! The identity of the guest's domain, which a restore or a migration changes.

use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// Number of a domain on its host (`domid_t`). The guest's own number changes in a migration.
pub type DomId = u16;

/// How many times this guest has become another domain. Everything that belongs to one domain
/// (event channels, grants, xenstore paths and transactions) remembers the generation in which it
/// was made, and fails as stale in a later one.
pub type Generation = u32;

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The guest's own number; 0 while it is unknown.
static DOMID: AtomicU16 = AtomicU16::new(0);

/// Returns the present generation.
#[must_use]
pub fn generation() -> Generation {
    GENERATION.load(Ordering::Relaxed)
}

/// Returns the guest's own domain number, or 0 while it is unknown: at boot and after a migration,
/// until it has been read from xenstore. A part is told by
/// [`Lifecycle::identified`](crate::lifecycle::Lifecycle::identified).
#[must_use]
pub fn domid() -> DomId {
    DOMID.load(Ordering::Relaxed)
}

/// Sets the domain number read from xenstore.
pub(crate) fn identify(domid: DomId) {
    DOMID.store(domid, Ordering::Relaxed);
}

/// Begins the next generation: the guest is another domain now, whose number is still unknown.
pub(crate) fn become_another() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    DOMID.store(0, Ordering::Relaxed);
}
