//! The SMTP command machine: sequences, mistakes, and pipelining.

use anyhow::{Result, bail};
use labkit::mail::client::Client;
use labkit::mail::sink::Sink;
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[Case::new("smtp_dialogue", 60, dialogue)];

/// Commands on one connection, in order, and the codes that RFC 5321 (4.2.2, 4.3.2) allows.
const DIALOGUE: &[(&str, &[u16])] = &[
    ("RCPT TO:<a@sink.test>", &[503]),
    ("DATA", &[503, 554]),
    ("NOSUCH", &[500, 502]),
    ("NOOP", &[250]),
    ("HELO client.test", &[250]),
    ("VRFY user", &[252]),
    ("MAIL FROM", &[501]),
    ("MAIL FROM:<unclosed@client.test", &[501, 553]),
    ("MAIL FROM:<a@client.test>", &[250]),
    ("MAIL FROM:<a@client.test>", &[503]),
    ("DATA", &[503, 554]),
    ("RCPT TO:<>", &[501, 550, 553]),
    ("RCPT TO:<a@sink.test>", &[250]),
    ("RSET", &[250]),
    ("RCPT TO:<a@sink.test>", &[503]),
    ("ehlo client.test", &[250]),
    ("mail from:<>", &[250]),
    ("rcpt to:<Postmaster>", &[250]),
    ("EHLO client.test", &[250]),
    ("DATA", &[503, 554]),
    ("MAIL FROM:<a@client.test> SIZE=100 BODY=8BITMIME", &[250]),
    ("RSET", &[250]),
    ("MAIL FROM:<a@client.test> NOSUCH=1", &[555]),
];

fn dialogue(lab: &Lab) -> Result<String> {
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "");
    let _domain = guest.start_ready()?;
    let deadline = Deadline::seconds(40);
    let (mut client, banner) = Client::connect(guest.port(25), deadline)?;
    banner.expect(220, "banner")?;
    let mut wrong = Vec::new();
    for (number, (line, codes)) in DIALOGUE.iter().enumerate() {
        let reply = client.command(line)?;
        if !codes.contains(&reply.code) {
            wrong.push(format!(
                "{number} {line:?}: {} instead of {codes:?}",
                reply.code
            ));
        }
    }
    let ehlo = client.command("EHLO client.test")?.expect(250, "EHLO")?;
    for extension in ["SIZE", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES"] {
        if !ehlo
            .lines
            .iter()
            .any(|line| line.split(' ').next() == Some(extension))
        {
            wrong.push(format!("EHLO does not offer {extension}"));
        }
    }
    client.quit()?;
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }

    // RFC 2920: a whole envelope in one write, then the mail and QUIT in another.
    let mut client = Client::ready(guest.port(25), deadline)?;
    client.send(b"MAIL FROM:<a@client.test> BODY=8BITMIME\r\nRCPT TO:<a@sink.test>\r\nRCPT TO:<b@sink.test>\r\nDATA\r\n")?;
    for (code, what) in [(250, "MAIL"), (250, "RCPT"), (250, "RCPT"), (354, "DATA")] {
        client.reply()?.expect(code, what)?;
    }
    let eight_bit = "Gr\u{fc}\u{df}e \u{20ac}";
    client.send(format!("X-Lab-Mail: p\r\n\r\n{eight_bit}\r\n..\r\n.\r\nQUIT\r\n").as_bytes())?;
    client.reply()?.expect(250, "the mail")?;
    client.reply()?.expect(221, "QUIT")?;
    if !client.closed() {
        bail!("the connection stays open after QUIT");
    }
    let arrived = sink.arrived()?;
    let expected = format!("{eight_bit}\n.\n");
    match arrived.as_slice() {
        [mail] if mail.body == expected.as_bytes() => {}
        [mail] => bail!(
            "the mail arrived as {:?}",
            String::from_utf8_lossy(&mail.body)
        ),
        mails => bail!("{} mails arrived instead of 1", mails.len()),
    }
    if arrived[0].headers.matches("X-Rcpt-Args:").count() != 2 {
        bail!("not both recipients arrived: {}", arrived[0].headers);
    }
    Ok(format!("{} commands, one pipelined mail", DIALOGUE.len()))
}
