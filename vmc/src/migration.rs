//! Live Migration Assistant (M6): `keep_con_with_migration` and `finish_mig`.
//! A direction's position is its 64-bit stream offset, so that a hand-over
//! needs only each receiver's confirmed offset (design rule R8).
//!
//! No code yet.
