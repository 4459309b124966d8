//! Mail: made by [`body`], sent with real clients ([`source`]) or line by line ([`client`]),
//! received by a real server ([`sink`]), compared by hash ([`ledger`]).

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod ledger;
pub(crate) mod sink;
pub(crate) mod source;
