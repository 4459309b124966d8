//! The frame of a scenario with a second host.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::remote::RemoteHost;
use crate::case::Case;
use crate::deadline::Deadline;
use crate::domain::xen_version;
use crate::protocol::Outcome;
use crate::supervisor::Supervisor;

/// How many seconds longer than the first host the second one may take to boot.
const SECOND_HOST: u64 = 240;

/// Waits for the second host, runs `cases`, each of which finds it without domains, and powers it
/// off, however they ended. The result gets `figures` and the versions of Xen on both hosts.
///
/// # Errors
/// The second host does not come up or answer, or `figures` fails. A case that fails is none.
pub fn conduct(
    supervisor: &Supervisor<'_>,
    cases: impl IntoIterator<Item = Case>,
    figures: impl FnOnce() -> Result<Map<String, Value>>,
) -> Result<()> {
    let remote = RemoteHost::find(Deadline::seconds(SECOND_HOST))?;
    let ran = run(supervisor, &remote, cases, figures);
    remote.power_off()?;
    ran
}

fn run(
    supervisor: &Supervisor<'_>,
    remote: &RemoteHost,
    cases: impl IntoIterator<Item = Case>,
    figures: impl FnOnce() -> Result<Map<String, Value>>,
) -> Result<()> {
    let report = supervisor.report();
    let here = xen_version()?;
    report.log(format!("Xen {here} here, {} there", remote.xen));
    let mut result = figures()?;
    result.insert("xen_version".into(), json!(here));
    result.insert("xen_b".into(), json!(remote.xen));
    report.result(result);
    for case in cases {
        report.phase(case.name);
        if supervisor.case(&case)? == Outcome::Failed {
            report.log(format!("host b: {}", remote.describe()));
        }
        remote.destroy_all()?;
    }
    Ok(())
}
