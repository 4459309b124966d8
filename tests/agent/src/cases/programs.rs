//! The mail programs without a relay between them, which the other cases rely on.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use labkit::addresses::DOM0;
use labkit::mail::body::{attachment, text_mail};
use labkit::mail::client::Client;
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::{PORT, Sink};
use labkit::mail::source::{Sessions, smtp_source, swaks};
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[Case::new("mail_programs_agree", 90, agree)];

/// The longest that one of the programs may take.
const LIMIT: Duration = Duration::from_secs(40);

fn agree(_: &Lab) -> Result<String> {
    let sink = Sink::start(&[])?;
    let server = SocketAddr::from((DOM0, PORT));
    let mut ledger = Ledger::default();

    let mail = text_mail("text", 200_000, 3)?;
    let output = smtp_source(server, &mail, 6, Sessions::Reconnecting(3), LIMIT)?;
    if !output.status.success() {
        bail!("smtp-source: {}", output.text);
    }
    ledger.note(&mail, Form::BodyAndLine, 6);

    let mail = attachment("file", 100_001, 4)?;
    let output = swaks(server, &mail, LIMIT)?;
    if !output.status.success() {
        bail!("swaks: {}", output.text);
    }
    ledger.note(&mail, Form::Attachment, 1);

    let mail = text_mail("own", 5000, 5)?;
    let text = std::fs::read(mail.file.path())?;
    let mut client = Client::ready(server, Deadline::seconds(40))?;
    client.begin_data()?;
    client.data(&text)?.expect(250, "mail")?;
    client.quit()?;
    ledger.note(&mail, Form::Body, 1);

    ledger.check(&sink.arrived()?)?;
    Ok("smtp-source, swaks and our own client agree with smtp-sink".into())
}
