//! What two guests of one host share: memory, an event channel, rings.
//!
//! Read in this order: `pages`, `ring` and `liveness` (what a link is made of),
//! `state` ([`Link`] itself), `budget` (how many pages), `proof` (from HELLO to
//! two proved ends), `outbox` and `inbox` (messages as byte streams), `bells`
//! (notifications), `own_rings` and `peer_rings` (the rings of each direction),
//! `check` (peers that are dead, stuck or noisy), `frames`, `end`, `table` (all
//! links).

mod bells;
pub(crate) mod budget;
mod check;
mod end;
mod frames;
mod inbox;
mod liveness;
mod outbox;
mod own_rings;
mod pages;
mod peer_rings;
mod proof;
mod ring;
mod state;
mod table;

pub(crate) use self::frames::pair_of_frame;
pub(crate) use self::pages::Pages;
pub(crate) use self::proof::Proof;
pub(crate) use self::ring::User;
pub(crate) use self::state::{Link, State};
pub(crate) use self::table::Links;
