//! The guests: each pair of them is linked, and has a stream of which every byte is compared.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use labkit::bench::{Bench, end, flows};
use labkit::hosts::RemoteHost;
use labkit::survival::nothing_bad;
use labkit::traffic::bench::Answer;
use labkit::{Deadline, Lab};

use super::{MIGRATION_LIMIT, Parameters};

/// The first guest's number.
const FIRST: u8 = 10;

/// How soon all connections must be on rings again after all guests have arrived.
const SHARED: Duration = Duration::from_secs(240);

/// Where the guests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    There,
    Back,
}

/// The guests and their streams.
pub(super) struct Fleet {
    pub(super) guests: Vec<Bench>,
    streams: Vec<Stream>,
}

/// A stream between two guests, by their places.
struct Stream {
    from: usize,
    to: usize,
    order: JoinHandle<Result<Answer>>,
}

/// What came of the streams.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    pub(super) streams: usize,
    pub(super) bytes: u64,
    /// The longest time without a byte on any of them.
    pub(super) gap_ms: u64,
    /// Those that were reset, or lost or changed a byte, and how.
    pub(super) broken: Vec<String>,
}

impl Fleet {
    /// Boots the guests, connects each with each, and waits until all streams use rings.
    pub(super) fn start(lab: &Lab, parameters: &Parameters) -> Result<Self> {
        let options = format!(
            "{} vmc_wait={}",
            parameters.mode.option(),
            parameters.wait_s
        );
        let numbers = (FIRST..).take(parameters.guests);
        let guests =
            numbers.map(|number| Bench::boot(lab, number, parameters.memory_mib, &options));
        let mut fleet = Self {
            guests: guests.collect::<Result<_>>()?,
            streams: Vec::new(),
        };
        for (one, other) in pairs(parameters.guests) {
            fleet.acquaint(one, other)?;
        }
        for (one, other) in pairs(parameters.guests) {
            // Every guest has streams of its own and streams of others, unless there are but two.
            let (from, to) = if (one + other) % 2 == 0 {
                (one, other)
            } else {
                (other, one)
            };
            let peer = fleet.guests[to].guest.port(7);
            let order = format!("verify {peer} 1024 1000000000000 20000");
            let order = fleet.guests[from].begin(order);
            fleet.streams.push(Stream { from, to, order });
        }
        let everybody: Vec<_> = (0..parameters.guests).collect();
        fleet.flow(&everybody)?;
        fleet.share(&everybody)?;
        Ok(fleet)
    }

    /// Has one guest open connections to another until both have a link. A guest that answers too
    /// late, as it may on a processor that serves so many, counts as remote for a minute.
    fn acquaint(&mut self, one: usize, other: usize) -> Result<()> {
        let ips = [one, other].map(|place| self.guests[place].guest.ip());
        let what = format!("a link of {} with {}", ips[0], ips[1]);
        let connect = format!("connect {}:7 1", ips[1]);
        Deadline::after(SHARED).poll(Duration::from_secs(5), &what, || {
            self.guests[one].order(&connect)?;
            let is_linked = |place: usize, peer| -> Result<bool> {
                Ok(self.guests[place].status()?.has_link(peer))
            };
            Ok((is_linked(one, ips[1])? && is_linked(other, ips[0])?).then_some(()))
        })
    }

    /// Moves these guests at the same time. Returns how long all of it took.
    pub(super) fn migrate(&self, who: &[usize], remote: &RemoteHost, way: Way) -> Result<Duration> {
        let begun = Instant::now();
        let moved: Vec<Result<()>> = thread::scope(|scope| {
            let moves = who.iter().map(|&place| {
                let domain = &self.guests[place].domain;
                scope.spawn(move || {
                    let moved = match way {
                        Way::There => remote.migrate_there(domain, MIGRATION_LIMIT, None),
                        Way::Back => remote.migrate_back(domain, MIGRATION_LIMIT),
                    };
                    let moved = moved.and_then(|moved| moved.check());
                    moved.with_context(|| format!("{} {way:?}", domain.name))
                })
            });
            // All of them are started before the first one is awaited.
            let moves: Vec<_> = moves.collect();
            let ends = moves.into_iter().map(|moved| {
                let moved = moved.join();
                moved.unwrap_or_else(|_| Err(anyhow!("a migration panicked")))
            });
            ends.collect()
        });
        moved.into_iter().collect::<Result<Vec<()>>>()?;
        Ok(begun.elapsed())
    }

    /// Waits until each of these guests compares more bytes of its streams.
    pub(super) fn flow(&mut self, who: &[usize]) -> Result<()> {
        for &place in who {
            if self.streams.iter().any(|stream| stream.from == place) {
                let bench = &mut self.guests[place];
                flows(&mut bench.control)
                    .with_context(|| format!("the streams of {}", bench.domain.name))?;
            }
        }
        Ok(())
    }

    /// Waits until the streams between these guests, on this host, use rings both ways.
    pub(super) fn share(&self, who: &[usize]) -> Result<()> {
        let deadline = Deadline::after(SHARED);
        for &place in who {
            let bench = &self.guests[place];
            let what = format!("rings of {} with all others", bench.domain.name);
            deadline.poll(Duration::from_millis(500), &what, || {
                let status = bench.status()?;
                let mut peers = who.iter().filter(|peer| **peer != place);
                let all = peers.all(|&peer| {
                    let peer = self.guests[peer].guest.ip();
                    status.on_rings(peer.into()) > 0
                });
                Ok(all.then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits until these guests, wherever they are, send little by netfront of what they compare.
    pub(super) fn stay_off_netfront(&mut self, who: &[usize]) -> Result<()> {
        for &place in who {
            if !self.streams.iter().any(|stream| stream.from == place) {
                continue;
            }
            let bench = &mut self.guests[place];
            let what = format!("bytes of {} beside netfront", bench.domain.name);
            let mut counters = || -> Result<[u64; 2]> {
                let counted = bench.order("counters")?;
                Ok([counted.number("compared")?, counted.number("tx_bytes")?])
            };
            let mut before = counters()?;
            Deadline::after(SHARED).poll(Duration::from_secs(1), &what, || {
                let now = counters()?;
                let [compared, sent] = [now[0] - before[0], now[1] - before[1]];
                if compared < 50_000 {
                    return Ok(None);
                }
                before = now;
                Ok((sent < compared / 4).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits until the streams with one guest have ended; returns how many there were, all of
    /// which must have failed.
    pub(super) fn lose(&mut self, gone: usize, deadline: Deadline) -> Result<usize> {
        let streams = std::mem::take(&mut self.streams);
        let (lost, kept) = streams
            .into_iter()
            .partition(|stream| stream.from == gone || stream.to == gone);
        self.streams = kept;
        let lost: Vec<Stream> = lost;
        let count = lost.len();
        // Nobody answers for those that the guest began itself.
        for stream in lost.into_iter().filter(|stream| stream.to == gone) {
            let what = format!("the end of the stream from guest {}", stream.from);
            deadline.poll(Duration::from_millis(200), &what, || {
                Ok(stream.order.is_finished().then_some(()))
            })?;
            let ended = end(stream.order);
            ensure!(
                ended.is_err(),
                "the stream to a guest that is gone: {ended:?}"
            );
        }
        Ok(count)
    }

    /// Ends the streams and says what came of them.
    pub(super) fn finish(mut self, who: &[usize]) -> Result<Streamed> {
        for &place in who {
            self.guests[place].order("stop")?;
        }
        let mut streamed = Streamed::default();
        for Stream { from, to, order } in self.streams {
            streamed.streams += 1;
            let answer = match end(order) {
                Ok(answer) => answer,
                Err(error) => {
                    streamed.broken.push(format!("{from} to {to}: {error:#}"));
                    continue;
                }
            };
            streamed.bytes += answer.number("bytes")?;
            streamed.gap_ms = streamed.gap_ms.max(answer.number("gap_ns")? / 1_000_000);
        }
        for &place in who {
            let text = self.guests[place].domain.console().text();
            nothing_bad(&text).with_context(|| format!("guest {place}"))?;
        }
        Ok(streamed)
    }
}

/// Every pair of `count` guests.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |one| (one + 1..count).map(move |other| (one, other)))
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn each_meets_each() {
        assert_eq!(pairs(6).count(), 15);
        assert_eq!(pairs(3).collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
    }
}
