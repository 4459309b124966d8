//! What a guest's channel does, by its option `vmc=`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A mode of the channel: the three values of the option `vmc=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No channel: TCP over netfront only.
    Off,
    /// Connections fall back to TCP at the early notice, as in the original protocol.
    Original,
    /// Rings move to memory of the peer that stays, and connections leave them at the suspend.
    Advance,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Original, Self::Advance];

    /// Returns the option's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Original => "original",
            Self::Advance => "advance",
        }
    }

    /// Returns the option for a guest's command line.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Off => "vmc=off",
            Self::Original => "vmc=original",
            Self::Advance => "vmc=advance",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    #[test]
    fn names_options_and_json_agree() {
        for mode in Mode::ALL {
            assert_eq!(mode.option(), format!("vmc={mode}"));
            let json = serde_json::to_value(mode).expect("plain data");
            assert_eq!(json, mode.name());
        }
    }
}
