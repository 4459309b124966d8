//! `idle`: the CPU time that guests with nothing to do use in a minute.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::lab::Lab;
use crate::mail::client::Client;
use crate::stats::rounded;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How long nothing happens, in seconds of dom0.
    seconds: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self { seconds: 60 }
    }
}

pub(super) fn run(lab: &Lab) -> Result<String> {
    let params: Params = lab.params()?;
    lab.report.phase("boot");
    let relay = lab.relay(2, 16, "");
    let domain = relay.start_ready()?;
    // One short session first: an idle guest that has never worked shows less.
    Client::ready(relay.port(25), Deadline::seconds(20))?.quit()?;
    let mut guests = vec![("relay", domain)];
    let echo = lab.echo(3, 16, "");
    if echo.has_image() {
        guests.push(("echo", echo.start_ready()?));
    }
    // TIME-WAIT, duplicate address detection and the like come to an end.
    sleep(Duration::from_secs(15));
    lab.report.phase(format!("idle for {} s", params.seconds));
    let before = used(&guests)?;
    sleep(Duration::from_secs(params.seconds));
    let after = used(&guests)?;

    let mut result = Map::new();
    let mut worst = 0.0_f64;
    for (((name, domain), before), after) in guests.iter().zip(before).zip(after) {
        domain.running()?;
        let seconds = rounded(after - before);
        worst = worst.max(seconds);
        result.insert(format!("{name}_idle_cpu_s"), json!(seconds));
    }
    result.insert("idle_cpu_s".into(), json!(worst));
    result.insert("idle_window_s".into(), json!(params.seconds));
    lab.report.result(result);
    if worst > 0.5 {
        bail!(
            "an idle guest used {worst} s of CPU in {} s",
            params.seconds
        );
    }
    Ok(format!(
        "{worst} s of CPU in {} s, as xl list counts",
        params.seconds
    ))
}

fn used(guests: &[(&str, Domain)]) -> Result<Vec<f64>> {
    let used = guests.iter().map(|(name, domain)| {
        let entry = domain.running().with_context(|| (*name).to_owned())?;
        Ok(entry.cpu_s)
    });
    used.collect()
}
