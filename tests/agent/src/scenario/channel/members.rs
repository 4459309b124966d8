//! How soon a guest knows that another has come or gone, by the times on their consoles: all guests
//! of a host read the same clock, until one is suspended.

use std::time::Duration;

use anyhow::{Context, Result};
use labkit::lines;
use labkit::{Deadline, Domain, Figures, Lab, Mode};

use super::Parameters;
use super::pair;

/// The limit of each wait.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn measure(lab: &Lab, params: &Parameters, figures: &mut Figures) -> Result<()> {
    if !params.arms.contains(&Mode::Original) {
        return Ok(());
    }
    let (mut joins, mut leaves) = (vec![], vec![]);
    for _ in 0..params.repeats {
        let mut a = pair::boot(lab, 2, Mode::Original)?;
        let b = pair::boot(lab, 3, Mode::Original)?;
        a.order(&format!("connect {} 1", b.guest.port(7)))?;
        let at_a = at(&a.domain, &lines::link_up(b.guest.ip().into()))?;
        let at_b = at(&b.domain, &lines::link_up(a.guest.ip().into()))?;
        joins.push((at_a - at_b).abs());
        b.domain.shutdown()?;
        let asked = at(&b.domain, &lines::SHUTDOWN)?;
        let seen = at(&a.domain, &lines::link_down(b.guest.ip().into()))?;
        leaves.push(seen - asked);
    }
    figures.spread(lab, "membership_join_ms", &joins);
    // From the time when the guest hears the request to shut down to its peer's knowledge.
    figures.spread(lab, "membership_ms", &leaves);
    Ok(())
}

/// Waits for `text` on the console of `domain`; returns when it was printed, in milliseconds of the
/// guest's clock.
fn at(domain: &Domain, text: &str) -> Result<f64> {
    let line = domain.console().wait_for(text, Deadline::after(LIMIT))?;
    time_of(&line).with_context(|| format!("no time in {line:?}"))
}

/// Parses the time in front of a console line, `[ seconds.microseconds]`, in milliseconds.
fn time_of(line: &str) -> Option<f64> {
    let (time, _) = line.split_once('[')?.1.split_once(']')?;
    Some(time.trim().parse::<f64>().ok()? * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::time_of;

    #[test]
    fn console_lines_have_times() {
        let line = "[   74.485752] vmc: no channel to 10.0.0.3 any more: the peer shuts down";
        let time = time_of(line).expect("there is one");
        assert!((time - 74_485.752).abs() < 0.001, "{time}");
        assert_eq!(time_of("vmc: no channel"), None);
    }
}
