//! Mail: made by [`body`], sent with real clients ([`source`]) or line by line ([`client`]),
//! received by a real server ([`sink`]), compared by hash ([`ledger`]).

pub mod banner;
pub mod body;
pub mod client;
pub mod ledger;
pub mod sink;
pub mod source;
