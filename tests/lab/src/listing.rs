//! What `cargo lab list` prints: the agent's table of scenarios.

use anyhow::Result;
use labkit::Scenario;
use labkit::parameters::listing;
use labkit::scenario::{Clock, Linux};

use crate::order;

/// Returns the rows of all scenarios, or one row with the scenario's cases.
///
/// # Errors
/// No scenario has that name.
pub(crate) fn of(name: Option<&str>) -> Result<String> {
    let Some(name) = name else {
        return Ok(agent::SCENARIOS.iter().map(row).collect());
    };
    let scenario = order::scenario(name)?;
    let mut text = row(scenario);
    for parameter in (scenario.parameters.known)() {
        if scenario.cases().is_empty() && !parameter.names.is_empty() {
            let names = parameter.names.join(" ");
            text.push_str(&format!("  {}: {names}\n", parameter.name));
        }
    }
    for case in scenario.cases() {
        let live = if case.live {
            ", needs live migration"
        } else {
            ""
        };
        let line = format!("  case {}: {} s{live}\n", case.name, case.limit.as_secs());
        text.push_str(&line);
    }
    Ok(text)
}

fn row(scenario: &Scenario) -> String {
    let images: Vec<_> = scenario.images.iter().map(|image| image.name()).collect();
    let mut needs = Vec::new();
    if !images.is_empty() {
        needs.push(format!("images: {}", images.join(" ")));
    }
    match scenario.linux {
        Linux::No => {}
        Linux::Yes => needs.push("a Linux domU".to_owned()),
        Linux::If(_) => needs.push("a Linux domU if asked for".to_owned()),
    }
    if scenario.hosts > 1 {
        needs.push(format!("{} machines", scenario.hosts));
    }
    if scenario.libvirt {
        needs.push("libvirt in dom0".to_owned());
    }
    if scenario.live {
        needs.push("live migration".to_owned());
    }
    needs.push(
        match scenario.clock {
            Clock::WallOnly => "wall-clock time only",
            Clock::Wall => "usually in wall-clock time",
            Clock::Virtual => "usually in virtual time (--virtual-time)",
        }
        .to_owned(),
    );
    let needs = needs.join("; ");
    let parameters = listing(&(scenario.parameters.known)());
    format!(
        "{}: {}\n  {needs}\n{parameters}",
        scenario.name, scenario.about
    )
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn every_scenario_and_parameter_is_listed() {
        let all = of(None).expect("the whole table");
        for scenario in agent::SCENARIOS {
            assert!(all.contains(&format!("{}: {}", scenario.name, scenario.about)));
            for parameter in (scenario.parameters.known)() {
                assert!(all.contains(&format!("  {}=", parameter.name)));
            }
        }
    }

    #[test]
    fn one_scenario_is_listed_with_its_cases() {
        let test = of(Some("test")).expect("it is there");
        assert!(test.contains("\n  case udp_echo: 90 s\n"), "{test}");
        assert!(test.contains("case migrate_20: 600 s, needs live migration"));
        assert!(!test.contains("hosts:"));
        let hostile = of(Some("hostile")).expect("it is there");
        assert!(hostile.contains("  only: honest hello_domid "), "{hostile}");
        assert!(of(Some("nonsense")).is_err());
    }
}
