//! The states of either end (`enum xenbus_state`).

use core::fmt;

use xen_sys::abi;

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

/// All states.
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
        let number: u32 = text.parse().ok()?;
        ALL.into_iter().find(|state| state.number() == number)
    }

    /// The number, as it stands in a `state` node.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
