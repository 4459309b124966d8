//! The states of either end (`enum xenbus_state`).

use core::fmt;

use xen_sys::abi;

use super::error::BusError;

/// What one end of a device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nothing known: the node is missing, and so is this end.
    Unknown = abi::XenbusStateUnknown,
    /// Starting.
    Initialising = abi::XenbusStateInitialising,
    /// A backend has published its features and waits for the frontend's.
    InitWait = abi::XenbusStateInitWait,
    /// A frontend has published its ring and waits for the backend.
    Initialised = abi::XenbusStateInitialised,
    /// Working.
    Connected = abi::XenbusStateConnected,
    /// Shutting down in order, or on an error.
    Closing = abi::XenbusStateClosing,
    /// Shut down.
    Closed = abi::XenbusStateClosed,
    /// The device changes while it works.
    Reconfiguring = abi::XenbusStateReconfiguring,
    /// The device has changed.
    Reconfigured = abi::XenbusStateReconfigured,
}

/// All states in the order of their numbers.
const ALL: [State; 9] = [
    State::Unknown,
    State::Initialising,
    State::InitWait,
    State::Initialised,
    State::Connected,
    State::Closing,
    State::Closed,
    State::Reconfiguring,
    State::Reconfigured,
];

impl State {
    /// The state whose number a `state` node holds in decimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number: usize = text.parse().ok()?;
        ALL.get(number).copied()
    }

    /// The number, as it stands in a `state` node.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }

    /// What a frontend that waits for its backend to come to one of `wanted`
    /// makes of finding it in this state: true where it is there, false where
    /// it may still come.
    ///
    /// # Errors
    /// It will not come any more: [`BusError::BackendGone`],
    /// [`BusError::BackendClosing`].
    pub(super) fn satisfies(self, wanted: &[Self]) -> Result<bool, BusError> {
        if wanted.contains(&self) {
            return Ok(true);
        }
        match self {
            Self::Unknown => Err(BusError::BackendGone),
            Self::Closing | Self::Closed => Err(BusError::BackendClosing),
            _ => Ok(false),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
