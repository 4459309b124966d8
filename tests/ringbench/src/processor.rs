//! The processors of the two sides. Reader and writer are each pinned to their
//! own, so that runs do not differ by where the scheduler happened to put them.
//! And whether a side had its processor to itself: on a busy machine it waits
//! for its turn.

use std::io;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Returns the first and the last processor that this thread may use.
pub(crate) fn two() -> io::Result<(usize, usize)> {
    let allowed = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor));
    let first = processors.next().unwrap_or(0);
    Ok((first, processors.next_back().unwrap_or(first)))
}

/// Pins the calling thread, and everything that it starts from now on, to one
/// processor.
pub(crate) fn keep_to(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// Returns the nanoseconds that all threads of a process (`self` is this one)
/// have waited for a processor while they could have run: the second number of
/// `schedstat` (Linux, `Documentation/scheduler/sched-stats.rst`). Returns
/// `None` if the kernel does not count it.
pub(crate) fn waited_ns(process: &str) -> Option<u64> {
    let threads = Path::new("/proc").join(process).join("task");
    let mut all = 0;
    for thread in threads.read_dir().ok()? {
        // A thread that has just ended has no file any more.
        let Ok(text) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        all += text.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    }
    Some(all)
}

/// Returns the ticks since boot that the hypervisor gave to others while one of
/// these processors wanted to run (`/proc/stat`, "steal").
pub(crate) fn stolen_ticks(processors: [usize; 2]) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let names = processors.map(|processor| format!("cpu{processor}"));
    let lines = text.lines().map(str::split_whitespace);
    let stolen = lines.filter_map(|mut fields| {
        let name = fields.next()?;
        let is_ours = names.iter().any(|ours| ours == name);
        // user, nice, system, idle, iowait, irq, softirq, steal
        is_ours.then(|| fields.nth(7)?.parse::<u64>().ok())?
    });
    Some(stolen.sum())
}

/// Waits until the word differs from `old`, and returns it.
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

/// Measures the fewest nanoseconds that a word takes from the calling thread to
/// another processor and back. This tells how far apart the two are (whether
/// they share a cache), and so what any copy between them can reach.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With two threads on one processor, one of them waits.
    #[test]
    fn threads_that_share_a_processor_wait() {
        let Some(before) = waited_ns("self") else {
            return;
        };
        let (first, _) = two().expect("an affinity");
        let spin = move || {
            keep_to(first).expect("the first processor");
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
            waited_ns("self").expect("counted before")
        };
        let others: Vec<_> = (0..2).map(|_| std::thread::spawn(spin)).collect();
        let after = others
            .into_iter()
            .map(|other| other.join().expect("no panic"))
            .max();
        assert!(after > Some(before + 10_000_000), "{before} {after:?}");
    }
}
