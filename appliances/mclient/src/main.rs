//! The mail client of the paper (Mclient): two nested loops from 1 to n, each inner step one mail
//! from user i to user j with one attached file, handed to a relay by SMTP.
//!
//! [`options`] is the command line, [`mail`] makes a message piece by piece, so that none is ever
//! held, [`session`] hands in what one user sends. At the end there is one line with the sum, and
//! the domain powers off.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod mail;
mod options;
mod session;

use alloc::string::{String, ToString};
use core::time::Duration;

use embassy_futures::select::{Either, select};
use kernel::{Guest, time};
use netstack::Network;

use crate::options::Options;

kernel::guest!(main);

/// What became of the mails.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sent: u32,
    failed: u32,
    /// Of one mail, from MAIL to the answer to its end.
    longest: Duration,
}

async fn main(guest: Guest) -> Result<(), String> {
    let options = Options::take(guest.command_line).map_err(|error| error.to_string())?;
    let network = Network::start(guest.xenstore, options.network.clone())
        .await
        .map_err(|error| error.to_string())?;
    log::info!(
        "mclient: {} mails with {} bytes attached, to {}",
        options.n * options.n,
        options.size,
        options.relay
    );
    match select(send_all(&network, &options), network.answer_console()).await {
        Either::First(()) => Ok(()),
        // The console is answered for ever.
        Either::Second(()) => Err("the console is gone".to_string()),
    }
}

/// The two loops.
async fn send_all(network: &Network, options: &Options) {
    let start = time::now();
    let mut sum = Sum::default();
    for from in 1..=options.n {
        session::run(network, options, from, &mut sum).await;
        log::info!(
            "mclient: user {from} of {}: {} mails sent, {} failed",
            options.n,
            sum.sent,
            sum.failed
        );
    }
    let took = time::now().saturating_duration_since(start);
    log::info!(
        "mclient: done: {} mails sent, {} failed, {} bytes each, {} ms, longest {} ms",
        sum.sent,
        sum.failed,
        options.size,
        took.as_millis(),
        sum.longest.as_millis()
    );
}
