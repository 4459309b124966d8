//! `test`: every case, or a share of them, one after the other in one boot of Xen.

use std::time::Instant;

use anyhow::Result;
use labkit::domain::{can_migrate_live, xen_version};
use labkit::parameters::{Names, ParameterTable, ParameterValue};
use labkit::protocol::Outcome;
use labkit::scenario::{Work, minutes};
use labkit::stats::rounded;
use labkit::{Case, DEFAULT_MODE, DEFAULT_SEED, Image, Mode, Scenario, Share, Supervisor};
use serde_json::{Map, Value, json};

use crate::cases;

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[
        Image::Relay,
        Image::Echo,
        Image::Bench,
        Image::Mclient,
        Image::Selftest,
    ],
    limit: minutes(25),
    figures: false,
    ..Scenario::new(
        "test",
        "the lab's test cases",
        ParameterTable::of::<Parameters>(),
        Work::Cases {
            all: cases::all,
            conduct,
        },
    )
};

labkit::parameters! {
    /// What `test` can be told.
    struct Parameters {
        /// The set of cases.
        cases: Cases = Cases::All;
        /// The cases of this set to run; none for all.
        only: Vec<String> = Vec::new(), in Names { what: "case", known: cases::all().iter().map(|case| case.name).collect() };
        /// The share of these to run; other machines run the other shares.
        share: Option<Share> = None;
        /// The channel's mode in cases that can do with several.
        mode: Mode = DEFAULT_MODE, in [Mode::Original, Mode::Advance];
        /// The seed of everything random.
        seed: u64 = DEFAULT_SEED;
    }
}

/// A choice of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cases {
    /// Every one.
    All,
    /// What is run on each release of Xen.
    Release,
    /// What is run with guests of each kind, which includes that.
    Kind,
}

impl ParameterValue for Cases {
    fn takes() -> String {
        "all, release or kind".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.as_str()? {
            "all" => Some(Self::All),
            "release" => Some(Self::Release),
            "kind" => Some(Self::Kind),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Release => "release".to_owned(),
            Self::Kind => "kind".to_owned(),
        }
    }
}

impl Cases {
    fn contains(self, name: &str) -> bool {
        let of_release = || cases::RELEASE.contains(&name);
        match self {
            Self::All => true,
            Self::Release => of_release(),
            Self::Kind => of_release() || cases::KIND.contains(&name),
        }
    }
}

impl Parameters {
    /// Returns the cases to run, in their order.
    fn wanted(&self) -> Vec<Case> {
        let wanted = cases::all().into_iter().filter(|case| {
            (self.only.is_empty() || self.only.iter().any(|name| name == case.name))
                && self.cases.contains(case.name)
        });
        match self.share {
            None => wanted.collect(),
            Some(share) => share.select(wanted).collect(),
        }
    }
}

fn conduct(supervisor: &Supervisor<'_>) -> Result<()> {
    let parameters: Parameters = supervisor.parameters()?;
    let report = supervisor.report();
    let live = can_migrate_live(supervisor.guest())?;
    let start = Instant::now();
    let mut took = Map::new();
    let (mut passed, mut failed, mut skipped) = (0_u64, 0_u64, 0_u64);
    for case in parameters.wanted() {
        let why = if case.live && !live {
            Some("this Xen cannot migrate PV guests live")
        } else if case.kind.is_some_and(|kind| kind != supervisor.guest()) {
            Some("it is about guests of another kind")
        } else {
            None
        };
        if let Some(why) = why {
            report.case(case.name, Outcome::Skipped, why);
            skipped += 1;
            continue;
        }
        report.phase(case.name);
        let began = Instant::now();
        match supervisor.case(&case)? {
            Outcome::Passed => passed += 1,
            Outcome::Failed => failed += 1,
            Outcome::Skipped => skipped += 1,
        }
        let seconds = rounded(began.elapsed().as_secs_f64());
        took.insert(case.name.to_owned(), json!(seconds));
    }
    let result = json!({
        "passed": passed,
        "failed": failed,
        "skipped": skipped,
        "cases_s": rounded(start.elapsed().as_secs_f64()),
        "case_s": took,
        "xen_version": xen_version()?,
    });
    if let Value::Object(result) = result {
        report.result(result);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Parameters;
    use crate::cases;
    use labkit::parameters::ParameterSet;
    use serde_json::json;

    fn wanted(given: serde_json::Value) -> Vec<&'static str> {
        let given = given.as_object().expect("an object");
        let parameters = Parameters::read(given).expect("as declared");
        parameters
            .wanted()
            .into_iter()
            .map(|case| case.name)
            .collect()
    }

    #[test]
    fn cases_are_chosen_by_name_set_and_share() {
        let all: Vec<_> = cases::all().into_iter().map(|case| case.name).collect();
        assert_eq!(wanted(json!({})), all);
        assert_eq!(wanted(json!({"cases": "release"})), cases::RELEASE);
        assert_eq!(
            wanted(json!({"only": "udp_echo,ping"})),
            ["ping", "udp_echo"]
        );
        let mut shares = wanted(json!({"share": [1, 2]}));
        shares.extend(wanted(json!({"share": [2, 2]})));
        shares.sort_unstable();
        let mut sorted = all;
        sorted.sort_unstable();
        assert_eq!(shares, sorted);
    }
}
