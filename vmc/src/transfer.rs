//! Data Transfer Manager (M2): sends and receives through the ring, blocking
//! and non-blocking, with one notification a batch (design rule R6).
//!
//! No code yet.
