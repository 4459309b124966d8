//! TCP sockets.
//!
//! Read in this order: `record.rs` (what is kept per connection), `table.rs` (all of them, and
//! how they end), `linger.rs` (closed by the application, not yet by TCP), `listener.rs`,
//! `connect.rs`, and `stream.rs`, which is what applications hold.

mod connect;
mod connection;
mod linger;
mod listener;
mod record;
mod stream;
mod table;

pub use listener::TcpListener;
pub use stream::{ReadHalf, TcpStream, WriteHalf};

pub(crate) use record::Record;
pub(crate) use table::{Phase, Table};
