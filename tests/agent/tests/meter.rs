//! `agent meter` as a program between two others: what it passes on, and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

/// More than pipes hold, in bytes that no parser of streams understands.
fn noise() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(5);
    std::iter::repeat_with(|| random.u8(..))
        .take(700_000)
        .collect()
}

/// What came of one run.
struct Run {
    back: Vec<u8>,
    code: Option<i32>,
    report: Option<Value>,
}

fn report_path() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("meter-test-{}-{number}.json", std::process::id()))
}

fn start(options: &[&str], report: &PathBuf, target: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_agent"))
        .args(["meter", "--report"])
        .arg(report)
        .args(options)
        .arg("--")
        .args(target)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the meter starts")
}

/// Sends `bytes` through a meter to `target`, closes, and reads what comes back.
fn run(options: &[&str], target: &[&str], bytes: Vec<u8>) -> Run {
    let path = report_path();
    let mut meter = start(options, &path, target);
    let mut input = meter.stdin.take().expect("piped");
    let writer = thread::spawn(move || {
        // A meter that has cut the stream takes no more.
        let _ = input.write_all(&bytes);
    });
    let mut back = Vec::new();
    let mut output = meter.stdout.take().expect("piped");
    output.read_to_end(&mut back).expect("the meter's output");
    writer.join().expect("the writer");
    let code = meter.wait().expect("the meter ends").code();
    let text = fs::read(&path).ok();
    let _ = fs::remove_file(&path);
    Run {
        back,
        code,
        report: text.map(|text| serde_json::from_slice(&text).expect("a report is JSON")),
    }
}

#[test]
fn every_byte_goes_both_ways() {
    let sent = noise();
    let run = run(&[], &["cat"], sent.clone());
    assert!(run.back == sent, "{} bytes came back", run.back.len());
    assert_eq!(run.code, Some(0));
    let report = run.report.expect("a report");
    assert_eq!(report["bytes"], sent.len());
    assert_eq!(report["ended"], "by_source");
    let why = report["not_understood"].as_str().expect("noise");
    assert!(why.contains("no header of xl"), "{why}");
}

#[test]
fn a_cut_ends_both_directions() {
    let sent = noise();
    // The target would wait for its input for ever.
    let run = run(&["--cut", "300001"], &["cat"], sent.clone());
    assert!(sent.starts_with(&run.back));
    assert_eq!(run.code, Some(3));
    let report = run.report.expect("a report");
    assert_eq!(
        (&report["bytes"], &report["ended"]),
        (&300_001.into(), &"by_cut".into())
    );
}

#[test]
fn a_target_that_refuses_ends_the_meter() {
    let refused = run(&[], &["sh", "-c", "echo no; exit 7"], noise());
    assert_eq!(refused.back, b"no\n");
    assert_eq!(refused.code, Some(7));
    let report = refused.report.expect("a report");
    assert_eq!(report["ended"], "by_target");
    assert_eq!(report["handshake"]["unexpected"], true);

    let missing = run(&[], &["/no/such/program"], Vec::new());
    assert_eq!(missing.code, Some(1));
}

#[test]
fn a_throttled_stream_arrives_whole() {
    let sent = noise();
    let run = run(&["--bandwidth", "1000"], &["cat"], sent.clone());
    assert!(run.back == sent);
}

#[test]
fn wrong_options_are_refused() {
    for options in [
        &["--cut", "x"][..],
        &["--cut", "1", "--cut-page", "1"],
        &["--what"],
    ] {
        assert_eq!(
            run(options, &["cat"], Vec::new()).code,
            Some(2),
            "{options:?}"
        );
    }
}
