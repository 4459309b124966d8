//! The bench guest: exchanges traffic with a peer, measures it by its own clock, and reports the
//! figures.
//!
//! It offers its peers the test services of the echo guest (crate `echo`), and dom0 a control port
//! ([`control`]) on which each line is an [`order`](order::Order) that [`measure`], [`held`] or
//! [`bells`] carries out. All of it uses the ordinary socket API, so the same image measures
//! whichever path the bytes take.
//!
//! Besides the network's options it takes `control=`, the control port (4242), and `buffer=`, the
//! size of each of a TCP connection's two buffers in KiB (64).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod bells;
mod client;
mod control;
mod failure;
mod flow;
mod held;
mod measure;
mod order;

use alloc::string::{String, ToString};

use embassy_futures::join::join;
use kernel::Guest;
use kernel::cmdline::{CommandLine, OptionError};
use netstack::{Buffers, Config, Network, TcpOptions};

kernel::guest!(main);

/// Clients of the control port that wait to be accepted.
const BACKLOG: usize = 16;

struct Options {
    network: Config,
    control: u16,
    tcp: TcpOptions,
}

impl Options {
    fn take(mut line: CommandLine) -> Result<Self, OptionError> {
        let network = Config::take(&mut line)?;
        let control = number(
            &mut line,
            "control",
            4242,
            "a port number from 1 to 65535 (example: control=4242)",
            1..=65535,
        )?;
        let buffer = number(
            &mut line,
            "buffer",
            64,
            "KiB from 3 to 4096 (example: buffer=64)",
            3..=4096,
        )?;
        line.finish()?;
        Ok(Self {
            network,
            control,
            tcp: TcpOptions {
                buffers: Buffers::both(usize::from(buffer) * 1024),
                ..TcpOptions::default()
            },
        })
    }
}

fn number(
    line: &mut CommandLine,
    key: &str,
    default: u16,
    expected: &str,
    range: core::ops::RangeInclusive<u16>,
) -> Result<u16, OptionError> {
    match line.take_parsed(key, expected)? {
        None => Ok(default),
        Some(given) if range.contains(&given) => Ok(given),
        Some(given) => Err(OptionError::invalid(key, &given.to_string(), expected)),
    }
}

async fn main(guest: Guest) -> Result<(), String> {
    let options = Options::take(guest.command_line).map_err(|error| error.to_string())?;
    let network = Network::start(guest.xenstore, options.network)
        .await
        .map_err(|error| error.to_string())?;
    echo::serve(&network, options.tcp)?;
    let listener = network
        .listen(options.control, BACKLOG)
        .map_err(|error| alloc::format!("port {}: {error}", options.control))?;
    let bench = measure::Bench::new(client::Client {
        network: network.clone(),
        options: options.tcp,
    });
    log::info!("bench: ready");
    join(control::serve(listener, bench), network.answer_console()).await;
    Ok(())
}
