//! The suspend, for the toolstack and for the parts: hears the request, lets
//! every part of the guest settle and quiesce, stops, and resumes them.
//!
//! In the order in which to read it: `control` does that, `notice` finds out
//! that pre-copy has begun, `witness` tells a cancelled suspend from a new
//! domain. What the parts have to keep is in [`lifecycle`](crate::lifecycle),
//! the hypercall itself in [`pv`](crate::pv).

mod control;
mod notice;
mod witness;

pub(crate) use control::{end, may_change_memory, serve, suspend};
pub(crate) use notice::{is_forewarned, look};
