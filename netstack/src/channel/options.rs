//! The channel's options on the guest's command line.

use kernel::cmdline::{CommandLine, OptionError};
use kernel::{PAGE_SIZE, mem};
use vmc::{Config, Mode, Uuid};

use super::networks::Networks;

const MODE: &str = "off, original or advance (example: vmc=off)";
const PEERS: &str =
    "how many guests of this host to share memory with, 1 to 64 (example: vmc_peers=16)";
const RINGS: &str = "rings for each peer and direction, 1 to 512 (example: vmc_rings=256)";
const RING: &str = "the largest ring in KiB, a power of two from 4 to 1024 (example: vmc_ring=256)";
const MEMORY: &str =
    "KiB to share with all peers together, at least 128 (example: vmc_memory=4096)";
const WAIT: &str = "seconds that a suspended peer is awaited, 1 to 86400 (example: vmc_wait=600)";

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The channel's options, as the command line gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// What becomes of the channel in a migration; `None` if there is to be no channel.
    mode: Option<Mode>,
    peers: usize,
    rings: usize,
    /// Bytes.
    ring: usize,
    /// Bytes; `None` stands for a share of the memory that is free when the network starts.
    memory: Option<usize>,
    /// Seconds.
    wait: usize,
    pub(super) networks: Networks,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            mode: Some(Mode::Advance),
            peers: 16,
            rings: 256,
            ring: 256 * 1024,
            memory: None,
            wait: 600,
            networks: Networks::default(),
        }
    }
}

impl ChannelOptions {
    /// Takes `vmc` and everything that begins with `vmc_`.
    pub(crate) fn take(line: &mut CommandLine) -> Result<Self, OptionError> {
        let mut options = Self::default();
        options.mode = match line.take("vmc").as_deref() {
            None => options.mode,
            Some("off") => None,
            Some("original") => Some(Mode::Original),
            Some("advance") => Some(Mode::Advance),
            Some(other) => return Err(OptionError::invalid("vmc", other, MODE)),
        };
        let mut number = |key: &str, expected: &str, valid: fn(usize) -> bool| match line
            .take_parsed::<usize>(key, expected)?
        {
            Some(value) if !valid(value) => Err(OptionError::invalid(
                key,
                &alloc::format!("{value}"),
                expected,
            )),
            given => Ok(given),
        };
        if let Some(peers) = number("vmc_peers", PEERS, |value| (1..=64).contains(&value))? {
            options.peers = peers;
        }
        if let Some(rings) = number("vmc_rings", RINGS, |value| (1..=512).contains(&value))? {
            options.rings = rings;
        }
        let is_ring = |value: usize| (4..=1024).contains(&value) && value.is_power_of_two();
        if let Some(ring) = number("vmc_ring", RING, is_ring)? {
            options.ring = ring * 1024;
        }
        options.memory = number("vmc_memory", MEMORY, |value| {
            (128..=1 << 22).contains(&value)
        })?
        .map(|kib| kib * 1024);
        if let Some(wait) = number("vmc_wait", WAIT, |value| (1..=86_400).contains(&value))? {
            options.wait = wait;
        }
        if let Some(networks) = line.take("vmc_networks") {
            options.networks = Networks::parse(&networks)?;
        }
        Ok(options)
    }

    /// Returns which protocol the guest follows, or `None` with `vmc=off`.
    pub(crate) const fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// Returns the channel's configuration for the guest `uuid`. Without `vmc_memory` the channel
    /// may use a quarter of the memory that is free now.
    pub(crate) fn config(&self, uuid: Uuid) -> Config {
        let share = || mem::frames::usage().free * PAGE_SIZE / 4;
        Config {
            uuid,
            max_peers: self.peers,
            max_rings: self.rings,
            largest_ring: self.ring,
            memory: self.memory.unwrap_or_else(share),
            peer_timeout: self.wait as u64 * NANOS_PER_SECOND,
        }
    }

    /// Whether there is to be a channel.
    pub(crate) fn is_on(&self) -> bool {
        self.mode.is_some()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn take(line: &str) -> Result<ChannelOptions, OptionError> {
        let mut line = CommandLine::parse(line)?;
        let options = ChannelOptions::take(&mut line)?;
        line.finish().map(|()| options)
    }

    #[test]
    fn the_channel_is_on_unless_told_otherwise() {
        let mode = |line: &str| take(line).expect("valid").mode();
        assert_eq!(mode(""), Some(Mode::Advance));
        assert_eq!(mode("vmc=advance"), Some(Mode::Advance));
        assert_eq!(mode("vmc=original"), Some(Mode::Original));
        assert_eq!(mode("vmc=off"), None);
    }

    #[test]
    fn limits_are_taken_in_kib() {
        let options = take("vmc_peers=2 vmc_rings=3 vmc_ring=64 vmc_memory=512 vmc_wait=9");
        let options = options.expect("valid");
        let config = options.config(Uuid([0; 16]));
        assert_eq!((config.max_peers, config.max_rings), (2, 3));
        assert_eq!((config.largest_ring, config.memory), (64 << 10, 512 << 10));
        assert_eq!(config.peer_timeout, 9 * NANOS_PER_SECOND);
    }

    #[test]
    fn nonsense_is_named() {
        for line in [
            "vmc=",
            "vmc=on",
            "vmc=advanced",
            "vmc_peers=0",
            "vmc_peers=65",
            "vmc_rings=513",
            "vmc_ring=3",
            "vmc_ring=24",
            "vmc_ring=2048",
            "vmc_memory=127",
            "vmc_memory=-1",
            "vmc_wait=0",
            "vmc_wait=86401",
            "vmc_networks=10.0.0.0",
        ] {
            let error = take(line).expect_err(line).to_string();
            let key = line.split('=').next().expect("a key");
            assert!(error.contains(key), "{line}: {error}");
        }
    }
}
