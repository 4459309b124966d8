//! The lab's scenarios and cases: what is tried on real Xen.
//!
//! [`SCENARIOS`] is the table of scenarios. The program `agent` runs them in dom0; the lab's host
//! side reads the same table to know what to build and boot, and which parameters and cases exist.
//! How to boot a guest, talk to it and migrate it is in the library (`labkit`); this crate says
//! only what happens, step by step, and what must come of it.
//!
//! - A scenario is a file or folder in `scenario/`, with its parameters and its row of the table.
//! - A case of the scenario `test` is a function in a file of `cases/`, with its row in that file's
//!   `CASES`.
#![forbid(unsafe_code)]

mod cases;
mod scenario;

use labkit::Scenario;

/// Every scenario, in the order in which they are listed.
pub const SCENARIOS: &[Scenario] = &[
    scenario::run::SCENARIO,
    scenario::test::SCENARIO,
    scenario::hosts::SCENARIO,
    scenario::evacuate::SCENARIO,
    scenario::libvirt::SCENARIO,
    scenario::lifecycle::SCENARIO,
    scenario::bench::SCENARIO,
    scenario::channel::SCENARIO,
    scenario::advance::SCENARIO,
    scenario::hostile::SCENARIO,
    scenario::appliance::SCENARIO,
    scenario::idle::SCENARIO,
    scenario::boot::SCENARIO,
];

/// Returns the scenario called `name`.
#[must_use]
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::SCENARIOS;

    #[test]
    fn names_are_unique_and_fit_a_domain_name() {
        let mut seen = BTreeSet::new();
        for scenario in SCENARIOS {
            let cases = scenario.cases().into_iter().map(|case| case.name);
            for name in cases.chain([scenario.name]) {
                assert!(seen.insert(name), "{name} twice");
                assert!(
                    name.bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn defaults_are_among_what_parameters_take() {
        for scenario in SCENARIOS {
            for parameter in (scenario.parameters.known)() {
                let Ok(value) = serde_json::from_str(&parameter.default) else {
                    // Words without quotes are shown as a user writes them; `none` is no value.
                    continue;
                };
                let given = serde_json::Map::from_iter([(parameter.name.to_owned(), value)]);
                let checked = (scenario.parameters.check)(&given);
                checked.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
            }
        }
    }
}
