//! `lifecycle`: the whole ladder on one host, in figures, beside those of a Linux domU.
//!
//! [`echo`] saves, restores and migrates an echo guest under traffic; [`relay`] counts what an idle
//! relay costs; [`linux`] migrates the Linux domU with the same probe; [`measure`] is one migration
//! as its client sees it; [`goals`] compares with what was promised.

mod echo;
mod goals;
mod linux;
mod measure;
mod relay;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::figures::{Figures, clock};
use crate::domain::xen_version;
use crate::lab::Lab;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How often the echo guest is migrated.
    count: u32,
    /// How often the idle relay is.
    relay_count: u32,
    /// How often the Linux domU is.
    linux_count: u32,
    /// The seed of the traffic; the parts read it themselves.
    #[serde(rename = "seed")]
    _seed: Option<u64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            count: 20,
            relay_count: 3,
            linux_count: 5,
            _seed: None,
        }
    }
}

pub(super) fn run(lab: &Lab) -> Result<String> {
    let params: Params = lab.params()?;
    let mut figures = Figures::default();
    figures.value(lab, "xen", json!(xen_version()?));
    figures.value(lab, "time", json!(clock(lab)));
    let mut faults = Vec::new();
    let mut note = |part: &str, result: Result<()>| {
        // One part that fails does not cost the figures of the others.
        if let Err(error) = result {
            lab.report.log(format!("{part}: {error:#}"));
            faults.push(format!("{part}: {error:#}"));
        }
    };
    note("echo", echo::ladder(lab, params.count, &mut figures));
    if params.relay_count > 0 {
        note("relay", relay::idle(lab, params.relay_count, &mut figures));
    }
    if params.linux_count > 0 {
        note(
            "linux",
            linux::compare(lab, params.linux_count, &mut figures),
        );
    }
    goals::log(lab, &figures);
    lab.report.result(figures.into_map());
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(format!("{} migrations, {}", params.count, clock(lab)))
}
