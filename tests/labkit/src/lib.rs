//! The library that scenarios and cases of the lab are written with.
//!
//! It runs in dom0 of a real Xen, as the program `agent` ([`program`]), which the lab's host side
//! (`cargo lab`) puts there. A crate of scenarios hands its table to that program and says in each
//! scenario what happens, in the words of this library:
//!
//! ```no_run
//! use labkit::{Case, Deadline, Lab};
//! use labkit::net::stream;
//!
//! const CASES: &[Case] = &[Case::new("echo_answers", 60, echo_answers)];
//!
//! fn echo_answers(lab: &Lab) -> anyhow::Result<String> {
//!     let guest = lab.echo(2, 16, "");
//!     let domain = guest.start_ready()?;
//!     let mut connection = stream::connect(guest.port(7), Deadline::seconds(15))?;
//!     stream::echo_once(&mut connection, b"hello")?;
//!     domain.running()?;
//!     Ok("one answer".into())
//! }
//! # let _ = CASES;
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`Scenario`], [`Case`], [`mod@parameters`] | what can be run, and what it can be told |
//! | [`Lab`], [`Guest`], [`linux`], [`addresses`] | guests to boot, and the network they are on |
//! | [`domain`], [`lines`], [`channel`] | a domain by xl, and what its guest says on the console |
//! | [`migration`], [`meter`] | save, restore and live migration; what goes over the wire meanwhile |
//! | [`Witness`] | whether a guest has survived a suspend, by its own account and the toolstack's |
//! | [`hosts`] | a second host to migrate to |
//! | [`libvirt`] | domains by `virsh` instead of `xl` |
//! | [`net`], [`traffic`] | checks of the network byte by byte; traffic while something else happens |
//! | [`mod@bench`], [`pair`], [`peer`] | measurements between guests, and the same by plain Linux |
//! | [`mail`] | SMTP clients, a sink, and the comparison of what arrived |
//! | [`Figures`], [`goals`], [`stats`] | results |
//! | [`process`], [`Deadline`] | programs of dom0, and limits for everything that waits |
//! | [`Report`], [`protocol`], [`Supervisor`] | the way to the host; a process for each part |
//!
//! Everything that waits has a deadline, everything that is started ends when it is dropped, and
//! an error says what was seen.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod bench;
mod case;
pub mod channel;
mod deadline;
pub mod domain;
mod figures;
pub mod goals;
mod guest;
pub mod hosts;
mod kind;
mod lab;
pub mod libvirt;
pub mod lines;
pub mod linux;
pub mod mail;
pub mod meter;
pub mod migration;
mod mode;
pub mod net;
pub mod pair;
pub mod parameters;
pub mod peer;
pub mod process;
pub mod program;
pub mod protocol;
mod report;
pub mod scenario;
pub mod stats;
mod supervisor;
pub mod survival;
pub mod traffic;

pub use case::{Case, Share};
pub use deadline::Deadline;
pub use domain::Domain;
pub use figures::{Figures, clock};
pub use guest::{Guest, Image};
pub use kind::Kind;
pub use lab::{DEFAULT_MODE, DEFAULT_SEED, Lab};
pub use mode::Mode;
pub use report::Report;
pub use scenario::Scenario;
pub use supervisor::Supervisor;
pub use survival::Witness;
pub use vmc::Cause;

// What `parameters!` names in the crates that use it.
#[doc(hidden)]
pub use {anyhow, serde_json};
