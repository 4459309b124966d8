//! The mail relay: an SMTP server and client in one guest without a disk.
//!
//! It accepts mail, hands it to the next hop while it arrives, and says 250
//! for a message only after the next hop has, so that nothing accepted is lost
//! with the guest. The dialogue is crate `smtp`; here is what connects it to
//! sockets: [`options`], one [`session`] per client, [`drain`] at shutdown.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod drain;
mod next_hop;
mod options;
mod refusal;
mod session;

use alloc::rc::Rc;
use alloc::sync::Arc;
use core::fmt;
use drain::Drain;
use embassy_futures::select::{Either, select};
use kernel::cmdline::OptionError;
use kernel::shutdown::{Request, Requests};
use kernel::xenstore::StoreError;
use kernel::{Guest, power, task};
use netstack::{BindError, NetError, Network, TcpListener};
use options::Options;
use refusal::Refusals;
use session::Shared;

kernel::guest!(main);

/// What keeps the relay from working at all.
enum Fatal {
    Option(OptionError),
    Network(NetError),
    Listen(u16, BindError),
    Store(StoreError),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Listen(port, error) => write!(f, "cannot listen on port {port}: {error}"),
            Self::Store(error) => write!(f, "xenstore: {error}"),
        }
    }
}

async fn main(guest: Guest) -> Result<(), Fatal> {
    let options = Options::take(guest.command_line).map_err(Fatal::Option)?;
    let mut requests = Requests::listen(&guest.xenstore)
        .await
        .map_err(Fatal::Store)?;
    let network = Network::start(guest.xenstore, options.network)
        .await
        .map_err(Fatal::Network)?;
    let listener = network
        .listen_with(options.listen, options.sessions, session::tcp_options())
        .map_err(|error| Fatal::Listen(options.listen, error))?;
    log::info!("relay: listening on {}", options.listen);

    let shared = Rc::new(Shared {
        network,
        next_hop: options.next_hop,
        smtp: Arc::new(options.smtp),
        drain: Drain::default(),
    });
    let serve = serve(listener, shared.clone(), options.sessions);
    let request = match select(serve, requests.next()).await {
        Either::First(never) => match never {},
        Either::Second(request) => request.map_err(Fatal::Store)?,
    };
    log::info!("relay: {} sessions to drain", shared.drain.sessions());
    if !shared.drain.finish().await {
        log::warn!("relay: {} sessions cut off", shared.drain.sessions());
    }
    log::info!("shutdown: {request}");
    match request {
        Request::Reboot => power::stop(power::Reason::Reboot),
        Request::Poweroff | Request::Halt | Request::Suspend => {
            power::stop(power::Reason::Poweroff)
        }
    }
}

/// Accepts clients for ever, at most `limit` at a time.
async fn serve(
    mut listener: TcpListener,
    shared: Rc<Shared>,
    limit: usize,
) -> core::convert::Infallible {
    let refusals = Rc::new(Refusals::default());
    let mut number = 0u32;
    loop {
        let client = listener.accept().await;
        if shared.drain.sessions() >= limit {
            refusals.clone().refuse(client, &shared.smtp);
            continue;
        }
        number = number.wrapping_add(1);
        task::spawn(session::run(shared.clone(), client, number)).detach();
    }
}
