//! Event and Message Manager (M3): data notifications between sender and
//! receiver, and messages between guests, also across physical machines.
//!
//! No code yet.
