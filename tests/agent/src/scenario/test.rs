//! `test`: every case, or a share of them, one after the other in one boot of Xen.

use std::time::Instant;

use agent::protocol::{Job, Outcome};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cases;
use crate::domain::{can_migrate_live, xen_version};
use crate::report::Report;
use crate::stats::rounded;
use crate::supervisor::supervise;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// Which cases there are to run.
    cases: Cases,
    /// The cases to run of these; empty for all.
    only: Vec<String>,
    /// Which share of these, as (number from 1 on, of how many); other machines take the others.
    share: Option<(usize, usize)>,
    /// The channel's mode in the cases that can do with several; they read it themselves.
    #[serde(rename = "mode")]
    _mode: Option<String>,
    /// The seed of everything random; the cases read it themselves.
    #[serde(rename = "seed")]
    _seed: Option<u64>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Cases {
    /// Every one.
    #[default]
    All,
    /// What is run on each release of Xen.
    Release,
}

pub(super) fn carry_out(report: &Report, job_path: &str, job: &Job) -> Result<()> {
    let params: Params =
        serde_json::from_value(Value::Object(job.params.clone())).context("parameters of test")?;
    if let Some(name) = params.only.iter().find(|name| cases::named(name).is_none()) {
        bail!("no case is called {name:?}");
    }
    let (number, of) = params.share.unwrap_or((1, 1));
    ensure!(
        (1..=of).contains(&number),
        "share {number} of {of} is none: the first is 1"
    );
    let live = can_migrate_live()?;
    let start = Instant::now();
    let mut took = Map::new();
    let (mut passed, mut failed, mut skipped) = (0_u64, 0_u64, 0_u64);
    let wanted = cases::all().filter(|case| {
        (params.only.is_empty() || params.only.iter().any(|name| name == case.name))
            && (params.cases == Cases::All || cases::RELEASE.contains(&case.name))
    });
    for case in wanted.skip(number - 1).step_by(of) {
        if case.live && !live {
            let why = "this Xen cannot migrate PV guests live";
            report.case(case.name, Outcome::Skipped, why);
            skipped += 1;
            continue;
        }
        report.phase(case.name);
        let began = Instant::now();
        match supervise(report, job_path, case.name, case.limit)? {
            Outcome::Passed => passed += 1,
            Outcome::Failed => failed += 1,
            Outcome::Skipped => skipped += 1,
        }
        let seconds = rounded(began.elapsed().as_secs_f64());
        took.insert(case.name.to_owned(), json!(seconds));
    }
    let result = json!({
        "passed": passed,
        "failed": failed,
        "skipped": skipped,
        "cases_s": rounded(start.elapsed().as_secs_f64()),
        "case_s": took,
        "xen_version": xen_version()?,
    });
    if let Value::Object(result) = result {
        report.result(result);
    }
    Ok(())
}
