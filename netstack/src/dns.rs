//! Name look-up with smoltcp's DNS socket (RFC 1035, RFC 3596).

use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::{IpAddr, Ipv4Addr};
use core::task::Poll;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::dns::{GetQueryResultError, QueryHandle, Socket, StartQueryError};
use smoltcp::wire::{DnsQueryType, IpAddress};

use crate::error::ResolveError;
use crate::stack::{Shared, Stack};

/// Servers that are asked, one after the other (smoltcp's feature `dns-max-server-count-3`).
const MAX_SERVERS: usize = 3;
/// Queries under way at once; a look-up is one or two.
const MAX_QUERIES: usize = 16;

/// The DNS servers and the socket that asks them.
#[derive(Default)]
pub(crate) struct Resolver {
    handle: Option<SocketHandle>,
    configured: Vec<IpAddr>,
    leased: Vec<IpAddr>,
    queries: usize,
}

impl Resolver {
    /// The servers that the command line names; they come before DHCP's.
    pub(crate) fn set_configured(&mut self, servers: &[IpAddr]) {
        self.configured = servers.to_vec();
    }

    /// The servers of the present DHCP lease.
    pub(crate) fn set_leased(&mut self, servers: &[Ipv4Addr]) {
        self.leased = servers.iter().copied().map(IpAddr::V4).collect();
    }

    fn servers(&self) -> Vec<IpAddress> {
        self.configured
            .iter()
            .chain(&self.leased)
            .take(MAX_SERVERS)
            .map(|server| (*server).into())
            .collect()
    }
}

/// A query under way; dropping it cancels it.
struct Query<'a> {
    shared: &'a Shared,
    handle: Option<QueryHandle>,
}

impl Shared {
    /// The address of `name`: itself if it is written as one, else the first of its A records,
    /// else the first of its AAAA records. Asked for are only families that the interface has an
    /// address of. smoltcp gives each server 10 s, so the whole ends after 30.
    pub(crate) async fn resolve(&self, name: &str) -> Result<IpAddr, ResolveError> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        let (ipv4, ipv6) = self.with(|stack| stack.families());
        let first = ipv4
            .then(|| self.start_query(name, DnsQueryType::A))
            .transpose()?;
        let second = ipv6
            .then(|| self.start_query(name, DnsQueryType::Aaaa))
            .transpose()?;
        for query in [first, second].into_iter().flatten() {
            if let Some(address) = query.wait().await {
                return Ok(address);
            }
        }
        Err(ResolveError::NotFound)
    }

    fn start_query(&self, name: &str, kind: DnsQueryType) -> Result<Query<'_>, ResolveError> {
        self.with(|stack| {
            let handle = stack.dns_socket()?;
            if stack.resolver.queries == MAX_QUERIES {
                return Err(ResolveError::Busy);
            }
            let socket = stack.sockets.get_mut::<Socket<'_>>(handle);
            let query = socket
                .start_query(stack.iface.context(), name, kind)
                .map_err(|error| match error {
                    StartQueryError::NoFreeSlot => ResolveError::Busy,
                    StartQueryError::InvalidName | StartQueryError::NameTooLong => {
                        ResolveError::InvalidName
                    }
                })?;
            stack.resolver.queries += 1;
            stack.kick();
            Ok(Query {
                shared: self,
                handle: Some(query),
            })
        })
    }
}

impl Stack {
    /// Whether the interface has an IPv4 address, and an IPv6 address that is not link-local.
    fn families(&self) -> (bool, bool) {
        let ipv6 = self.addresses().iter().any(
            |(address, _)| matches!(address, IpAddr::V6(ipv6) if !ipv6.is_unicast_link_local()),
        );
        (self.iface.ipv4_addr().is_some(), ipv6)
    }

    /// The DNS socket, made on first use, with the servers of this moment.
    fn dns_socket(&mut self) -> Result<SocketHandle, ResolveError> {
        let servers = self.resolver.servers();
        if servers.is_empty() {
            return Err(ResolveError::NoServer);
        }
        match self.resolver.handle {
            Some(handle) => {
                self.sockets
                    .get_mut::<Socket<'_>>(handle)
                    .update_servers(&servers);
                Ok(handle)
            }
            None => {
                let handle = self.sockets.add(Socket::new(&servers, Vec::new()));
                self.resolver.handle = Some(handle);
                Ok(handle)
            }
        }
    }
}

impl Query<'_> {
    /// The first address found, or `None` where there is none.
    async fn wait(mut self) -> Option<IpAddr> {
        poll_fn(|cx| {
            let Some(query) = self.handle else {
                return Poll::Ready(None);
            };
            let result = self.shared.with(|stack| {
                let socket = stack
                    .resolver
                    .handle
                    .map(|handle| stack.sockets.get_mut::<Socket<'_>>(handle))?;
                match socket.get_query_result(query) {
                    Ok(addresses) => Some(addresses.first().copied()),
                    Err(GetQueryResultError::Failed) => Some(None),
                    Err(GetQueryResultError::Pending) => {
                        socket.register_query_waker(query, cx.waker());
                        None
                    }
                }
            });
            match result {
                None => Poll::Pending,
                Some(address) => {
                    // smoltcp has freed the slot: nothing is left to cancel.
                    self.handle = None;
                    self.shared.with(|stack| stack.resolver.queries -= 1);
                    Poll::Ready(address.map(IpAddr::from))
                }
            }
        })
        .await
    }
}

impl Drop for Query<'_> {
    fn drop(&mut self) {
        if let Some(query) = self.handle.take() {
            self.shared.with(|stack| {
                stack.resolver.queries -= 1;
                if let Some(handle) = stack.resolver.handle {
                    stack
                        .sockets
                        .get_mut::<Socket<'_>>(handle)
                        .cancel_query(query);
                }
            });
        }
    }
}
