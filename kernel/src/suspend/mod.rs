//! Carries out a suspend: receives the toolstack's request, lets every part of
//! the guest settle and quiesce, suspends the domain, and resumes the parts.
//!
//! In reading order: `control` does all this, `notice` detects that pre-copy
//! has begun, `witness` tells a cancelled suspend from a new domain. The
//! contract of the parts is in [`lifecycle`](crate::lifecycle), the hypercall
//! itself in [`platform`](crate::platform).

mod control;
mod notice;
mod witness;

pub(crate) use control::{end, may_change_memory, serve, suspend};
pub(crate) use notice::{is_forewarned, look};
