//! `VMs[]`: one element per co-resident guest, looked up by (ip, domid),
//! identified by its UUID (design rule R3), with its connections.
//!
//! No code yet.
