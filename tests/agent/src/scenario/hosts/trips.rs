//! The figures of a case's trips between the hosts, and of the connections that lived through them.

use labkit::hosts::Moved;
use labkit::stats::{Spread, rounded};
use labkit::traffic::compared::Compared;
use serde_json::{Map, Value, json};

use super::journey::Way;

/// What came of the trips of one guest or of several.
#[derive(Debug, Default)]
pub(super) struct Trips {
    downtimes_ms: Vec<f64>,
    pages_sent: Vec<u64>,
    /// An entry for each trip, with what is too long for a line.
    details: Vec<Value>,
    /// What the clients saw, each on its connection through all of a guest's trips.
    pub(super) compared: Compared,
}

impl Trips {
    /// Adds a live migration.
    pub(super) fn migrated(&mut self, way: Way, moved: &Moved, downtime_ms: f64) {
        self.downtimes_ms.push(downtime_ms);
        self.details.push(json!({
            "way": format!("{way:?}"),
            "xl_ms": rounded(moved.sent.took_ms),
            "downtime_ms": rounded(downtime_ms),
            "stream": moved.sent.stream,
        }));
        self.pages_sent.extend(moved.pages());
    }

    /// Adds a save here and a restore there, with the size of the file.
    pub(super) fn restored(&mut self, file_bytes: u64, downtime_ms: f64) {
        self.downtimes_ms.push(downtime_ms);
        self.details.push(json!({
            "file_bytes": file_bytes,
            "downtime_ms": rounded(downtime_ms),
        }));
    }

    /// Returns the figures, each key with `prefix` before it.
    pub(super) fn result(&self, prefix: &str) -> Map<String, Value> {
        let spread = Spread::of(&self.downtimes_ms);
        let figures = [
            ("migrations", json!(self.downtimes_ms.len())),
            ("downtime_ms", json!(spread.map(Spread::json))),
            (
                "downtime_ms_median",
                json!(spread.map(|s| rounded(s.median))),
            ),
            ("downtime_ms_max", json!(spread.map(|s| rounded(s.max)))),
            ("pages_sent", json!(self.pages_sent)),
            ("each", json!(self.details)),
        ];
        let mut all = self.compared.figures(prefix);
        all.extend(figures.map(|(key, value)| (format!("{prefix}{key}"), value)));
        all
    }

    /// Describes the trips in one line.
    pub(super) fn summary(&self) -> String {
        let downtime = Spread::of(&self.downtimes_ms).map_or("-".to_owned(), |spread| {
            format!("{:.0} ms, at most {:.0} ms", spread.median, spread.max)
        });
        format!(
            "trips {}, {}; downtime {downtime}",
            self.downtimes_ms.len(),
            self.compared
        )
    }
}
