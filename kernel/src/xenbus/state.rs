//! The states of a device's ends (`enum xenbus_state`).

use core::fmt;

use xen_sys::abi;

/// The state of one end of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Unknown: the node is missing, and so is this end.
    Unknown = abi::XenbusStateUnknown,
    /// Starting.
    Initialising = abi::XenbusStateInitialising,
    /// A backend has published its features and waits for the frontend's.
    InitWait = abi::XenbusStateInitWait,
    /// A frontend has published its ring and waits for the backend.
    Initialised = abi::XenbusStateInitialised,
    /// Working.
    Connected = abi::XenbusStateConnected,
    /// Shutting down, in an orderly way or after an error.
    Closing = abi::XenbusStateClosing,
    /// Shut down.
    Closed = abi::XenbusStateClosed,
    /// The device is being reconfigured while it works.
    Reconfiguring = abi::XenbusStateReconfiguring,
    /// The device has been reconfigured.
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
    /// Parses the value of a `state` node: a state's number in decimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number: u32 = text.parse().ok()?;
        ALL.into_iter().find(|state| state.number() == number)
    }

    /// Returns the state's number, as in a `state` node.
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
