//! The fake network between addresses, which loses, delays and duplicates
//! datagrams.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the network does to datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Percentage lost.
    pub loss: u32,
    /// Percentage duplicated.
    pub doubled: u32,
    /// Shortest delay, in nanoseconds.
    pub delay: u64,
    /// Most that is added to the delay, in nanoseconds; more than the gap
    /// between two datagrams reorders them.
    pub jitter: u64,
}

impl Weather {
    /// Loses and duplicates nothing; delays by 100 to 110 us.
    pub const FAIR: Self = Self {
        loss: 0,
        doubled: 0,
        delay: 100_000,
        jitter: 10_000,
    };

    /// Loses everything.
    pub const DOWN: Self = Self {
        loss: 100,
        ..Self::FAIR
    };
}

/// A datagram, sent or received.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// Address of the sender, as the packet claims.
    pub from: IpAddr,
    /// Address of the receiver.
    pub to: IpAddr,
    /// The guest that sent it; `None` if that was somebody else.
    pub origin: Option<usize>,
    /// Payload.
    pub bytes: Vec<u8>,
}

/// All datagrams in flight.
#[derive(Debug)]
pub struct Network {
    /// What it does to them.
    pub weather: Weather,
    random: fastrand::Rng,
    /// By time of arrival, then by a random number.
    under_way: BTreeMap<(u64, u64), Datagram>,
    /// Datagrams sent so far.
    pub sent: u64,
}

impl Network {
    /// Returns a network without traffic.
    #[must_use]
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            random: fastrand::Rng::with_seed(seed),
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Sends a datagram at `now`.
    pub fn send(&mut self, now: u64, datagram: &Datagram) {
        self.sent += 1;
        if self.random.u32(..100) < self.weather.loss {
            return;
        }
        self.deliver(now, datagram);
        if self.random.u32(..100) < self.weather.doubled {
            self.deliver(now, datagram);
        }
    }

    fn deliver(&mut self, now: u64, datagram: &Datagram) {
        let at = now + self.weather.delay + self.random.u64(..=self.weather.jitter);
        let number = self.random.u64(..);
        self.under_way.insert((at, number), datagram.clone());
    }

    /// Takes the next datagram that has arrived by `now`.
    pub fn receive(&mut self, now: u64) -> Option<Datagram> {
        let entry = self.under_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// Returns when the next datagram arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<u64> {
        self.under_way.first_key_value().map(|(key, _)| key.0)
    }
}
