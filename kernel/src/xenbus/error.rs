//! Errors of devices.

use alloc::string::String;
use core::{fmt, time::Duration};

use super::state::State;
use crate::xenstore::StoreError;

/// Why a frontend cannot reach its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusError {
    /// The domain has no such device.
    NoDevice {
        /// The kind of device, for instance `vif`.
        class: String,
        /// Its number among those of its kind.
        index: u32,
    },
    /// A node has a meaningless value.
    Malformed {
        /// The node's path.
        path: String,
        /// Its value.
        value: String,
    },
    /// The backend has removed its nodes: the device was detached, or its
    /// domain died.
    BackendGone,
    /// The backend is closing or closed, although it should come up.
    BackendClosing,
    /// The backend did not reach the wanted state in time.
    Timeout {
        /// The state it was last seen in.
        last: State,
        /// How long the frontend waited.
        waited: Duration,
    },
    /// The device belonged to the domain that this guest was before it was
    /// restored or migrated.
    Stale,
    /// xenstore failed at a node.
    Store {
        /// The node's path.
        path: String,
        /// The failure.
        error: StoreError,
    },
}

impl BusError {
    /// Makes the error for a failure at `path`.
    pub(super) fn at(path: &str) -> impl Fn(StoreError) -> Self {
        move |error| Self::Store {
            path: path.into(),
            error,
        }
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice { class, index } => {
                write!(f, "no {class}")?;
                if *index > 0 {
                    write!(f, " number {index}")?;
                }
                // What xl calls the devices (xl.cfg(5)).
                let key = match class.as_str() {
                    "vbd" => "disk",
                    other => other,
                };
                write!(f, ": add {key}=[...] to the domain's configuration")
            }
            Self::Malformed { path, value } => {
                write!(
                    f,
                    "xenstore node {path} has the meaningless value {value:?}"
                )
            }
            Self::BackendGone => f.write_str("the device's backend is gone"),
            Self::BackendClosing => f.write_str("the device's backend is closing"),
            Self::Timeout { last, waited } => write!(
                f,
                "the device's backend is still {last} after {} ms",
                waited.as_millis()
            ),
            Self::Stale => f.write_str("the device belonged to a former domain"),
            Self::Store { path, error } => write!(f, "{path}: {error}"),
        }
    }
}

impl core::error::Error for BusError {}
