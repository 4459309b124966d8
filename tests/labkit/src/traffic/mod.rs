//! What goes on in the background while a guest is suspended and comes back.
//!
//! [`echo`] holds one TCP connection on which every byte must come back, [`requests`] does the
//! same with UDP datagrams, [`probe`] pings every few milliseconds and [`outage`] finds in its log
//! how long the guest was away; [`bench`] gives orders to a bench guest, [`flow`] asks it how fast bytes
//! come in. All of them block between steps, so that idle virtual time stays
//! free.

pub mod bench;
pub mod echo;
pub mod flow;
pub mod iperf3;
pub mod outage;
pub mod probe;
pub mod requests;
