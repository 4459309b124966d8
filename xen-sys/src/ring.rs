//! The layout of a shared I/O ring (`xen/io/ring.h`, `DEFINE_RING_TYPES`),
//! which the header defines only by macros.
//!
//! All indices are free-running `u32`; a slot is `index & (capacity - 1)`.

/// Byte offset of the index after the frontend's last request.
pub const REQ_PROD: usize = 0;
/// Byte offset of the request index at which the backend wants an event.
pub const REQ_EVENT: usize = 4;
/// Byte offset of the index after the backend's last response.
pub const RSP_PROD: usize = 8;
/// Byte offset of the response index at which the frontend wants an event.
pub const RSP_EVENT: usize = 12;
/// Byte offset of slot 0.
pub const SLOTS: usize = 64;

/// Returns the number of slots of `slot_size` bytes in one page: the largest
/// power of two that fits (`__CONST_RING_SIZE`).
#[must_use]
pub const fn capacity(slot_size: usize) -> u32 {
    let fits = (4096 - SLOTS) / slot_size;
    1 << fits.ilog2()
}
