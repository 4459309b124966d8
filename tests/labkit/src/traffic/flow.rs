//! Samples how fast a bench guest receives bytes, through its control port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};

use super::bench::Control;
use crate::deadline::Deadline;

/// The pause between two samples.
const INTERVAL: Duration = Duration::from_millis(50);

/// The limit of an answer in seconds: the guest may be away for some, and a packet lost with it.
const ANSWER: u64 = 120;

/// A sampler of one guest, until it is stopped.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Sample>>>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was taken, in milliseconds since 1970 by dom0's clock.
    pub unix_ms: f64,
    /// The same by the guest's clock, in nanoseconds.
    pub ns: u64,
    /// Bytes that the guest had compared by then.
    pub bytes: u64,
    /// The longest time without a byte since the sample before.
    pub gap_ns: u64,
}

/// Returns the time in milliseconds since 1970.
pub fn unix_ms() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() * 1000.0
}

impl Sampler {
    /// Starts to sample the bench guest whose control port is `server`.
    pub fn start(server: SocketAddr) -> Result<Self> {
        let mut control = Control::connect(server)?;
        // The first sample resets the gap.
        sample(&mut control)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                samples.push(sample(&mut control)?);
                sleep(INTERVAL);
            }
            samples.push(sample(&mut control)?);
            Ok(samples)
        });
        Ok(Self { stop, thread })
    }

    /// Takes a last sample and ends.
    pub fn stop(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Release);
        let samples = self.thread.join();
        samples.map_err(|_| anyhow!("the sampler panicked"))?
    }
}

fn sample(control: &mut Control) -> Result<Sample> {
    let asked = unix_ms();
    let answer = control.order("flow", Deadline::seconds(ANSWER))?;
    Ok(Sample {
        unix_ms: f64::midpoint(asked, unix_ms()),
        ns: answer.number("ns")?,
        bytes: answer.number("bytes")?,
        gap_ns: answer.number("gap_ns")?,
    })
}

/// Returns the rate in Mbit/s, by the guest's clock, between the first and the last of the samples
/// from `begin` to `end`, which are in milliseconds since 1970.
///
/// # Errors
/// There are fewer than two samples in that time.
pub fn rate(samples: &[Sample], begin: f64, end: f64) -> Result<f64> {
    let mut inside = samples
        .iter()
        .filter(|sample| (begin..=end).contains(&sample.unix_ms));
    let first = inside.next();
    let (first, last) = first.zip(inside.next_back()).with_context(|| {
        let ms = end - begin;
        format!("fewer than two samples within {ms:.0} ms")
    })?;
    let ns = last.ns.saturating_sub(first.ns).max(1);
    Ok((last.bytes - first.bytes) as f64 * 8000.0 / ns as f64)
}

/// Returns the longest time without a byte.
pub fn longest_gap(samples: &[Sample]) -> Option<Gap> {
    let longest = samples.iter().max_by_key(|sample| sample.gap_ns);
    longest.map(Gap::of)
}

/// Returns the first time without a byte of at least `least_ms` whose end was seen after `begin`.
pub fn gap_after(samples: &[Sample], begin: f64, least_ms: f64) -> Option<Gap> {
    let mut later = samples.iter().filter(|sample| sample.unix_ms >= begin);
    later
        .find(|sample| sample.gap_ns as f64 >= least_ms * 1e6)
        .map(Gap::of)
}

/// A time without a byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// Its length.
    pub ms: f64,
    /// When its end was seen, in milliseconds since 1970.
    pub seen: f64,
}

impl Gap {
    fn of(sample: &Sample) -> Self {
        Self {
            ms: sample.gap_ns as f64 / 1e6,
            seen: sample.unix_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Gap, Sample, gap_after, longest_gap, rate};

    #[test]
    fn rates_are_by_the_guests_clock() {
        let samples: Vec<_> = (0..10_u32)
            .map(|n| Sample {
                unix_ms: f64::from(n) * 100.0,
                ns: u64::from(n) * 50_000_000,
                bytes: u64::from(n) * 1_000_000,
                gap_ns: u64::from(n) * 1_000_000,
            })
            .collect();
        let rate_of = |begin, end| rate(&samples, begin, end).ok();
        // A megabyte in 50 ms.
        assert_eq!(rate_of(150.0, 520.0), Some(160.0));
        assert_eq!(rate_of(150.0, 250.0), None);
        let gap = |ms: f64| {
            Some(Gap {
                ms,
                seen: ms * 100.0,
            })
        };
        assert_eq!(longest_gap(&samples), gap(9.0));
        assert_eq!(gap_after(&samples, 150.0, 3.0), gap(3.0));
        assert_eq!(gap_after(&samples, 450.0, 3.0), gap(5.0));
        assert_eq!(gap_after(&samples, 450.0, 30.0), None);
    }
}
