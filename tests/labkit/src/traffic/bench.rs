//! The control port of a bench guest, and the answers that it and `agent peer` give.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::net::stream::connect;

/// The control port.
pub const CONTROL: u16 = 4242;

/// A connection to a bench guest's control port.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<TcpStream>,
}

/// An answer: figures by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(BTreeMap<String, String>);

/// An order that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The kind, a fixed word (appliances/bench: `Failure::kind`, `OrderError::kind`).
    pub kind: String,
    /// The guest's own words.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.kind, self.why)
    }
}

impl std::error::Error for Refused {}

/// Returns the kind of an order's error; `None` if it is not an answer of the guest.
#[must_use]
pub fn kind_of(error: &anyhow::Error) -> Option<&str> {
    let refused = error.downcast_ref::<Refused>();
    refused.map(|refused| refused.kind.as_str())
}

impl Control {
    /// Connects to the guest's control port at `server`.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let stream = connect(server, Deadline::seconds(20)).context("control port")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Gives an order and waits for its answer.
    pub fn order(&mut self, order: &str, deadline: Deadline) -> Result<Answer> {
        let mut ask = || -> Result<String> {
            let stream = self.stream.get_mut();
            stream.set_read_timeout(Some(deadline.socket_timeout()))?;
            stream.write_all(format!("{order}\n").as_bytes())?;
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            Ok(line)
        };
        ask()
            .and_then(|line| Answer::parse(&line))
            .with_context(|| format!("order {order:?}"))
    }
}

impl Answer {
    /// Reads `ok NAME=VALUE …`.
    ///
    /// # Errors
    /// `error KIND: WHY` is a [`Refused`]; [`kind_of`] returns its kind.
    pub fn parse(line: &str) -> Result<Self> {
        let line = line.trim_end();
        if let Some((kind, why)) = line.strip_prefix("error ").and_then(|e| e.split_once(": ")) {
            return Err(Refused {
                kind: kind.to_owned(),
                why: why.to_owned(),
            }
            .into());
        }
        let Some(figures) = line.strip_prefix("ok ") else {
            bail!("the answer is {line:?}");
        };
        let pairs = figures
            .split_whitespace()
            .map(|pair| pair.split_once('=').with_context(|| format!("{pair:?}")));
        let pairs: Result<_> = pairs
            .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        Ok(Self(pairs?))
    }

    /// Returns the numbers called `name`, which are separated by commas.
    pub fn numbers(&self, name: &str) -> Result<Vec<u64>> {
        let text = self
            .0
            .get(name)
            .with_context(|| format!("no {name} in the answer"))?;
        text.split(',')
            .map(|number| number.parse().with_context(|| format!("{name}={text}")))
            .collect()
    }

    /// Returns the number called `name`.
    pub fn number(&self, name: &str) -> Result<u64> {
        match self.numbers(name)?[..] {
            [number] => Ok(number),
            _ => bail!("{name} is not one number"),
        }
    }

    /// Returns the rate in Mbit/s, of `bytes` in `ns`.
    pub fn mbit_s(&self) -> Result<f64> {
        Ok(self.number("bytes")? as f64 * 8000.0 / self.number("ns")?.max(1) as f64)
    }

    /// Returns the rounds per second, of `rounds` in `ns`.
    pub fn rounds_s(&self) -> Result<f64> {
        Ok(self.number("rounds")? as f64 * 1e9 / self.number("ns")?.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, kind_of};

    #[test]
    fn answers_are_read_or_refused() {
        let answer = Answer::parse("ok bytes=1000 ns=2000\n").expect("as agreed");
        assert_eq!(answer.mbit_s().expect("both there"), 4000.0);
        assert!(answer.rounds_s().is_err());
        let each = Answer::parse("ok ns=1,2,3").expect("as agreed");
        assert_eq!(each.numbers("ns").expect("there"), [1, 2, 3]);
        assert!(each.number("ns").is_err());
        for bad in ["error no such peer", "", "ok bytes"] {
            let error = Answer::parse(bad).expect_err("not an answer");
            assert_eq!(kind_of(&error), None, "{bad:?}");
        }
    }

    #[test]
    fn refusals_have_a_kind() {
        use anyhow::Context as _;
        let refused = Answer::parse("error corrupt: byte 7 is not the one that was sent\n");
        let error = refused.context("order \"verify\"").expect_err("refused");
        assert_eq!(kind_of(&error), Some("corrupt"));
        assert!(format!("{error:#}").contains("byte 7"));
    }
}
