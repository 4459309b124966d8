//! The guest's clock and its timers.
//!
//! [`now`] counts nanoseconds and never goes back. It follows Xen's system time
//! (`struct vcpu_time_info` in `xen/include/public/xen.h`) at an offset: while
//! the guest is suspended its clock stands still, regardless of the uptime of
//! the host on which it resumes.

use crate::shared_info::{self, shared_info};
use crate::vcpu_cell::VcpuCell;
use alloc::collections::BTreeMap;
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::fmt;
use core::future::Future;
use core::ops::Add;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use xen_sys::abi;

/// A point on the guest's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Returns the point `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is
    /// later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Returns the point `duration` later, at most the end of the clock (584
    /// years).
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// The latest reading, so that no reading is earlier than one before.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// The offset added to Xen's system time, modulo 2^64.
static OFFSET: AtomicU64 = AtomicU64::new(0);

/// Lets the clock continue from its latest reading, after a suspend.
pub(crate) fn resume() {
    let latest = LATEST.load(Ordering::Relaxed);
    OFFSET.store(latest.wrapping_sub(system_time()), Ordering::Relaxed);
}

/// Returns Xen's system time in nanoseconds, which starts when the host boots.
fn system_time() -> u64 {
    let time = shared_info().time();
    // SAFETY: both instructions are part of x86-64; the fence keeps the counter
    // from being read before the record that it refers to.
    let counter = unsafe {
        _mm_lfence();
        _rdtsc()
    };
    // The time stamp of a young domain lies before the start of its counter,
    // just below zero (`xen/arch/x86/time.c:gtime_to_gtsc`), so the difference
    // is taken modulo 2^64. If the stamp is ahead of the counter, the
    // difference counts as zero.
    let ticks = counter.wrapping_sub(time.tsc_timestamp).cast_signed();
    time.system_time
        .wrapping_add(scale(&time, ticks.max(0).cast_unsigned()))
}

/// Converts `ticks` of the time-stamp counter to nanoseconds.
fn scale(time: &abi::vcpu_time_info, ticks: u64) -> u64 {
    let ticks = if time.tsc_shift >= 0 {
        ticks << time.tsc_shift
    } else {
        ticks >> -time.tsc_shift
    };
    ((u128::from(ticks) * u128::from(time.tsc_to_system_mul)) >> 32) as u64
}

/// Returns the current time, or `None` while Xen's record is not mapped: at the
/// very beginning, and around a suspend.
pub(crate) fn if_running() -> Option<Instant> {
    shared_info::is_mapped().then(now)
}

/// Returns the current time.
#[must_use]
pub fn now() -> Instant {
    let time = system_time()
        .wrapping_add(OFFSET.load(Ordering::Relaxed))
        .max(LATEST.load(Ordering::Relaxed));
    LATEST.store(time, Ordering::Relaxed);
    Instant(time)
}

/// Wall-clock nanoseconds that passed in suspends, while the guest's clock stood still.
static AWAY: AtomicU64 = AtomicU64::new(0);

/// Adds the time that passed between a suspend and its return.
pub(crate) fn add_away(time: Duration) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let sum = AWAY.load(Ordering::Relaxed).saturating_add(nanos);
    AWAY.store(sum, Ordering::Relaxed);
}

/// Returns how much wall-clock time has passed in suspends since boot, cancelled ones included. The
/// guest's clock does not count it; what is bound to the time of others has to: leases, caches. A
/// host whose wall clock is behind that of the former host hides time.
#[must_use]
pub fn away() -> Duration {
    Duration::from_nanos(AWAY.load(Ordering::Relaxed))
}

/// Returns the time since the Unix epoch, as the host knows it.
#[must_use]
pub fn unix_time() -> Duration {
    let (seconds, nanos) = shared_info().wall_clock_base();
    Duration::new(seconds, nanos) + Duration::from_nanos(system_time())
}

/// Returns the latest reading of the clock, at most a few turns of the run loop
/// old.
///
/// A new reading can cost a trap into Xen, which emulates the counter if the
/// host's is not safe to use (`xen/arch/x86/time.c`, `vtsc`); this costs
/// nothing.
#[must_use]
pub fn turn() -> Instant {
    Instant(LATEST.load(Ordering::Relaxed))
}

struct Timers {
    /// Wakers by deadline, and by number among those with the same deadline.
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

static TIMERS: VcpuCell<Timers> = VcpuCell::new(Timers {
    wakers: BTreeMap::new(),
    next: 0,
});

/// A timer: waits until its deadline has passed. Dropping it cancels the timer.
#[derive(Debug)]
#[must_use = "a timer does nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if turn() >= self.deadline {
            return Poll::Ready(());
        }
        let mut timers = TIMERS.borrow();
        let number = *self.number.get_or_insert_with(|| {
            timers.next += 1;
            timers.next
        });
        let former = timers
            .wakers
            .insert((self.deadline, number), context.waker().clone());
        drop(timers);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = TIMERS.borrow().wakers.remove(&(self.deadline, number));
            drop(waker);
        }
    }
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        number: None,
    }
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// The deadline passed before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl core::error::Error for TimedOut {}

/// Waits for `future`, for at most `limit`; if it takes longer, it is dropped.
///
/// # Errors
/// [`TimedOut`].
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep(limit));
    core::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(context).map(|()| Err(TimedOut))
    })
    .await
}

/// Reads the clock and wakes the tasks whose deadlines have passed; returns the
/// reading.
pub(crate) fn dispatch() -> Instant {
    let now = now();
    loop {
        let waker = {
            let mut timers = TIMERS.borrow();
            match timers.wakers.first_entry() {
                Some(first) if first.key().0 <= now => first.remove(),
                _ => return now,
            }
        };
        waker.wake();
    }
}

/// Returns the next deadline, in nanoseconds of Xen's system time.
pub(crate) fn next_deadline() -> Option<u64> {
    let timers = TIMERS.borrow();
    let ((deadline, _), _) = timers.wakers.first_key_value()?;
    let offset = OFFSET.load(Ordering::Relaxed).cast_signed();
    // Timers due before the host's start are due now.
    let system = i128::from(deadline.0) - i128::from(offset);
    Some(system.clamp(1, i128::from(i64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(mul: u32, shift: i8) -> abi::vcpu_time_info {
        abi::vcpu_time_info {
            version: 2,
            pad0: 0,
            tsc_timestamp: 0,
            system_time: 0,
            tsc_to_system_mul: mul,
            tsc_shift: shift,
            flags: 0,
            pad1: [0; 2],
        }
    }

    #[test]
    fn a_gigahertz_counter_is_nanoseconds() {
        assert_eq!(scale(&record(1 << 31, 1), 123_456_789), 123_456_789);
    }

    #[test]
    fn a_fast_counter_is_scaled_down_without_overflow() {
        // 4 GHz: a quarter of a nanosecond per tick, over about 36 years.
        assert_eq!(scale(&record(1 << 31, -1), 1 << 62), 1 << 60);
    }
}
