//! One connection over its link (M1, M2, M4).
//!
//! [`Conn`] is the paper's `conn_t`, with its `sender_t` and `recver_t`. For
//! each call [`Vmc`](crate::Vmc) makes a [`Flow`]: a borrowed view of one
//! connection, its link, and what the guest's connections share. All that
//! happens to one connection is a method of `Flow`. Methods that a connection
//! needs a few times in its life are never inlined: the views are made in many
//! places, and the image would have a copy in each.
//!
//! Read in this order: `conn` and `view` (what there is), `choose` (which path
//! the next byte takes), `write` and `read`, `upgrade` (a direction moves to a
//! ring, or to a larger one), `fallback`, `resend` and `resends` (and back to
//! TCP), `retained` and `handover` (its link ends in a suspend), `close` (FIN, RESET,
//! and what is left when the user lets go), `table` (all connections).

mod choose;
mod close;
mod conn;
mod fallback;
mod handover;
mod read;
mod resend;
pub(crate) mod resends;
mod retained;
mod table;
mod upgrade;
mod view;
mod write;

pub(crate) use self::conn::{Conn, Fin};
pub(crate) use self::table::Conns;
pub(crate) use self::view::Flow;
pub(crate) use self::write::CallError;
