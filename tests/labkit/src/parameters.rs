//! What a scenario can be told with `--param NAME=VALUE`.
//!
//! A scenario declares its parameters once, as a struct, with [`parameters!`](crate::parameters!).
//! In dom0 the scenario reads the struct. On the host the same declaration is a table, which the
//! lab prints, and against which it checks values before it builds or boots anything.

use std::fmt::Display;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use crate::mode::Mode;

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

/// The set of a scenario without parameters.
impl ParameterSet for () {
    fn known() -> Vec<Parameter> {
        Vec::new()
    }

    fn read(given: &Map<String, Value>) -> Result<Self> {
        match given.keys().next() {
            Some(name) => unknown(name, &[]),
            None => Ok(()),
        }
    }
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

fn check<P: ParameterSet>(given: &Map<String, Value>) -> Result<()> {
    P::read(given).map(drop)
}

/// Returns one line for each parameter: name, default, what it takes and means.
#[must_use]
pub fn listing(known: &[Parameter]) -> String {
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

/// A type that a parameter can have.
pub trait ParameterValue: Sized {
    /// Says what it takes, with an article.
    fn takes() -> String;

    /// Reads a value; returns `None` if it has another type.
    fn read(value: &Value) -> Option<Self>;

    /// Formats a value as a user would give it.
    fn show(&self) -> String;
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl ParameterValue for $number {
            fn takes() -> String {
                "a whole number".to_owned()
            }

            fn read(value: &Value) -> Option<Self> {
                value.as_u64()?.try_into().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers!(u32, u64, usize);

impl ParameterValue for bool {
    fn takes() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl ParameterValue for String {
    fn takes() -> String {
        "a text".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl ParameterValue for Mode {
    fn takes() -> String {
        Self::ALL.map(Self::name).join(" or ")
    }

    fn read(value: &Value) -> Option<Self> {
        let name = value.as_str()?;
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

impl<T: ParameterValue> ParameterValue for Option<T> {
    fn takes() -> String {
        T::takes()
    }

    fn read(value: &Value) -> Option<Self> {
        T::read(value).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map_or("none".to_owned(), T::show)
    }
}

/// A list, as JSON or as words separated by commas.
impl<T: ParameterValue> ParameterValue for Vec<T> {
    fn takes() -> String {
        format!("a list, each {}", T::takes())
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Array(values) => values.iter().map(T::read).collect(),
            Value::String(words) => words.split(',').map(|word| T::read(&word.into())).collect(),
            _ => None,
        }
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self.iter().map(T::show).collect();
        format!("[{}]", shown.join(","))
    }
}

/// Which values of its type a parameter takes.
pub trait Limits<T> {
    /// Whether it takes this one.
    fn allow(&self, value: &T) -> bool;

    /// Says which values it takes, with an article; `None` for all values of the type.
    fn describe(&self) -> Option<String>;

    /// Says what is wrong with a value that it does not take, if there is more to say.
    fn fault(&self, _: &T) -> Option<String> {
        None
    }

    /// Returns the names that lists may contain.
    fn names(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// Every value of the type.
#[derive(Clone, Copy, Debug)]
pub struct Any;

impl<T> Limits<T> for Any {
    fn allow(&self, _: &T) -> bool {
        true
    }

    fn describe(&self) -> Option<String> {
        None
    }
}

impl<T: PartialOrd + Display> Limits<T> for RangeInclusive<T> {
    fn allow(&self, value: &T) -> bool {
        self.contains(value)
    }

    fn describe(&self) -> Option<String> {
        let (start, end) = (self.start(), self.end());
        Some(format!("a whole number from {start} to {end}"))
    }
}

/// Lists of names; an empty list means all of them.
#[derive(Clone, Debug)]
pub struct Names {
    /// What a name names.
    pub what: &'static str,
    /// The names.
    pub known: Vec<&'static str>,
}

/// The most names that a table of parameters shows.
const MOST_SHOWN: usize = 8;

impl Names {
    /// Returns the first of `names` that is not known.
    fn unknown<'a>(&self, names: &'a [String]) -> Option<&'a String> {
        names
            .iter()
            .find(|name| !self.known.contains(&name.as_str()))
    }
}

impl Limits<Vec<String>> for Names {
    fn allow(&self, names: &Vec<String>) -> bool {
        self.unknown(names).is_none()
    }

    fn describe(&self) -> Option<String> {
        let what = self.what;
        Some(if self.known.len() > MOST_SHOWN {
            format!("a list of {what}s, which `cargo lab list NAME` names")
        } else {
            format!("a list of {what}s: {}", self.known.join(" "))
        })
    }

    fn fault(&self, names: &Vec<String>) -> Option<String> {
        let (what, name) = (self.what, self.unknown(names)?);
        let known = self.known.join(" ");
        Some(format!("no {what} is called {name}; there are: {known}"))
    }

    fn names(&self) -> Vec<&'static str> {
        self.known.clone()
    }
}

/// Lists of at least one of these modes, each once.
#[derive(Clone, Copy, Debug)]
pub struct Modes(pub &'static [Mode]);

impl Limits<Vec<Mode>> for Modes {
    fn allow(&self, modes: &Vec<Mode>) -> bool {
        let known = modes.iter().all(|mode| self.0.contains(mode));
        let once = modes
            .iter()
            .enumerate()
            .all(|(at, mode)| !modes[..at].contains(mode));
        known && once && !modes.is_empty()
    }

    fn describe(&self) -> Option<String> {
        let names: Vec<_> = self.0.iter().map(|mode| mode.name()).collect();
        Some(format!("a list of: {}; each once", names.join(" ")))
    }
}

/// One of these modes.
impl<const N: usize> Limits<Mode> for [Mode; N] {
    fn allow(&self, mode: &Mode) -> bool {
        self.contains(mode)
    }

    fn describe(&self) -> Option<String> {
        Some(self.map(Mode::name).join(" or "))
    }
}

/// Declares a struct of parameters with its table ([`ParameterSet`]).
///
/// Each field has its meaning as doc comment, a type ([`ParameterValue`]), a default, and after
/// `in`, if it does not take every value of the type, its [`Limits`].
///
/// ```
/// labkit::parameters! {
///     /// What the example can be told.
///     pub struct Parameters {
///         /// How often it does it.
///         count: u32 = 5, in 1..=100;
///         /// Whether it says so.
///         loud: bool = false;
///     }
/// }
///
/// use labkit::parameters::ParameterSet;
/// let given = serde_json::json!({"count": 7});
/// let read = Parameters::read(given.as_object().unwrap()).unwrap();
/// assert_eq!((read.count, read.loud), (7, false));
/// ```
#[macro_export]
macro_rules! parameters {
    (@limits) => { $crate::parameters::Any };
    (@limits $limits:expr) => { $limits };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $set:ident {
            $(
                $(#[doc = $meaning:literal])+
                $name:ident: $kind:ty = $default:expr $(, in $limits:expr)?;
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        $visibility struct $set {
            $(
                $(#[doc = $meaning])+
                pub $name: $kind,
            )*
        }

        impl ::core::default::Default for $set {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl $crate::parameters::ParameterSet for $set {
            fn known() -> ::std::vec::Vec<$crate::parameters::Parameter> {
                ::std::vec![$({
                    let default: $kind = $default;
                    let limits = $crate::parameters!(@limits $($limits)?);
                    $crate::parameters::Parameter {
                        name: ::core::stringify!($name),
                        takes: $crate::parameters::takes::<$kind>(&limits),
                        default: $crate::parameters::ParameterValue::show(&default),
                        meaning: ::core::concat!($($meaning),+).trim().to_owned(),
                        names: $crate::parameters::Limits::<$kind>::names(&limits),
                    }
                }),*]
            }

            fn read(
                given: &$crate::serde_json::Map<::std::string::String, $crate::serde_json::Value>,
            ) -> $crate::anyhow::Result<Self> {
                let mut set = Self::default();
                for (name, value) in given {
                    match name.as_str() {
                        $(::core::stringify!($name) => {
                            set.$name = $crate::parameters::read_one(
                                name,
                                value,
                                &$crate::parameters!(@limits $($limits)?),
                                &Self::known(),
                            )?;
                        })*
                        _ => return $crate::parameters::unknown(name, &Self::known()),
                    }
                }
                Ok(set)
            }
        }
    };
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
}
