//! What a scenario can be told with `--param NAME=VALUE`.
//!
//! A scenario declares its parameters once, as a struct, with [`parameters!`](crate::parameters!).
//! In dom0 the scenario reads the struct. On the host the same declaration is a table, which the
//! lab prints, and against which it checks values before it builds or boots anything.
//!
//! `declare.rs` is the macro, [`value`] the types that parameters have, [`limits`] the ranges and
//! lists that they are held to.

mod declare;
mod limits;
mod value;

use anyhow::{Result, bail};
use serde_json::{Map, Value};

pub use limits::{Any, Limits, Modes, Names};
pub use value::ParameterValue;

/// One parameter, as the host shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Which values it takes.
    pub takes: String,
    /// Its value if it is not given.
    pub default: String,
    /// What it means.
    pub meaning: String,
    /// The names it takes, if it takes a list of names.
    pub names: Vec<&'static str>,
}

/// A struct of parameters, made by [`parameters!`](crate::parameters!).
pub trait ParameterSet: Sized {
    /// Returns a row for each parameter.
    fn known() -> Vec<Parameter>;

    /// Reads the parameters of a job; a parameter that is not given has its default.
    ///
    /// # Errors
    /// A name is unknown, or the parameter does not take the value. The error lists what is known.
    fn read(given: &Map<String, Value>) -> Result<Self>;
}

/// A [`ParameterSet`] without its type, for the table of scenarios.
#[derive(Clone, Copy, Debug)]
pub struct ParameterTable {
    /// Returns a row for each parameter.
    pub known: fn() -> Vec<Parameter>,
    /// Fails if the scenario could not use the parameters.
    pub check: fn(&Map<String, Value>) -> Result<()>,
}

impl ParameterTable {
    /// The table of the set `P`.
    #[must_use]
    pub const fn of<P: ParameterSet>() -> Self {
        Self {
            known: P::known,
            check: check::<P>,
        }
    }

    /// Whether a parameter is called `name`.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        (self.known)()
            .iter()
            .any(|parameter| parameter.name == name)
    }
}

/// The set of a scenario that takes no parameters.
impl ParameterSet for () {
    fn known() -> Vec<Parameter> {
        Vec::new()
    }

    fn read(given: &Map<String, Value>) -> Result<Self> {
        match given.keys().next() {
            None => Ok(()),
            Some(name) => unknown(name, &[]),
        }
    }
}

fn check<P: ParameterSet>(given: &Map<String, Value>) -> Result<()> {
    P::read(given).map(drop)
}

/// Returns one line for each parameter: name, default, what it takes and means.
#[must_use]
pub fn listing(known: &[Parameter]) -> String {
    if known.is_empty() {
        return "  no parameters\n".to_owned();
    }
    let set = |parameter: &Parameter| format!("{}={}", parameter.name, parameter.default);
    let width = known.iter().map(|parameter| set(parameter).len()).max();
    let lines = known.iter().map(|parameter| {
        format!(
            "  {:width$}  {}; {}\n",
            set(parameter),
            parameter.meaning.trim_end_matches('.'),
            parameter.takes,
            width = width.unwrap_or(0)
        )
    });
    lines.collect()
}

/// Returns the error that no parameter is called `name`.
#[doc(hidden)]
pub fn unknown<T>(name: &str, known: &[Parameter]) -> Result<T> {
    bail!(
        "no parameter is called {name}; these are known, with their defaults:\n{}",
        listing(known).trim_end()
    )
}

/// Reads one value within its limits.
#[doc(hidden)]
pub fn read_one<T: ParameterValue>(
    name: &str,
    value: &Value,
    limits: &impl Limits<T>,
    known: &[Parameter],
) -> Result<T> {
    let fault = match T::read(value) {
        Some(read) if limits.allow(&read) => return Ok(read),
        Some(read) => limits.fault(&read),
        None => None,
    };
    let fault =
        fault.unwrap_or_else(|| format!("{name} cannot be {value}, but {}", takes::<T>(limits)));
    bail!(
        "{fault}; these parameters are known, with their defaults:\n{}",
        listing(known).trim_end()
    )
}

/// Says which values a parameter takes, with an article.
#[doc(hidden)]
pub fn takes<T: ParameterValue>(limits: &impl Limits<T>) -> String {
    limits.describe().unwrap_or_else(T::takes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Modes, Names, ParameterSet, ParameterTable, listing};
    use crate::mode::Mode;

    crate::parameters! {
        /// A set with one of each.
        struct Parameters {
            /// How often,
            /// in all.
            count: u32 = 5, in 1..=100;
            /// How much.
            mbit: u64 = 20, in 1..=100_000;
            /// Whether.
            linux: bool = false;
            /// Which parts.
            only: Vec<String> = Vec::new(), in Names { what: "part", known: vec!["pair", "plain"] };
            /// Which modes.
            arms: Vec<Mode> = vec![Mode::Off], in Modes(&[Mode::Off, Mode::Original]);
            /// How.
            mode: Mode = Mode::Advance, in [Mode::Original, Mode::Advance];
            /// Perhaps.
            ramdisk: Option<String> = None;
        }
    }

    fn read(given: serde_json::Value) -> Result<Parameters, String> {
        let given = given.as_object().expect("an object");
        Parameters::read(given).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let set = read(json!({})).expect("nothing to refuse");
        assert_eq!((set.count, set.mbit, set.linux), (5, 20, false));
        assert_eq!((set.arms, set.mode), (vec![Mode::Off], Mode::Advance));
        assert_eq!((set.only.len(), set.ramdisk), (0, None));
    }

    #[test]
    fn values_are_taken() {
        let set = read(json!({
            "count": 100, "linux": true, "only": ["plain"], "arms": "original,off",
            "mode": "original", "ramdisk": "initrd",
        }));
        let set = set.expect("all of it is known");
        assert_eq!((set.count, set.linux), (100, true));
        assert_eq!(set.only, ["plain"]);
        assert_eq!(set.arms, [Mode::Original, Mode::Off]);
        assert_eq!(set.mode, Mode::Original);
        assert_eq!(set.ramdisk.as_deref(), Some("initrd"));
    }

    #[test]
    fn what_is_unknown_or_cannot_be_is_refused_with_what_is_known() {
        for (given, says) in [
            (json!({"x": 1}), "no parameter is called x"),
            (json!({"count": "many"}), "count cannot be \"many\""),
            (
                json!({"count": 0}),
                "count cannot be 0, but a whole number from 1 to 100",
            ),
            (json!({"count": 101}), "from 1 to 100"),
            (json!({"count": -1}), "count cannot be -1"),
            (json!({"count": 1.5}), "count cannot be 1.5"),
            (json!({"mbit": 0}), "a whole number from 1 to 100000"),
            (json!({"linux": "yes"}), "true or false"),
            (
                json!({"only": ["pear"]}),
                "no part is called pear; there are: pair plain",
            ),
            (json!({"only": 3}), "only cannot be 3"),
            (
                json!({"arms": ["advance"]}),
                "a list of: off original; each once",
            ),
            (json!({"arms": []}), "arms cannot be []"),
            (json!({"arms": ["off", "off"]}), "each once"),
            (
                json!({"mode": "off"}),
                "mode cannot be \"off\", but original or advance",
            ),
            (json!({"ramdisk": 7}), "a text"),
        ] {
            let error = read(given.clone()).expect_err("it is wrong");
            assert!(error.contains(says), "{given}: {error}");
            for line in [
                "count=5 ",
                "How often, in all; a whole number from 1 to 100",
                "arms=[off] ",
            ] {
                assert!(error.contains(line), "{error}");
            }
        }
    }

    #[test]
    fn a_table_knows_what_its_set_knows() {
        let table = ParameterTable::of::<Parameters>();
        assert!(table.knows("mbit") && !table.knows("x"));
        assert_eq!(listing(&(table.known)()).lines().count(), 7);
        let given = json!({"mbit": 1});
        (table.check)(given.as_object().expect("an object")).expect("it is known");
    }

    #[test]
    fn a_scenario_without_parameters_refuses_all() {
        let table = ParameterTable::of::<()>();
        (table.check)(&serde_json::Map::new()).expect("nothing is given");
        let given = json!({"x": 1});
        let error = (table.check)(given.as_object().expect("an object"));
        let error = error.expect_err("nothing is known").to_string();
        assert!(
            error.contains("called x") && error.contains("no parameters"),
            "{error}"
        );
    }
}
