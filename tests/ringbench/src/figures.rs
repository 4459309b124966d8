//! Repetitions of a figure: median and spread.

use serde_json::{Value, json};

/// The repetitions of one figure, in the order in which they were taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(pub(crate) Vec<f64>);

impl Figures {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[middle],
            _ => sorted[middle - 1].midpoint(sorted[middle]),
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Returns the ratio to `other` for each repetition. The two ran within a
    /// second of each other, so a disturbance that slowed both down cancels
    /// out.
    pub(crate) fn times(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(one, other)| one / other).collect())
    }

    pub(crate) fn json(&self) -> Value {
        let round = |figure: f64| (figure * 1000.0).round() / 1000.0;
        json!({
            "count": self.0.len(),
            "max": round(self.most()),
            "median": round(self.median()),
            "min": round(self.least()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut figures = Figures::default();
        for figure in [5.0, 1.0, 9.0] {
            figures.push(figure);
        }
        assert!((figures.median() - 5.0).abs() < 1e-9);
        figures.push(2.0);
        assert!((figures.median() - 3.5).abs() < 1e-9);
        assert_eq!(figures.json()["max"], 9.0);
        assert_eq!(figures.json()["min"], 1.0);
    }

    #[test]
    fn what_slows_both_down_drops_out() {
        let figures = |values: &[f64]| Figures(values.to_vec());
        let times = figures(&[8.0, 2.0, 4.0]).times(&figures(&[10.0, 2.5, 5.0]));
        assert!((times.least() - 0.8).abs() < 1e-9 && (times.most() - 0.8).abs() < 1e-9);
    }
}
