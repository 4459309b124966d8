//! Traffic in the background while a guest is suspended and resumes.
//!
//! [`echo`] holds one TCP connection on which every byte must come back, [`compared`] sums up
//! several, [`requests`] does the same
//! with UDP datagrams, [`probe`] pings every few milliseconds and [`outage`] finds the guest's
//! absence in its log; [`mod@bench`] gives orders to a bench guest, [`flow`] samples how fast it
//! receives bytes, [`iperf3`] runs that program. All of them block between steps, so that idle
//! virtual time stays free.

pub mod bench;
pub mod compared;
pub mod echo;
pub mod flow;
pub mod iperf3;
pub mod outage;
pub mod probe;
pub mod requests;
