//! The values of its type that a parameter takes.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::mode::Mode;

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
