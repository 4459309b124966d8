//! How soon a guest knows that another has come or gone, by the times on their consoles: all
//! guests of a host read the same clock (until one is suspended).

use std::time::Duration;

use anyhow::{Context, Result};

use super::pair;
use super::{Arm, Params};
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::lab::Lab;
use crate::scenario::figures::Figures;

/// How long any of it may take at most.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn measure(lab: &Lab, params: &Params, figures: &mut Figures) -> Result<()> {
    if !params.arms.contains(&Arm::Channel) {
        return Ok(());
    }
    let (mut joins, mut leaves) = (vec![], vec![]);
    for _ in 0..params.repeats.max(1) {
        let mut a = pair::boot(lab, 2, Arm::Channel)?;
        let b = pair::boot(lab, 3, Arm::Channel)?;
        a.order(&format!("connect {} 1", b.guest.port(7)))?;
        let up = |ip| format!("vmc: {ip} is on this host");
        let at_a = at(&a.domain, &up(b.guest.ip()))?;
        let at_b = at(&b.domain, &up(a.guest.ip()))?;
        joins.push((at_a - at_b).abs());
        b.domain.shutdown()?;
        let asked = at(&b.domain, "shutdown: ")?;
        let seen = at(&a.domain, &format!("vmc: no channel to {}", b.guest.ip()))?;
        leaves.push(seen - asked);
    }
    figures.spread(lab, "membership_join_ms", &joins);
    // From the request to shut down, as the guest hears it, to its peer's knowledge.
    figures.spread(lab, "membership_ms", &leaves);
    Ok(())
}

/// When `domain` printed `text`, in milliseconds of its clock.
fn at(domain: &Domain, text: &str) -> Result<f64> {
    let line = domain.console().wait_for(text, Deadline::after(LIMIT))?;
    time_of(&line).with_context(|| format!("no time in {line:?}"))
}

/// The time in front of a console line, `[ seconds.microseconds]`, in milliseconds.
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
