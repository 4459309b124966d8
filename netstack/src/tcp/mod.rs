//! TCP sockets.
//!
//! Read in this order. Below the stack: `record.rs` (what is kept per connection), `pool.rs` (all
//! of them, and their memory), `backlog.rs` (in front of `accept`), `linger.rs` (closed by the
//! application, not yet by TCP), `table.rs` (all of this together). On top of the stack, for
//! applications: `listener.rs`, `connect.rs`, `connection.rs` and `stream.rs`.

mod backlog;
mod connect;
mod connection;
mod counters;
mod linger;
mod listener;
mod pool;
mod record;
mod stream;
mod table;

pub use listener::TcpListener;
pub use stream::{ReadHalf, TcpStream, WriteHalf};

pub(crate) use record::Record;
pub(crate) use table::{Phase, Table};
