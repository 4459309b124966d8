//! Live Migration Assistant (M6): what a migration does to links and
//! connections. A direction's position is its stream offset, so that a hand-over
//! needs only each receiver's confirmed offset (design rule R8).
//!
//! Read in the order in which it happens: `phase` (the names), `leave`
//! (`vmc=original`: all links are left before a migration; also for a shutdown,
//! R12 and R16), `rehome` (the early notice with `vmc=advance`, R9), `freeze`
//! (the suspend, R10), `unsettled` and `resume` (what both sides settle
//! afterwards, R11).

mod freeze;
mod leave;
pub(crate) mod phase;
mod rehome;
mod resume;
mod unsettled;

pub use self::phase::Phase;
pub(crate) use self::unsettled::Unsettled;
