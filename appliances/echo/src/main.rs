//! The echo guest: the simplest use of the socket API, and a peer for network tests.
//!
//! Its services are those of the library beside this file. Besides the network's options it takes
//! `panic=yes`, with which it panics once the network is up.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};

use kernel::Guest;
use netstack::{Config, Network, TcpOptions};

kernel::guest!(main);

async fn main(mut guest: Guest) -> Result<(), String> {
    let config = Config::take(&mut guest.command_line).map_err(|error| error.to_string())?;
    let panics = match guest.command_line.take("panic").as_deref() {
        None | Some("no") => false,
        Some("yes") => true,
        Some(other) => {
            return Err(alloc::format!(
                "option \"panic\": {other:?} is not yes or no"
            ));
        }
    };
    guest
        .command_line
        .finish()
        .map_err(|error| error.to_string())?;
    let network = Network::start(guest.xenstore, config)
        .await
        .map_err(|error| error.to_string())?;
    assert!(!panics, "asked for with panic=yes");

    echo::serve(&network, TcpOptions::default())?;
    log::info!("echo: ready");
    network.answer_console().await;
    Ok(())
}
