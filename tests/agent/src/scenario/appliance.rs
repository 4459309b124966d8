//! `appliance`: the guest of docs/appliance.md, which the host has built from the page's text. What
//! the page types in dom0 is typed here, and the guest must answer as the page says.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::domain::console::Console;
use labkit::domain::{all, can_migrate_live};
use labkit::net::stream::connect;
use labkit::parameters::ParameterTable;
use labkit::process::run_ok;
use labkit::protocol::IMAGE_FOLDER;
use labkit::scenario::Work;
use labkit::{Deadline, Kind, Lab, Scenario};

pub(crate) const SCENARIO: Scenario = Scenario {
    from_docs: true,
    figures: false,
    ..Scenario::new(
        "appliance",
        "docs/appliance.md, followed word by word",
        ParameterTable::of::<()>(),
        Work::Once(run),
    )
};

/// The domain's name in the page.
const NAME: &str = "hello";
/// Its address in the page.
const SERVER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)),
    7000,
);
/// What it answers to the page's question.
const ANSWER: &str = "welcome, Xen\n";
/// What it prints when it serves.
const READY: &str = "hello: ready";
/// The longest that one command may take.
const LIMIT: Duration = Duration::from_secs(120);

fn run(lab: &Lab) -> Result<String> {
    let script = format!("{IMAGE_FOLDER}/{NAME}.sh");
    let script = fs::read_to_string(&script).with_context(|| script.clone())?;
    let mut answers = 0;
    let mut migrations = 0;
    for command in script.lines().filter(|line| !line.trim().is_empty()) {
        if command.starts_with("xl migrate ") && !can_migrate_live(Kind::Pv)? {
            lab.report
                .log(format!("skipped, because this Xen cannot: {command}"));
            continue;
        }
        lab.report.phase(command);
        let output = run_ok("bash", &["-c", command], LIMIT)?;
        if command.starts_with("xl create ") {
            ready()?;
            talk()?;
        } else if command.starts_with("xl migrate ") {
            migrations += 1;
            talk().context("after the migration")?;
        } else {
            if output != ANSWER {
                bail!("`{command}` printed {output:?}, not {ANSWER:?}");
            }
            answers += 1;
        }
    }
    if answers == 0 {
        bail!("the page asks the guest nothing");
    }
    let row = all()?.into_iter().find(|entry| entry.name == NAME);
    let row = row.with_context(|| format!("the domain {NAME} is gone"))?;
    if row.ended() {
        bail!("the domain {NAME} has ended: {}", row.flags);
    }
    Ok(format!("{answers} answers, {migrations} live migrations"))
}

/// Waits until the guest says that it serves.
fn ready() -> Result<()> {
    let console = Console::of(NAME);
    let what = format!("{READY:?} on the console of {NAME}");
    Deadline::seconds(30)
        .poll(Duration::from_millis(20), &what, || {
            Ok(console.text().contains(READY).then_some(()))
        })
        .with_context(|| console.tail())
}

/// Several lines on one connection, among them an empty one and two in one write; then a line that
/// is too long, which ends the connection and nothing else.
fn talk() -> Result<()> {
    let deadline = Deadline::seconds(30);
    let stream = connect(SERVER, deadline)?;
    let mut reader = BufReader::new(stream.try_clone().context("second handle")?);
    let mut stream = stream;
    let mut expect = |stream: &mut TcpStream, sent: &str, expected: &[&str]| -> Result<()> {
        stream.write_all(sent.as_bytes()).context("sending")?;
        for expected in expected {
            let mut line = String::new();
            reader.read_line(&mut line).context("reading")?;
            if line != *expected {
                bail!("{sent:?} was answered by {line:?}, not {expected:?}");
            }
        }
        Ok(())
    };
    expect(&mut stream, "one\n", &["welcome, one\n"])?;
    expect(&mut stream, "\n", &["welcome, \n"])?;
    expect(
        &mut stream,
        "two\r\nthree\n",
        &["welcome, two\n", "welcome, three\n"],
    )?;
    expect(&mut stream, "fo", &[])?;
    expect(&mut stream, "ur\n", &["welcome, four\n"])?;

    let mut long = connect(SERVER, deadline)?;
    long.write_all(&[b'x'; 4096]).context("a long line")?;
    let mut rest = Vec::new();
    match long.read_to_end(&mut rest) {
        Ok(_) => {}
        // It closes with bytes unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => {
            return Err(error).context("a line that is too long does not end its connection");
        }
    }
    if !rest.is_empty() {
        bail!("a line that is too long was answered");
    }
    expect(&mut stream, "five\n", &["welcome, five\n"])
}
