//! Name look-up with smoltcp's DNS socket (RFC 1035, RFC 3596).
//!
//! Read in this order: `resolver.rs` (servers, and the queries under way), `lookup.rs` (a name's
//! address, as a future).

mod lookup;
mod resolver;

pub(crate) use resolver::Resolver;
