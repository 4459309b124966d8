//! Connection Manager (M1): makes and cancels shared-memory connections
//! between two peers, keyed by ((ip, domid), port): `conn`, with its `sender`
//! and `receiver`.
//!
//! No code yet.
