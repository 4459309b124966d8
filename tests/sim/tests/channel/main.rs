//! Two guests on one host, step by step: each test spells out the order of
//! events. The scenarios of `sim` try random orders.

mod addresses;
mod claims;
mod closing;
mod costing;
mod leaving;
mod linking;
mod lying;
mod migrating;
mod moving;
mod pair;
mod rolled_back;
mod together;
mod two;
mod victim;
