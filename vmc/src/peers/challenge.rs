//! Nothing is held for an address before it has shown that it receives what is
//! sent to it, and nobody is answered without end (design rule R17). A HELLO is
//! first answered with a cookie, computed and not stored, as DTLS does
//! (RFC 9147, section 5.1).

use core::hash::{Hash, Hasher};
use core::net::IpAddr;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::limits::{ANSWERS, ANSWERS_TO_ONE, CHALLENGES, CHALLENGES_TO_ONE, COOKIE_PERIOD, Rate};
use crate::platform::Instant;
use crate::stream::Pair;
use crate::wire::Cookie;
use crate::wire::datagram::Datagram;

/// Sources that are counted apart; others share a place.
const SOURCES: usize = 64;

/// How much of a [`Rate`] is used up: the time at which all of it is there again.
#[derive(Clone, Copy, Default)]
struct Meter(Instant);

impl Meter {
    const fn allows(self, rate: Rate, now: Instant) -> bool {
        self.0.0 <= now.after(rate.burst * rate.interval).0
    }

    fn take(&mut self, rate: Rate, now: Instant) {
        self.0 = self.0.max(now).after(rate.interval);
    }
}

/// A rate for each source, and one for all of them together.
struct Limiter {
    of_all: Rate,
    of_one: Rate,
    all: Meter,
    each: [Meter; SOURCES],
}

impl Limiter {
    const fn new(of_all: Rate, of_one: Rate) -> Self {
        Self {
            of_all,
            of_one,
            all: Meter(Instant(0)),
            each: [Meter(Instant(0)); SOURCES],
        }
    }

    fn take(&mut self, source: usize, now: Instant) -> bool {
        let Some(one) = self.each.get_mut(source) else {
            return false;
        };
        let is_allowed = self.all.allows(self.of_all, now) && one.allows(self.of_one, now);
        if is_allowed {
            self.all.take(self.of_all, now);
            one.take(self.of_one, now);
        }
        is_allowed
    }
}

/// Makes and checks cookies, and limits what is answered.
pub(crate) struct Challenge {
    key: [u8; 16],
    /// Answers to addresses that have shown nothing.
    challenges: Limiter,
    /// Answers to addresses that have said a cookie.
    answers: Limiter,
}

impl Challenge {
    /// `key`: bytes that nobody can predict.
    pub(crate) const fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            challenges: Limiter::new(CHALLENGES, CHALLENGES_TO_ONE),
            answers: Limiter::new(ANSWERS, ANSWERS_TO_ONE),
        }
    }

    /// Returns the cookie that `hello` has to carry now.
    pub(super) fn cookie(&self, pair: Pair, hello: &Datagram, now: Instant) -> Cookie {
        self.cookie_of_period(pair, hello, now.0 / COOKIE_PERIOD)
    }

    /// Whether `hello` carries a cookie that was sent to its address not long ago.
    pub(crate) fn is_answered(
        &self,
        pair: Pair,
        hello: &Datagram,
        cookie: &Cookie,
        now: Instant,
    ) -> bool {
        let period = now.0 / COOKIE_PERIOD;
        let is_of = |period| is_equal(cookie, &self.cookie_of_period(pair, hello, period));
        is_of(period) | is_of(period.wrapping_sub(1))
    }

    fn cookie_of_period(&self, pair: Pair, hello: &Datagram, period: u64) -> Cookie {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        period.hash(&mut hasher);
        pair.hash(&mut hasher);
        hello.uuid.hash(&mut hasher);
        hello.domid.hash(&mut hasher);
        hello.nonce_a.hash(&mut hasher);
        hasher.finish128().as_bytes()
    }

    /// Whether `source`, which has shown nothing, may be answered.
    pub(crate) fn may_challenge(&mut self, source: IpAddr, now: Instant) -> bool {
        let place = self.place(source);
        self.challenges.take(place, now)
    }

    /// Whether `source`, which has said a cookie, may be answered.
    pub(super) fn may_answer(&mut self, source: IpAddr, now: Instant) -> bool {
        let place = self.place(source);
        self.answers.take(place, now)
    }

    /// A host has as many IPv6 addresses as it likes within a /64: they count as
    /// one source.
    fn place(&self, source: IpAddr) -> usize {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        match source {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()[..8]),
        }
        usize::try_from(hasher.finish() % SOURCES as u64).unwrap_or(0)
    }
}

/// Compares in the same time, whatever differs.
fn is_equal(one: &Cookie, other: &Cookie) -> bool {
    let bytes = one.iter().zip(other);
    bytes.fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::Challenge;
    use crate::limits::{ANSWERS_TO_ONE, COOKIE_PERIOD};
    use crate::platform::{Instant, Uuid};
    use crate::stream::Pair;
    use crate::wire::datagram::{Datagram, Kind, NO_COOKIE};

    const NOW: Instant = Instant(100 * COOKIE_PERIOD);

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    const fn hello() -> Datagram {
        Datagram {
            domid: 3,
            uuid: Uuid([4; 16]),
            nonce_a: [5; 16],
            kind: Kind::Hello { cookie: NO_COOKIE },
        }
    }

    #[test]
    fn a_cookie_counts_for_its_hello_and_its_address_alone_and_not_for_long() {
        let challenge = Challenge::new([1; 16]);
        let pair = Pair {
            local: address(1),
            remote: address(2),
        };
        let cookie = challenge.cookie(pair, &hello(), NOW);
        let is_answered =
            |pair, hello: Datagram, now| challenge.is_answered(pair, &hello, &cookie, now);
        assert!(is_answered(pair, hello(), NOW));
        assert!(is_answered(pair, hello(), NOW.after(COOKIE_PERIOD)));
        assert!(!is_answered(pair, hello(), NOW.after(2 * COOKIE_PERIOD)));
        for other in [
            Pair {
                local: address(3),
                ..pair
            },
            Pair {
                remote: address(3),
                ..pair
            },
        ] {
            assert!(!is_answered(other, hello(), NOW));
        }
        for other in [
            Datagram {
                domid: 4,
                ..hello()
            },
            Datagram {
                uuid: Uuid([0; 16]),
                ..hello()
            },
            Datagram {
                nonce_a: [0; 16],
                ..hello()
            },
        ] {
            assert!(!is_answered(pair, other, NOW));
        }
        assert!(!challenge.is_answered(pair, &hello(), &NO_COOKIE, NOW));
        let stranger = Challenge::new([2; 16]);
        assert!(!stranger.is_answered(pair, &hello(), &cookie, NOW));
    }

    #[test]
    fn one_source_is_answered_at_its_rate_and_others_go_on() {
        let mut challenge = Challenge::new([1; 16]);
        let mut answered = |last, times, now| {
            let answers = (0..times).filter(|_| challenge.may_answer(address(last), now));
            answers.count() as u64
        };
        assert_eq!(answered(2, 1000, NOW), ANSWERS_TO_ONE.burst + 1);
        let later = NOW.after(3 * ANSWERS_TO_ONE.interval);
        assert_eq!(answered(2, 1000, later), 3);
        assert_eq!(answered(3, 1, later), 1);
    }
}
