//! What became of the bytes of one connection or of several.

use std::fmt;

use serde_json::{Map, Value, json};

use super::echo::Traffic;

/// Sums over connections of echo clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    connections: u64,
    bytes: u64,
    lost: u64,
    corrupt: u64,
    resets: u64,
}

impl Compared {
    /// Adds what a client saw on its connection, from its begin to its end.
    pub fn add(&mut self, traffic: &Traffic) {
        self.connections += 1;
        self.bytes += traffic.received_bytes;
        self.lost += traffic.lost_bytes;
        self.corrupt += traffic.corrupt_bytes;
        self.resets += traffic.resets;
    }

    /// Returns the sums as figures, each key with `prefix` before it.
    pub fn figures(&self, prefix: &str) -> Map<String, Value> {
        let figures = [
            ("connections", self.connections),
            ("compared_bytes", self.bytes),
            ("lost_bytes", self.lost),
            ("corrupt_bytes", self.corrupt),
            ("resets", self.resets),
        ];
        let figures = figures.map(|(key, value)| (format!("{prefix}{key}"), json!(value)));
        Map::from_iter(figures)
    }
}

impl From<&Traffic> for Compared {
    fn from(traffic: &Traffic) -> Self {
        let mut compared = Self::default();
        compared.add(traffic);
        compared
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes compared on ", self.bytes)?;
        match self.connections {
            1 => f.write_str("one connection")?,
            many => write!(f, "{many} connections")?,
        }
        write!(
            f,
            ", {} lost, {} corrupt, {} resets",
            self.lost, self.corrupt, self.resets
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Compared;
    use crate::traffic::echo::Traffic;

    #[test]
    fn connections_add_up() {
        let mut compared = Compared::from(&Traffic {
            sent_bytes: 12,
            received_bytes: 10,
            lost_bytes: 2,
            ..Traffic::default()
        });
        assert_eq!(
            compared.to_string(),
            "10 bytes compared on one connection, 2 lost, 0 corrupt, 0 resets"
        );
        compared.add(&Traffic {
            received_bytes: 5,
            corrupt_bytes: 1,
            resets: 1,
            ..Traffic::default()
        });
        assert_eq!(
            compared.to_string(),
            "15 bytes compared on 2 connections, 2 lost, 1 corrupt, 1 resets"
        );
        let figures = compared.figures("x_");
        assert_eq!(
            (&figures["x_connections"], &figures["x_lost_bytes"]),
            (&2.into(), &2.into())
        );
    }
}
