//! The mail client of the paper (Mclient): two nested loops from 1 to n, in which each inner step
//! hands a mail from user i to user j, with one attached file, to a relay by SMTP.
//!
//! [`options`] is the command line, [`mail`] makes a message piece by piece, so that none is ever
//! held as a whole, [`session`] hands in the mails of one user. At the end the guest logs a line
//! with the [`sum`] and powers off.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod mail;
mod options;
mod session;
mod sum;

use alloc::string::{String, ToString};

use embassy_futures::select::{Either, select};
use kernel::{Guest, time};
use netstack::Network;

use crate::options::Options;
use crate::sum::Sum;

kernel::guest!(main);

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
        // Never happens: the console is answered as long as the guest lives.
        Either::Second(()) => Err("the console is gone".to_string()),
    }
}

/// Sends all mails: the two loops.
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
