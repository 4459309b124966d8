//! `idle`: the CPU time that idle guests use in a minute.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::mail::client::Client;
use labkit::parameters::ParameterTable;
use labkit::scenario::{Clock, Work};
use labkit::stats::rounded;
use labkit::{Deadline, Domain, Image, Lab, Scenario};
use serde_json::{Map, json};

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Relay, Image::Echo],
    clock: Clock::Virtual,
    ..Scenario::new(
        "idle",
        "the CPU time of guests that have nothing to do",
        ParameterTable::of::<Parameters>(),
        Work::Once(run),
    )
};

labkit::parameters! {
    /// What `idle` can be told.
    struct Parameters {
        /// How long nothing happens, in seconds of dom0.
        seconds: u64 = 60, in 1..=600;
    }
}

fn run(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    lab.report.phase("boot");
    let relay = lab.relay(2, 16, "");
    let domain = relay.start_ready()?;
    // One short session first: a guest that has never worked shows less.
    Client::ready(relay.port(25), Deadline::seconds(20))?.quit()?;
    let mut guests = vec![("relay", domain)];
    let echo = lab.echo(3, 16, "");
    if echo.has_image() {
        guests.push(("echo", echo.start_ready()?));
    }
    // Until TIME-WAIT, duplicate address detection and the like are over.
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
