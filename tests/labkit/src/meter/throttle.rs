//! A token bucket over a clock that the caller reads.

use std::time::Duration;

/// The most bytes that are passed on at once.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// The burst that may go out after a pause, as a time at the full rate.
const BURST: Duration = Duration::from_millis(20);

/// A token bucket.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_s: f64,
    /// Bytes that may still go out; negative if more went out than there were.
    tokens: f64,
    /// The time of the last call.
    at: Duration,
}

impl Throttle {
    /// A bucket that fills at `mbit` times 10^6 bits a second, full at time zero.
    pub(super) fn new(mbit: u64) -> Self {
        let bytes_per_s = mbit as f64 * 1e6 / 8.0;
        Self {
            bytes_per_s,
            tokens: bytes_per_s * BURST.as_secs_f64(),
            at: Duration::ZERO,
        }
    }

    /// Returns the largest piece that keeps the stream even: a burst, but at least a page.
    pub(super) fn piece_bytes(&self) -> usize {
        let burst = self.bytes_per_s * BURST.as_secs_f64();
        (burst as usize).clamp(4096, PIECE_BYTES)
    }

    /// Takes `bytes` out at time `now` and returns how long to wait before they may go out.
    pub(super) fn wait_for(&mut self, bytes: usize, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let full = self.bytes_per_s * BURST.as_secs_f64();
        self.tokens = (self.tokens + passed * self.bytes_per_s).min(full) - bytes as f64;
        Duration::from_secs_f64((-self.tokens).max(0.0) / self.bytes_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::Throttle;
    use std::time::Duration;

    /// Sends `pieces` pieces, waiting as told, with `pause` of its own after each.
    fn time_for(mbit: u64, pieces: usize, bytes: usize, pause: Duration) -> f64 {
        let mut throttle = Throttle::new(mbit);
        let mut now = Duration::ZERO;
        for _ in 0..pieces {
            now += throttle.wait_for(bytes, now) + pause;
        }
        now.as_secs_f64()
    }

    #[test]
    fn a_steady_stream_keeps_the_rate() {
        // 10 MB at 80 Mbit/s take a second, less what the full bucket lets out at once.
        let seconds = time_for(80, 1000, 10_000, Duration::ZERO);
        assert!((0.97..=1.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_slow_source_is_not_held_up() {
        let seconds = time_for(80, 100, 1000, Duration::from_millis(10));
        assert!((1.0..1.001).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_pause_does_not_pay_for_a_flood() {
        let mut throttle = Throttle::new(8);
        assert_eq!(throttle.wait_for(20_000, Duration::ZERO), Duration::ZERO);
        let hour = Duration::from_secs(3600);
        // After an hour of nothing the bucket holds one burst of 20 ms, not more.
        assert_eq!(throttle.wait_for(20_000, hour), Duration::ZERO);
        let wait = throttle.wait_for(20_000, hour).as_secs_f64();
        assert!((wait - 0.02).abs() < 1e-9, "{wait}");
    }

    #[test]
    fn pieces_are_small_at_low_rates() {
        assert_eq!(Throttle::new(1).piece_bytes(), 4096);
        assert_eq!(Throttle::new(10_000).piece_bytes(), super::PIECE_BYTES);
    }
}
