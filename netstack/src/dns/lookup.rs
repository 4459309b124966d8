//! The address of a name, as a future.

use core::future::poll_fn;
use core::net::IpAddr;
use core::task::Poll;

use smoltcp::wire::DnsQueryType;
use vmc::Platform;

use super::resolver::Query;
use crate::error::ResolveError;
use crate::stack::{Shared, Stack};

/// A query that is cancelled when it is dropped before its end.
struct Lookup<'a, P: Platform> {
    shared: &'a Shared<P>,
    /// `None` once it has completed.
    query: Option<Query>,
}

impl<P: Platform> Shared<P> {
    /// Returns the address of `name`: the name itself if it is written as an address, else the
    /// first of its A records, else the first of its AAAA records. Only families of which the
    /// interface has an address are asked for. smoltcp gives each server 10 s, so the whole takes
    /// at most 30.
    pub(crate) async fn resolve(&self, name: &str) -> Result<IpAddr, ResolveError> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        let (ipv4, ipv6) = self.with(|stack| stack.families());
        let first = ipv4
            .then(|| self.look_up(name, DnsQueryType::A))
            .transpose()?;
        let second = ipv6
            .then(|| self.look_up(name, DnsQueryType::Aaaa))
            .transpose()?;
        for lookup in [first, second].into_iter().flatten() {
            if let Some(address) = lookup.wait().await {
                return Ok(address);
            }
        }
        Err(ResolveError::NotFound)
    }

    fn look_up(&self, name: &str, kind: DnsQueryType) -> Result<Lookup<'_, P>, ResolveError> {
        self.with(|stack| {
            let query = stack
                .resolver
                .start(&mut stack.iface, &mut stack.sockets, name, kind)?;
            stack.kick();
            Ok(Lookup {
                shared: self,
                query: Some(query),
            })
        })
    }
}

impl<P: Platform> Stack<P> {
    /// Whether the interface has an IPv4 address, and whether it has an IPv6 address that is not
    /// link-local.
    fn families(&self) -> (bool, bool) {
        let ipv6 = self.addresses().iter().any(
            |(address, _)| matches!(address, IpAddr::V6(ipv6) if !ipv6.is_unicast_link_local()),
        );
        (self.iface.ipv4_addr().is_some(), ipv6)
    }
}

impl<P: Platform> Lookup<'_, P> {
    /// Returns the first address found, or `None` if there is none.
    async fn wait(mut self) -> Option<IpAddr> {
        poll_fn(|cx| {
            let Some(query) = self.query else {
                return Poll::Ready(None);
            };
            let polled = self
                .shared
                .with(|stack| stack.resolver.poll(&mut stack.sockets, query, cx));
            if polled.is_ready() {
                // smoltcp has freed the slot: nothing is left to cancel.
                self.query = None;
            }
            polled
        })
        .await
    }
}

impl<P: Platform> Drop for Lookup<'_, P> {
    fn drop(&mut self) {
        if let Some(query) = self.query.take() {
            self.shared
                .with(|stack| stack.resolver.cancel(&mut stack.sockets, query));
        }
    }
}
