//! VM State Publisher (M5): join, leave, migrating, arrived and gone reach
//! every peer as events, and an idle system sends nothing (design rule R14).
//!
//! No code yet.
