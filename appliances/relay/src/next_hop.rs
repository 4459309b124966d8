//! The next hop: its name and port, and how to connect to it.

use crate::sockets::tcp_options;
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;
use netstack::{ConnectError, Network, ResolveError, TcpStream};

/// Host and port of the next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHop {
    host: String,
    port: u16,
}

/// What a next hop must look like on the command line.
pub(crate) const EXPECTED: &str = "a host and a port (example: next-hop=10.0.0.1:2525, next-hop=[fd00::1]:25 or next-hop=mail.example.org:25)";

impl FromStr for NextHop {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(())?;
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(literal) => literal
                .parse::<core::net::Ipv6Addr>()
                .map(|_| literal)
                .map_err(drop)?,
            None if host.is_empty() || host.contains([':', '[', ']']) => return Err(()),
            None => host,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why the next hop cannot be reached.
pub(crate) enum Unreachable {
    Name(ResolveError),
    Connect(IpAddr, ConnectError),
    /// The address and port are the relay's own.
    Itself(IpAddr),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Connect(address, error) => write!(f, "{address}: {error}"),
            Self::Itself(address) => write!(f, "{address} is this relay, mail loops back"),
        }
    }
}

impl NextHop {
    /// Looks the host up and connects to it, unless it is the port `own` of this guest.
    pub(crate) async fn connect(
        &self,
        network: &Network,
        own: u16,
        limit: Duration,
    ) -> Result<TcpStream, Unreachable> {
        let address = network
            .resolve(&self.host)
            .await
            .map_err(Unreachable::Name)?;
        if self.port == own && is_here(network, address.to_canonical()) {
            return Err(Unreachable::Itself(address));
        }
        network
            .connect_with(SocketAddr::new(address, self.port), limit, tcp_options())
            .await
            .map_err(|error| Unreachable::Connect(address, error))
    }
}

/// Whether `address` means this guest.
fn is_here(network: &Network, address: IpAddr) -> bool {
    let is_own = |(own, _): (IpAddr, u8)| own == address;
    address.is_loopback() || address.is_unspecified() || network.addresses().into_iter().any(is_own)
}
