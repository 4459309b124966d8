//! Median and spread of a handful of measurements.

use serde_json::{Value, json};

/// The middle and the ends of a set of measurements, in the unit of the measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median; for an even number of values, the mean of the middle two.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// How many values there were.
    pub count: usize,
}

impl Spread {
    /// Returns the spread of `values`, or `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[half]
        } else {
            f64::midpoint(sorted[half - 1], sorted[half])
        };
        Some(Self {
            median,
            min,
            max,
            count: sorted.len(),
        })
    }

    /// Returns the object for a result, rounded to three decimals.
    pub fn json(self) -> Value {
        json!({
            "median": rounded(self.median),
            "min": rounded(self.min),
            "max": rounded(self.max),
            "count": self.count,
        })
    }
}

/// Rounds `value` to three decimals.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn medians_of_odd_and_even_sets() {
        let odd = Spread::of(&[3.0, 1.0, 2.0]).expect("three values");
        assert_eq!(
            (odd.median, odd.min, odd.max, odd.count),
            (2.0, 1.0, 3.0, 3)
        );
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]).expect("four values");
        assert_eq!(even.median, 2.5);
        assert_eq!(Spread::of(&[]), None);
    }
}
