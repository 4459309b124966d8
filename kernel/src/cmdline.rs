//! The guest's command line: `key=value` words.
//!
//! Each part of the guest takes the options it knows; at the end
//! [`CommandLine::finish`] rejects the rest. Nothing is silently ignored, and
//! every error is one line that names the option and what it expects.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

/// The options not taken yet, and the names of all options asked for so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    options: Vec<(String, String)>,
    known: Vec<String>,
}

/// An error in the command line. Its `Display` is one line for the console,
/// starting with a lower-case letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// A word that is not `key=value`.
    BareWord {
        /// The word.
        word: String,
    },
    /// A key was given twice.
    Duplicate {
        /// The key.
        key: String,
    },
    /// The value is not valid for its option.
    Invalid {
        /// The key.
        key: String,
        /// The value as given.
        value: String,
        /// What it must be, for instance `a port number (example: port=25)`.
        expected: String,
    },
    /// A required option is missing.
    Missing {
        /// The key.
        key: String,
        /// What its value must be.
        expected: String,
    },
    /// No part of the guest knows this option.
    Unknown {
        /// The key.
        key: String,
        /// All options that exist, in the order in which they were asked for.
        known: Vec<String>,
    },
}

impl CommandLine {
    /// Splits the command line at ASCII white space into `key=value` words. A
    /// value extends to the end of its word; it may be empty or contain `=`.
    /// Quotes have no special meaning.
    ///
    /// # Errors
    /// [`OptionError::BareWord`], [`OptionError::Duplicate`].
    pub fn parse(raw: &str) -> Result<Self, OptionError> {
        let mut line = Self::default();
        for word in raw.split_ascii_whitespace() {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => (key, value),
                _ => return Err(OptionError::BareWord { word: word.into() }),
            };
            if line.options.iter().any(|(given, _)| given == key) {
                return Err(OptionError::Duplicate { key: key.into() });
            }
            line.options.push((key.to_owned(), value.to_owned()));
        }
        Ok(line)
    }

    /// Takes the value of an option, if it was given.
    pub fn take(&mut self, key: &str) -> Option<String> {
        if !self.known.iter().any(|known| known == key) {
            self.known.push(key.to_owned());
        }
        let at = self.options.iter().position(|(given, _)| given == key)?;
        Some(self.options.remove(at).1)
    }

    /// Takes and parses an option, if it was given. `expected` describes a
    /// valid value, for instance `a port number (example: port=25)`.
    ///
    /// # Errors
    /// [`OptionError::Invalid`].
    pub fn take_parsed<T: FromStr>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => Err(OptionError::invalid(key, &value, expected)),
        }
    }

    /// Takes and parses an option that must be given.
    ///
    /// # Errors
    /// [`OptionError::Missing`], [`OptionError::Invalid`].
    pub fn take_required<T: FromStr>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<T, OptionError> {
        self.take_parsed(key, expected)?
            .ok_or_else(|| OptionError::Missing {
                key: key.into(),
                expected: expected.into(),
            })
    }

    /// Finishes reading: every option not taken by now is unknown.
    ///
    /// # Errors
    /// [`OptionError::Unknown`] with the first such option.
    pub fn finish(self) -> Result<(), OptionError> {
        match self.options.into_iter().next() {
            None => Ok(()),
            Some((key, _)) => Err(OptionError::Unknown {
                key,
                known: self.known,
            }),
        }
    }
}

impl OptionError {
    /// Makes the error for a value that the option's reader rejects.
    #[must_use]
    pub fn invalid(key: &str, value: &str, expected: &str) -> Self {
        Self::Invalid {
            key: key.to_string(),
            value: value.to_string(),
            expected: expected.to_string(),
        }
    }
}

impl fmt::Display for OptionError {
    // Debug form ({:?}) for what the user typed: quoted, and control
    // characters cannot disturb the console.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareWord { word } => {
                write!(f, "command line: {word:?} is not of the form key=value")
            }
            Self::Duplicate { key } => write!(f, "option {key:?} is given twice"),
            Self::Invalid {
                key,
                value,
                expected,
            } => write!(f, "option {key:?}: {value:?} is not {expected}"),
            Self::Missing { key, expected } => {
                write!(f, "option {key:?} is missing: it must be {expected}")
            }
            Self::Unknown { key, known } if known.is_empty() => {
                write!(f, "unknown option {key:?}: there are no options")
            }
            Self::Unknown { key, known } => {
                write!(f, "unknown option {key:?}: the options are ")?;
                for (at, name) in known.iter().enumerate() {
                    write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for OptionError {}

#[cfg(test)]
mod tests;
