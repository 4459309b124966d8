//! The suspend: every link ends where it stands, and nobody is awaited (design
//! rule R10).

use crate::cause::Cause;
use crate::link::State;
use crate::platform::Platform;
use crate::suspend::phase::Phase;
use crate::vmc::Vmc;

impl<P: Platform> Vmc<P> {
    /// Ends every link where it stands. Nothing of a peer is mapped afterwards.
    /// What is not settled between the two sides of a connection is settled after
    /// [`Vmc::renew`].
    pub fn freeze(&mut self) {
        self.guest.parted = true;
        self.guest.frozen = true;
        self.peers.stop_asking_all();
        for index in 0..self.links.end() {
            let Some(key) = self.links.key_at(index) else {
                continue;
            };
            match self.links.get(key).map(|link| link.state) {
                None => {}
                Some(State::Proving { .. }) => self.discovery().withdraw(key),
                Some(State::Open | State::Leaving { .. }) => {
                    // Handled now, so that both sides know the same.
                    self.read_last(key);
                    if let Some(link) = self.links.get(key) {
                        let (pair, bytes) = (link.pair, link.counters.sent);
                        self.guest.trace(pair, Phase::Frozen, bytes);
                    }
                    self.close_link(key, Cause::Suspended);
                }
            }
        }
    }
}
