//! What a scenario or a case works with: the report, the job, and guests to boot.

use anyhow::{Context, Result};

use crate::addresses::{self, DOM0};
use crate::guest::{Guest, Image};
use crate::mode::Mode;
use crate::parameters::{ParameterSet, ParameterValue};
use crate::protocol::Job;
use crate::report::Report;

/// The seed of everything random, unless the parameter `seed` names another.
pub const DEFAULT_SEED: u64 = 1;

/// The channel's mode in cases that can do with several, unless the parameter `mode` names another.
pub const DEFAULT_MODE: Mode = Mode::Advance;

/// What one scenario or case works with.
#[derive(Clone, Debug)]
pub struct Lab {
    /// Where it reports.
    pub report: Report,
    /// What the host asked for.
    pub job: Job,
    /// The name of this scenario or case; its guests' names begin with it.
    pub part: String,
}

impl Lab {
    /// Returns the job's parameters.
    ///
    /// # Errors
    /// The host has checked them, so only a scenario that reads another set than its own fails.
    pub fn parameters<P: ParameterSet>(&self) -> Result<P> {
        P::read(&self.job.params).with_context(|| format!("parameters of {}", self.job.scenario))
    }

    /// Returns the seed of everything random: the parameter `seed`, or 1.
    ///
    /// # Errors
    /// The parameter is not a whole number.
    pub fn seed(&self) -> Result<u64> {
        self.common("seed", DEFAULT_SEED)
    }

    /// Returns the mode of the channel in cases that can do with several: the parameter `mode`, or
    /// `advance`.
    ///
    /// # Errors
    /// The parameter is not a mode.
    pub fn mode(&self) -> Result<Mode> {
        self.common("mode", DEFAULT_MODE)
    }

    /// Reads a parameter that cases of every scenario may have.
    fn common<T: ParameterValue>(&self, name: &str, default: T) -> Result<T> {
        match self.job.params.get(name) {
            None => Ok(default),
            Some(value) => T::read(value).with_context(|| format!("{name} cannot be {value}")),
        }
    }

    /// An echo guest at 10.0.0.`number` with `options` after its addresses.
    #[must_use]
    pub fn echo(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        self.guest(Image::Echo, number, memory_mib, options)
    }

    /// A relay at 10.0.0.`number` that hands mail to the sink in dom0 ([`crate::mail::sink`]).
    #[must_use]
    pub fn relay(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        let options = format!("next-hop={DOM0}:{} {options}", crate::mail::sink::PORT);
        self.guest(Image::Relay, number, memory_mib, &options)
    }

    /// A bench guest at 10.0.0.`number` with `options` after its addresses.
    #[must_use]
    pub fn bench(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        self.guest(Image::Bench, number, memory_mib, options)
    }

    /// A mail client at 10.0.0.`number`; `options` say where its mails go.
    #[must_use]
    pub fn mclient(&self, number: u8, memory_mib: u64, options: &str) -> Guest {
        self.guest(Image::Mclient, number, memory_mib, options)
    }

    /// A hostile guest at 10.0.0.`number`; `options` say what it does, and to whom. The toolstack
    /// removes it when it ends, even by a crash.
    #[must_use]
    pub fn hostile(&self, number: u8, options: &str) -> Guest {
        self.guest(Image::Hostile, number, 16, options).unmourned()
    }

    fn guest(&self, image: Image, number: u8, memory_mib: u64, options: &str) -> Guest {
        let cmdline = format!("ip={}/24 gw={DOM0} {options}", addresses::ipv4(number));
        self.guest_with(image, number, memory_mib, cmdline.trim_end())
    }

    /// A guest with a command line of its own, good or bad.
    #[must_use]
    pub fn guest_with(&self, image: Image, number: u8, memory_mib: u64, cmdline: &str) -> Guest {
        Guest::new(
            image,
            self.job.guest,
            &self.part,
            number,
            memory_mib,
            cmdline,
        )
    }
}
