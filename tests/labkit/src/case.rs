//! A case: one thing that must hold, in a process of its own.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::kind::Kind;
use crate::lab::Lab;
use crate::parameters::ParameterValue;

/// One thing that must hold.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name in the report; its guests' names begin with it.
    pub name: &'static str,
    /// The longest it may take, in dom0's time.
    pub limit: Duration,
    /// Checks it; returns what was seen.
    pub check: fn(&Lab) -> Result<String>,
    /// Whether guests are migrated live, which not every Xen can do with those of each kind.
    pub live: bool,
    /// The kind of guest that it is about, if it is about one.
    pub kind: Option<Kind>,
}

impl Case {
    /// A case with its limit in seconds of dom0.
    #[must_use]
    pub const fn new(name: &'static str, limit_s: u64, check: fn(&Lab) -> Result<String>) -> Self {
        Self {
            name,
            limit: Duration::from_secs(limit_s),
            check,
            live: false,
            kind: None,
        }
    }

    /// The same case, skipped on a Xen that cannot migrate its guests live.
    #[must_use]
    pub const fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// The same case, skipped for guests of another kind.
    #[must_use]
    pub const fn only(self, kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            ..self
        }
    }
}

/// A share of a list of cases; other machines take the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its number, from 1 to `of`.
    pub number: usize,
    /// How many shares there are.
    pub of: usize,
}

impl Share {
    /// Returns every `of`-th item, from the `number`-th on.
    pub fn select<T>(self, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        items.skip(self.number - 1).step_by(self.of)
    }
}

impl ParameterValue for Share {
    fn takes() -> String {
        "[NUMBER,OF], with NUMBER from 1 to OF".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let [number, of] = value.as_array()?.as_slice() else {
            return None;
        };
        let (number, of) = (usize::read(number)?, usize::read(of)?);
        (1..=of).contains(&number).then_some(Self { number, of })
    }

    fn show(&self) -> String {
        format!("[{},{}]", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Share;
    use crate::parameters::ParameterValue;

    #[test]
    fn shares_together_are_everything_once() {
        let share = |number| Share::read(&json!([number, 3])).expect("a share");
        let mut all: Vec<u32> = (1..=3)
            .flat_map(|number| share(number).select(0..10))
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for wrong in [
            json!([0, 2]),
            json!([3, 2]),
            json!([1]),
            json!([1, 2, 3]),
            json!("1,2"),
            json!([1.5, 2]),
            json!(1),
        ] {
            assert_eq!(Share::read(&wrong), None, "{wrong}");
        }
    }
}
