//! The device against a backend in plain memory.
