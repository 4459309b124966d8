//! XENVMC: the channel between co-resident guests, as sans-I/O state machines.
//!
//! The crate knows neither Xen nor smoltcp. The same code is to run in the
//! guest, in the simulator under a virtual clock, and in a Linux process;
//! what it needs of them is the `Platform` that stage 3 defines.
//!
//! The modules are those of the XENVMC papers, in the order in which a
//! connection meets them. What each one holds today is said in its first
//! lines; a module without items has a duty and no code yet.
//!
//! | module | duty | today |
//! |---|---|---|
//! | [`analyzer`] | decides which path a socket's bytes take | duty |
//! | [`vms`] | `VMs[]`: who lives on this host | duty |
//! | [`connection`] | makes and cancels shared-memory connections | duty |
//! | [`ring`] | the byte ring of one direction | all of it |
//! | [`transfer`] | sends and receives through the ring | duty |
//! | [`message`] | events and messages between guests | duty |
//! | [`publisher`] | announces changes of membership | duty |
//! | [`migration`] | keeps connections through a live migration | duty |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod analyzer;
pub mod connection;
pub mod memory;
pub mod message;
pub mod migration;
pub mod platform;
pub mod publisher;
pub mod ring;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transfer;
pub mod vms;
