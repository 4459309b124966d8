//! Goals beside what was measured. They are logged and kept among the figures, and decide nothing.

use serde_json::{Value, json};

use super::figures::Figures;
use crate::lab::Lab;
use crate::stats::rounded;

/// One goal: `value` is to be at least, or at most, `limit`.
pub struct Goal {
    what: &'static str,
    value: Option<f64>,
    limit: f64,
    at_least: bool,
}

impl Goal {
    /// The goal that `value` is at least `limit`.
    pub fn at_least(what: &'static str, value: Option<f64>, limit: f64) -> Self {
        Self {
            what,
            value,
            limit,
            at_least: true,
        }
    }

    /// The goal that `value` is at most `limit`.
    pub fn at_most(what: &'static str, value: Option<f64>, limit: f64) -> Self {
        Self {
            what,
            value,
            limit,
            at_least: false,
        }
    }

    fn is_met(&self, value: f64) -> bool {
        if self.at_least {
            value >= self.limit
        } else {
            value <= self.limit
        }
    }
}

/// Logs which goals are met, and adds them to the figures as `goals`.
pub fn judge(lab: &Lab, figures: &mut Figures, goals: &[Goal]) {
    let judged: Vec<Value> = goals.iter().map(|goal| one(lab, goal)).collect();
    figures.value(lab, "goals", Value::Array(judged));
}

fn one(lab: &Lab, goal: &Goal) -> Value {
    let bound = if goal.at_least { "at least" } else { "at most" };
    let (met, shown) = match goal.value {
        Some(value) if goal.is_met(value) => (json!(true), format!("{value:.3}: met")),
        Some(value) => (json!(false), format!("{value:.3}: NOT met")),
        None => (Value::Null, "not measured".to_owned()),
    };
    lab.report.log(format!(
        "goal: {}, {bound} {}: {shown}",
        goal.what, goal.limit
    ));
    json!({
        "goal": goal.what,
        "bound": bound,
        "limit": goal.limit,
        "value": goal.value.map(rounded),
        "met": met,
    })
}
