//! The mail relay: an SMTP server and client in one guest without a disk.
//!
//! It hands mail to the next hop while it arrives, and says 250 for a message
//! only after the next hop has said so, so that nothing accepted is lost with
//! the guest. The dialogue, with the texts of all replies, is crate `smtp`;
//! here is what connects it to sockets: [`options`], the [`policy`] that follows
//! the guest's addresses, the [`next_hop`], one [`session`] per client with its
//! [`sockets`] and what it waits for ([`sources`]), the [`counts`] for `status`,
//! and a [`refusal`] for a client too many.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod counts;
mod next_hop;
mod options;
mod policy;
mod refusal;
mod session;
mod sockets;
mod sources;

use alloc::rc::Rc;
use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::future::pending;
use counts::Counts;
use embassy_futures::select::select3;
use kernel::cmdline::OptionError;
use kernel::{Guest, task};
use netstack::{BindError, NetError, Network, TcpListener};
use options::Options;
use policy::Policy;
use refusal::Refusals;
use session::{Seat, Shared};

kernel::guest!(main);

/// Why the relay cannot work at all.
enum Fatal {
    Option(OptionError),
    Network(NetError),
    Listen(u16, BindError),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Listen(port, error) => write!(f, "cannot listen on port {port}: {error}"),
        }
    }
}

async fn main(guest: Guest) -> Result<(), Fatal> {
    let options = Options::take(guest.command_line).map_err(Fatal::Option)?;
    let network = Network::start(guest.xenstore, options.network)
        .await
        .map_err(Fatal::Network)?;
    let listener = network
        .listen_with(options.listen, options.sessions, sockets::tcp_options())
        .map_err(|error| Fatal::Listen(options.listen, error))?;
    log::info!(
        "relay: listening on {}, {} clients at a time, next hop {}",
        options.listen,
        options.sessions,
        options.next_hop
    );

    let policy = Policy::new(options.smtp, options.own_subnets);
    policy.announce(&network);
    let shared = Rc::new(Shared {
        network,
        port: options.listen,
        next_hop: options.next_hop,
        policy,
        counts: Counts::default(),
        stopping: guest.stopping.clone(),
        clients: Cell::new(0),
        sessions: Cell::new(0),
    });
    select3(
        serve(listener, shared.clone(), options.sessions),
        shared.network.answer_console_with(|| shared.counts.log()),
        guest.stopping.requested(),
    )
    .await;
    // No more clients are accepted. The kernel stops the guest once the last
    // session has finished its current mail and dropped its hold.
    log::info!("relay: {} sessions to finish", shared.sessions.get());
    pending().await
}

/// Accepts clients, at most `limit` at a time; never completes. As many
/// sessions again may still be saying goodbye to the next hop.
async fn serve(mut listener: TcpListener, shared: Rc<Shared>, limit: usize) -> Infallible {
    let refusals = Rc::new(Refusals::default());
    let mut number = 0u32;
    loop {
        let client = listener.accept().await;
        if shared.clients.get() >= limit || shared.sessions.get() >= 2 * limit {
            let smtp = shared.policy.current(&shared.network);
            refusals.clone().refuse(client, &smtp);
            continue;
        }
        number = number.wrapping_add(1);
        let seat = Seat::take(shared.clone());
        task::spawn(session::run(seat, client, number)).detach();
    }
}
