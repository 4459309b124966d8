//! Which processor a side runs on: reader and writer each keep to their own,
//! so that runs do not differ by where the scheduler happened to put them.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first and the last processor that this thread may use.
pub(crate) fn two() -> io::Result<(usize, usize)> {
    let allowed = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor));
    let first = processors.next().unwrap_or(0);
    Ok((first, processors.next_back().unwrap_or(first)))
}

/// Keeps the calling thread, and what it starts from now on, on one processor.
pub(crate) fn keep_to(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// Waits until the word is another than `old`, and returns what it is.
fn next(word: &AtomicU64, old: u64) -> io::Result<u64> {
    let start = Instant::now();
    for looks in 1_u64.. {
        let value = word.load(Ordering::Acquire);
        if value != old {
            return Ok(value);
        }
        if looks.is_multiple_of(1 << 16) && start.elapsed() > Duration::from_secs(10) {
            break;
        }
        std::hint::spin_loop();
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Nanoseconds that a word takes from the calling thread to another processor
/// and back, at best. It says how far apart the two are (whether they share a
/// cache), and with that what any copy between them can reach.
pub(crate) fn round_trip(other: usize) -> io::Result<f64> {
    const TURNS: u64 = 500;
    const STOP: u64 = u64::MAX;
    let word = AtomicU64::new(0);
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        let answers = scope.spawn(|| {
            let kept = keep_to(other);
            ready.wait();
            kept?;
            let mut last = 0;
            loop {
                match next(&word, last)? {
                    STOP => return io::Result::Ok(()),
                    asked => last = asked + 1,
                }
                word.store(last, Ordering::Release);
            }
        });
        let ask = || {
            let mut best = f64::INFINITY;
            let mut last = 0;
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(100) {
                let start = Instant::now();
                for _ in 0..TURNS {
                    word.store(last + 1, Ordering::Release);
                    last = next(&word, last + 1)?;
                }
                best = best.min(start.elapsed().as_nanos() as f64 / TURNS as f64);
            }
            io::Result::Ok(best)
        };
        ready.wait();
        let best = ask();
        word.store(STOP, Ordering::Release);
        let failed = |_| io::Error::other("the answering thread panicked");
        answers.join().map_err(failed)??;
        best
    })
}
