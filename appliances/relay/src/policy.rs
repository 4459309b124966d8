//! Whose mail is taken, if the command line does not say.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::net::IpAddr;
use netstack::Network;
use smtp::{Config, Subnet};

/// An address and its prefix length in bits.
type Address = (IpAddr, u8);

/// The settings of the next session.
pub(crate) struct Policy {
    given: Config,
    /// Whether only the guest's own subnets may send, which follow its addresses.
    own_subnets: bool,
    latest: RefCell<(Vec<Address>, Arc<Config>)>,
}

impl Policy {
    /// Makes the policy of `given`; with `own_subnets` the guest's own subnets are allowed too.
    pub(crate) fn new(mut given: Config, own_subnets: bool) -> Rc<Self> {
        if own_subnets {
            given.close();
        }
        let latest = RefCell::new((Vec::new(), Arc::new(given.clone())));
        Rc::new(Self {
            given,
            own_subnets,
            latest,
        })
    }

    /// Returns the settings for a session that begins now.
    pub(crate) fn current(&self, network: &Network) -> Arc<Config> {
        if !self.own_subnets {
            return self.latest.borrow().1.clone();
        }
        let addresses = network.addresses();
        let mut latest = self.latest.borrow_mut();
        if latest.0 != addresses {
            let mut config = self.given.clone();
            for &(address, prefix) in &addresses {
                // An interface has fewer addresses than the list has room for; one too many is
                // not allowed.
                let _ = Subnet::new(address, prefix).map(|subnet| config.allow_from(subnet));
            }
            *latest = (addresses, Arc::new(config));
        }
        latest.1.clone()
    }

    /// Says at boot if the command line names nobody whose mail is taken.
    pub(crate) fn announce(&self, network: &Network) {
        if self.own_subnets {
            log::info!(
                "relay: mail is taken from the guest's own subnets only ({}), since neither \
                 allow-from= nor relay-for= is given",
                Subnets(&network.addresses())
            );
        }
    }
}

struct Subnets<'a>(&'a [Address]);

impl fmt::Display for Subnets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (address, prefix)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{address}/{prefix}")?;
        }
        Ok(())
    }
}
