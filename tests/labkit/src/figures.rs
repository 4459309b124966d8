//! The figures of a scenario, which go into `result.json`.

use serde_json::{Map, Value, json};

use crate::lab::Lab;
use crate::stats::{Spread, rounded};

/// A scenario's figures so far. Every key ends with its unit.
#[derive(Debug, Default)]
pub struct Figures(Map<String, Value>);

impl Figures {
    /// Adds median and spread of `values` under `key`, and logs them. Does nothing without values.
    pub fn spread(&mut self, lab: &Lab, key: &str, values: &[f64]) {
        let Some(spread) = Spread::of(values) else {
            return;
        };
        lab.report.log(format!(
            "{key}: median {:.3}, {:.3} to {:.3} in {}",
            spread.median, spread.min, spread.max, spread.count
        ));
        self.0.insert(key.to_owned(), spread.json());
    }

    /// Adds a single value and logs it.
    pub fn value(&mut self, lab: &Lab, key: &str, value: Value) {
        lab.report.log(format!("{key}: {value}"));
        self.0.insert(key.to_owned(), value);
    }

    /// Adds a single number, rounded to three decimals, and logs it.
    pub fn rounded(&mut self, lab: &Lab, key: &str, value: f64) {
        self.value(lab, key, json!(rounded(value)));
    }

    /// Returns the number under `key`.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_f64()
    }

    /// Returns the median under `key`.
    pub fn median(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.get("median")?.as_f64()
    }

    /// Moves the value under `old` to `new`, if there is one.
    pub fn rename(&mut self, old: &str, new: &str) {
        if let Some(value) = self.0.remove(old) {
            self.0.insert(new.to_owned(), value);
        }
    }

    /// Adds a copy of every figure whose key begins with `prefix`, under the key without it.
    pub fn also_without(&mut self, prefix: &str) {
        let named = |(key, value): (&String, &Value)| {
            Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))
        };
        let again: Vec<_> = self.0.iter().filter_map(named).collect();
        self.0.extend(again);
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the object for the report.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

/// Says which clock the figures of a run are measured by.
pub fn clock(lab: &Lab) -> &'static str {
    if lab.job.virtual_time {
        "virtual time, 1 ns per instruction"
    } else {
        "wall time of an emulated machine: not to be quoted"
    }
}
