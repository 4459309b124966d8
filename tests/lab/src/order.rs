//! An order to run a scenario, checked as a whole before anything is built or boots.

use anyhow::{Result, bail, ensure};
use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use labkit::parameters::listing;
use labkit::scenario::Clock;
use labkit::{Kind, Scenario};
use serde_json::{Map, Value, json};

use crate::packages::{Store, XenVersion};

/// A scenario with parameters and a machine that it can run with.
#[derive(Debug)]
pub(crate) struct Order {
    /// The scenario.
    pub(crate) scenario: &'static Scenario,
    /// Its parameters, all known and in range.
    pub(crate) parameters: Map<String, Value>,
    /// The machine, or the first of two.
    pub(crate) machine: MachineArguments,
    /// The release of Xen on the second machine, if there are two.
    pub(crate) second_xen: XenVersion,
}

/// What the lab's domains are built as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GuestKind {
    /// Paravirtual, in ring 3.
    Pv,
    /// With the processor's virtualisation (AMD's, which QEMU emulates).
    Pvh,
}

impl From<GuestKind> for Kind {
    fn from(kind: GuestKind) -> Self {
        match kind {
            GuestKind::Pv => Self::Pv,
            GuestKind::Pvh => Self::Pvh,
        }
    }
}

/// How a machine is made.
#[derive(Clone, Debug, Args)]
pub(crate) struct MachineArguments {
    /// Count each instruction as a nanosecond and skip idle time: figures repeat exactly.
    #[arg(long)]
    pub(crate) virtual_time: bool,
    /// The release of Xen.
    #[arg(long, value_enum, default_value_t = XenVersion::DEFAULT)]
    pub(crate) xen: XenVersion,
    /// What domains are built as.
    #[arg(long, value_enum, default_value_t = GuestKind::Pv)]
    pub(crate) guest: GuestKind,
    /// The program that serves the xenstore.
    #[arg(long, value_enum, default_value_t = Store::DEFAULT)]
    pub(crate) store: Store,
}

/// The arguments of a scenario.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo lab NAME")]
struct ScenarioArguments {
    /// The cases, parts or attacks to run: short for `--param only=NAME,…`.
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    /// A parameter; a value that is JSON is taken as such.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter)]
    param: Vec<(String, Value)>,
    /// How often the scenario does what it counts: short for `--param count=N`.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The release of Xen on the second of two machines: that of the first, if not given, or a
    /// later one.
    #[arg(long, value_enum)]
    second_xen: Option<XenVersion>,
    #[command(flatten)]
    machine: MachineArguments,
}

impl Order {
    /// Reads a command line whose first word is the scenario's name.
    ///
    /// # Errors
    /// There is no such scenario, or it cannot run like this; the error lists what it knows. Errors
    /// of clap, and its help, are a [`clap::Error`].
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let scenario = scenario(words.first().map_or("", String::as_str))?;
        let known = listing(&(scenario.parameters.known)());
        let command = ScenarioArguments::command()
            .bin_name(format!("cargo lab {}", scenario.name))
            .about(scenario.about)
            .after_help(format!("Parameters, with their defaults:\n{known}"));
        let matches = command.try_get_matches_from(words)?;
        let arguments = ScenarioArguments::from_arg_matches(&matches)?;
        let parameters = merged(scenario, &arguments)?;
        Self::new(
            scenario,
            parameters,
            arguments.machine,
            arguments.second_xen,
        )
    }

    /// An order for a scenario with these parameters and machine; `second_xen` is the release of a
    /// second machine, if it is to be another.
    ///
    /// # Errors
    /// The scenario cannot run like this.
    pub(crate) fn new(
        scenario: &'static Scenario,
        parameters: Map<String, Value>,
        machine: MachineArguments,
        second_xen: Option<XenVersion>,
    ) -> Result<Self> {
        let name = scenario.name;
        if let Err(error) = (scenario.parameters.check)(&parameters) {
            bail!("{name}: {error:#}");
        }
        ensure!(
            scenario.clock != Clock::WallOnly || !machine.virtual_time,
            "{name} runs on {} machines, whose clocks would drift apart in virtual time: leave \
             out --virtual-time",
            scenario.hosts
        );
        ensure!(
            second_xen.is_none() || scenario.hosts == 2,
            "{name} runs on one machine: leave out --second-xen"
        );
        let second_xen = second_xen.unwrap_or(machine.xen);
        let [first, second] = [machine.xen, second_xen].map(|xen| xen.packages().xen);
        ensure!(
            second_xen >= machine.xen,
            "{name} would move guests from Xen {first} back to {second}, and Xen lets them go to \
             the same or a later release only: exchange --xen and --second-xen"
        );
        ensure!(
            scenario.one_way || second_xen == machine.xen,
            "{name} brings its guests back to the first machine, and Xen lets none go from \
             {second} back to {first}: leave out --second-xen"
        );
        ensure!(
            !scenario.wants_live(&parameters)
                || machine.guest == GuestKind::Pvh
                || machine.xen == XenVersion::DEFAULT,
            "{name} migrates PV guests live, which only Debian's Xen {} is sure to do: leave out --xen, or \
             take --guest pvh",
            XenVersion::DEFAULT.packages().xen
        );
        Ok(Self {
            scenario,
            parameters,
            machine,
            second_xen,
        })
    }
}

/// Finds the scenario called `name`.
///
/// # Errors
/// There is none.
pub(crate) fn scenario(name: &str) -> Result<&'static Scenario> {
    match agent::scenario(name) {
        Some(scenario) => Ok(scenario),
        None => {
            let names: Vec<_> = agent::SCENARIOS.iter().map(|known| known.name).collect();
            bail!(
                "no scenario is called {name:?}; these are: {} (see `cargo lab list`)",
                names.join(", ")
            )
        }
    }
}

/// Merges `--param`, `--count` and bare names; no parameter may be given twice.
fn merged(scenario: &Scenario, arguments: &ScenarioArguments) -> Result<Map<String, Value>> {
    let count = arguments
        .count
        .map(|count| ("count", json!(count), "--count"));
    let only = (!arguments.only.is_empty())
        .then(|| ("only", json!(arguments.only), "a name after the scenario's"));
    let short = [count, only].into_iter().flatten();
    let mut parameters = Map::new();
    for (name, value) in &arguments.param {
        let before = parameters.insert(name.clone(), value.clone());
        ensure!(before.is_none(), "{name} is given twice");
    }
    for (name, value, how) in short {
        if !scenario.parameters.knows(name) {
            let known = listing(&(scenario.parameters.known)());
            bail!(
                "{}: {how} is short for the parameter {name}, which it does not have; these are \
                 known, with their defaults:\n{}",
                scenario.name,
                known.trim_end()
            );
        }
        let before = parameters.insert(name.to_owned(), value);
        ensure!(before.is_none(), "{name} is given twice");
    }
    Ok(parameters)
}

/// Reads `KEY=VALUE`.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use serde_json::json;

    use super::{Order, ScenarioArguments, parameter};

    fn order(line: &str) -> Result<Order, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Order::parse(&words).map_err(|error| format!("{error:#}"))
    }

    fn refused(line: &str, says: &[&str]) {
        let error = order(line).expect_err(line);
        for says in says {
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        ScenarioArguments::command().debug_assert();
    }

    #[test]
    fn values_may_be_json() {
        let value = |text| parameter(text).map(|(_, value)| value);
        assert_eq!(value("mails=3"), Ok(json!(3)));
        assert_eq!(value("case=ping"), Ok(json!("ping")));
        assert_eq!(value("options=a=b"), Ok(json!("a=b")));
        assert!(value("mails").is_err());
    }

    #[test]
    fn what_a_scenario_knows_is_taken() {
        let advance = order("advance --virtual-time --count 100 --param arms=[\"advance\"]");
        let advance = advance.expect("as in README");
        assert!(advance.machine.virtual_time);
        assert_eq!(
            serde_json::Value::Object(advance.parameters),
            json!({"count": 100, "arms": ["advance"]})
        );
        let test = order("test ping udp_echo --param seed=7").expect("two cases");
        assert_eq!(
            serde_json::Value::Object(test.parameters),
            json!({"only": ["ping", "udp_echo"], "seed": 7})
        );
        for line in [
            "run",
            "run --param seed=3",
            "test --param share=[1,2]",
            "test --xen 4.17 --param cases=release",
            "test --param only=[\"ping\"]",
            "test migrate_20 --param mode=original",
            "hosts --param round_trips=1 --param linux=true",
            "hosts hosts_echo",
            "bench boot memory --virtual-time",
            "hostile never_unmap",
            "lifecycle --count 100 --store oxenstored",
            "hostile --virtual-time",
            "appliance",
            "lifecycle --guest pvh --xen 4.17 --virtual-time",
            "libvirt --guest pvh --xen 4.20 --param round_trips=1",
            "libvirt libvirt_ladder --guest pv --xen 4.17",
            "hosts --second-xen 4.17",
            "hosts --guest pvh --xen 4.17 --second-xen 4.20",
            "hosts hosts_saved --xen 4.17 --second-xen 4.20",
            "evacuate --guest pvh --xen 4.17 --second-xen 4.17",
        ] {
            order(line).expect(line);
        }
    }

    #[test]
    fn unknown_names_are_refused_with_what_is_known() {
        refused("rnu", &["no scenario", "run, test, hosts"]);
        refused("run --param x=1", &["no parameter is called x", "seed=1 "]);
        refused(
            "test --param cases=some",
            &[
                "cases cannot be \"some\", but all, release or kind",
                "share=",
            ],
        );
        refused(
            "test pign",
            &["no case is called pign", " ping ", "udp_echo", "seed="],
        );
        refused("hosts echo", &["hosts_echo hosts_saved hosts_linux"]);
        refused("libvirt ladder", &["libvirt_ladder libvirt_journey"]);
        refused(
            "bench mail",
            &["no part is called mail", "boot network linux relay memory"],
        );
        refused(
            "hostile spy",
            &["no attack is called spy", "honest hello_domid"],
        );
        refused("channel --param arms=advance", &["a list of: off original"]);
    }

    #[test]
    fn values_of_another_kind_or_out_of_range_are_refused() {
        refused(
            "advance --param bandwidth_mbit=fast",
            &[
                "bandwidth_mbit cannot be \"fast\"",
                "a whole number from 1 to",
            ],
        );
        refused("advance --count 0", &["count cannot be 0"]);
        refused("lifecycle --count 1001", &["count cannot be 1001"]);
        refused("test --param share=[3,2]", &["share cannot be [3,2]"]);
        refused("test --param mode=off", &["original or advance"]);
        refused("hosts --param linux=1", &["true or false"]);
        refused("run --param seed=-1", &["seed cannot be -1"]);
        refused(
            "libvirt --param round_trips=0",
            &["round_trips cannot be 0"],
        );
    }

    #[test]
    fn the_second_machine_has_the_release_of_the_first_or_a_later_one() {
        let second = |line: &str| order(line).expect(line).second_xen.packages().xen;
        assert_eq!(second("hosts"), "4.14");
        assert_eq!(second("hosts --guest pvh --xen 4.20"), "4.20");
        assert_eq!(
            second("hosts --guest pvh --xen 4.17 --second-xen 4.20"),
            "4.20"
        );
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        refused("hosts --virtual-time", &["drift apart"]);
        refused("libvirt --virtual-time", &["drift apart"]);
        refused("advance --xen 4.17", &["migrates PV guests live"]);
        refused("hosts --xen 4.20 --guest pv", &["--guest pvh"]);
        refused(
            "hosts hosts_saved hosts_echo --xen 4.17 --second-xen 4.20",
            &["migrates PV guests live"],
        );
        refused("run --second-xen 4.14", &["runs on one machine"]);
        refused(
            "hosts --guest pvh --xen 4.17 --second-xen 4.14",
            &["from Xen 4.17 back to 4.14", "exchange --xen"],
        );
        refused(
            "evacuate --guest pvh --second-xen 4.17",
            &["brings its guests back", "from 4.17 back to 4.14"],
        );
        refused("run --count 3", &["--count is short for", "seed=1 "]);
        refused("idle relay", &["a name after the scenario's is short for"]);
        refused(
            "advance --count 3 --param count=4",
            &["count is given twice"],
        );
        refused(
            "run --param seed=1 --param seed=2",
            &["seed is given twice"],
        );
        refused("test ping --param only=ping", &["only is given twice"]);
    }

    #[test]
    fn help_shows_the_parameters() {
        refused(
            "idle --help",
            &["the CPU time of guests", "seconds=60", "from 1 to 600"],
        );
    }
}
