//! Two guests on one host, step by step. What happens in what order is said
//! here; random orders are the simulator's (`tests/sim`).

mod advance;
mod closing;
mod leaving;
mod linking;
mod lying;
mod moving;
mod pair;
mod world;
