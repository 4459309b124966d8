//! The DNS servers, and the queries that are under way.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::task::{Context, Poll};

use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::dns::{GetQueryResultError, QueryHandle, Socket, StartQueryError};
use smoltcp::wire::{DnsQueryType, IpAddress};

use crate::error::ResolveError;
use crate::memory::{OutOfMemory, add_socket};

/// Servers that are asked, one after the other (smoltcp's feature `dns-max-server-count-3`).
const MAX_SERVERS: usize = 3;
/// Queries under way at once; a look-up makes one or two.
const MAX_QUERIES: usize = 16;

/// The DNS servers and the socket that asks them.
#[derive(Default)]
pub(crate) struct Resolver {
    /// Made at the first query.
    handle: Option<SocketHandle>,
    configured: Vec<IpAddr>,
    leased: Vec<IpAddr>,
    queries: usize,
}

/// A query under way, to be polled until it is done or cancelled.
#[derive(Clone, Copy)]
pub(super) struct Query {
    socket: SocketHandle,
    number: QueryHandle,
}

impl Resolver {
    /// Sets the servers that the command line names; they are asked before DHCP's.
    pub(crate) fn set_configured(&mut self, servers: &[IpAddr]) {
        self.configured = servers.to_vec();
    }

    /// Sets the servers of the present DHCP lease.
    pub(crate) fn set_leased(&mut self, servers: &[Ipv4Addr]) {
        self.leased = servers.iter().copied().map(IpAddr::V4).collect();
    }

    /// Asks the present servers for the `kind` records of `name`.
    pub(super) fn start(
        &mut self,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        name: &str,
        kind: DnsQueryType,
    ) -> Result<Query, ResolveError> {
        let handle = self.socket(sockets)?;
        if self.queries == MAX_QUERIES {
            return Err(ResolveError::Busy);
        }
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        let number =
            socket
                .start_query(iface.context(), name, kind)
                .map_err(|error| match error {
                    StartQueryError::NoFreeSlot => ResolveError::Busy,
                    StartQueryError::InvalidName | StartQueryError::NameTooLong => {
                        ResolveError::InvalidName
                    }
                })?;
        self.queries += 1;
        Ok(Query {
            socket: handle,
            number,
        })
    }

    /// Completes with the first address found, or with `None` if there is none. A query that has
    /// completed is gone, and is neither polled nor cancelled again.
    pub(super) fn poll(
        &mut self,
        sockets: &mut SocketSet<'static>,
        query: Query,
        cx: &mut Context<'_>,
    ) -> Poll<Option<IpAddr>> {
        let socket = sockets.get_mut::<Socket<'_>>(query.socket);
        let address = match socket.get_query_result(query.number) {
            Ok(addresses) => addresses.first().copied(),
            Err(GetQueryResultError::Failed) => None,
            Err(GetQueryResultError::Pending) => {
                socket.register_query_waker(query.number, cx.waker());
                return Poll::Pending;
            }
        };
        self.queries -= 1;
        Poll::Ready(address.map(IpAddr::from))
    }

    /// Gives a query up.
    pub(super) fn cancel(&mut self, sockets: &mut SocketSet<'static>, query: Query) {
        self.queries -= 1;
        sockets
            .get_mut::<Socket<'_>>(query.socket)
            .cancel_query(query.number);
    }

    /// Returns the DNS socket, made on first use, with the servers of this moment.
    fn socket(&mut self, sockets: &mut SocketSet<'static>) -> Result<SocketHandle, ResolveError> {
        let servers = self.servers();
        if servers.is_empty() {
            return Err(ResolveError::NoServer);
        }
        match self.handle {
            Some(handle) => {
                sockets
                    .get_mut::<Socket<'_>>(handle)
                    .update_servers(&servers);
                Ok(handle)
            }
            None => {
                let socket = Socket::new(&servers, Vec::new());
                let handle =
                    add_socket(sockets, socket).map_err(|OutOfMemory| ResolveError::Busy)?;
                self.handle = Some(handle);
                Ok(handle)
            }
        }
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
