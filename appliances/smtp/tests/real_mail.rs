//! Mail and clients as they occur, beyond what the RFCs foresee.

mod common;

use common::sink::Plan;
use common::{Pieces, World, config, mail, opened, split_trace};

/// Returns the fields that a message has as its receiver parses it: up to the first line that is
/// empty or no field, with continuation lines joined to theirs.
fn fields(data: &[u8]) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(data).lines() {
        match line.starts_with([' ', '\t']) {
            true => fields.last_mut().expect("a field").push_str(line),
            false if line.contains(':') => fields.push(line.into()),
            false => break,
        }
    }
    fields
}

#[test]
fn a_first_line_that_is_no_field_stays_out_of_the_trace() {
    for (first, separated) in [
        (" (forged) by x; Mon, 1 Jan 1990 00:00:00 +0000", true),
        ("\tfolded: yes", true),
        (". (forged) by x", true),
        (".\tx", true),
        ("From a@c.test Mon Jan  1 00:00:00 1990", true),
        ("no field at all", true),
        ("word", true),
        (": no name", true),
        ("two words: x", true),
        ("n\u{e9}: x", true),
        ("..", true),
        (&"x".repeat(3000), true),
        ("Subject : old syntax", false),
        ("Subject: t", false),
        ("X-Long-Name-Of-A-Field:", false),
        ("..dotted: name", false),
        ("", false),
    ] {
        for pieces in [&[100_000][..], &[1], &[3, 1, 700]] {
            let mut world = World::new(config(), Plan::default(), Pieces::new(pieces));
            world.send("");
            world.send("EHLO c.test\r\n");
            let message = format!("{first}\r\nSubject: t\r\n\r\nb");
            let heard = mail(&mut world, &message);
            assert!(heard.starts_with("250 "), "{first:?}: {heard}");
            let data = &world.deliveries()[0].data;
            let trace = &fields(data)[0];
            assert!(trace.ends_with(" +0000"), "{first:?}: {trace}");
            assert!(!trace.contains("forged") && !trace.contains("1990"));
            let (_, body) = split_trace(data);
            let line = first.strip_prefix('.').unwrap_or(first);
            let own = format!("{line}\r\nSubject: t\r\n\r\nb\r\n");
            let expected = match separated {
                true => format!("\r\n{own}"),
                false => own,
            };
            assert!(body == expected.as_bytes(), "{first:?} in {pieces:?}");
        }
    }
}

#[test]
fn a_limit_of_zero_is_no_limit() {
    let mut config = config();
    config.max_message_bytes = 0;
    config.max_recipients = 0;
    config.max_hops = 0;
    config.max_bad_commands = 0;
    config.buffer_bytes = 0;
    let mut world = World::new(config, Plan::default(), Pieces::new(&[100_000]));
    world.send("");
    let heard = world.send("EHLO c.test\r\n");
    assert!(heard.contains("250-SIZE 0\r\n"), "{heard}");
    for _ in 0..30 {
        assert!(world.send("BLURB\r\n").starts_with("500 "));
    }
    for size in ["0", "1", "99999999999999999999"] {
        let heard = world.send(format!("MAIL FROM:<a@c.test> SIZE={size}\r\nRSET\r\n"));
        assert!(heard.starts_with("250 2.1.0"), "{size}: {heard}");
    }
    let message = format!(
        "{}\r\n{}",
        "Received: x\r\n".repeat(3),
        "x\r\n".repeat(1000)
    );
    let heard = mail(&mut world, &message);
    assert!(heard.starts_with("250 "), "{heard}");
}

#[test]
fn the_next_hop_is_told_of_8_bit_data_that_nobody_declared() {
    for (parameter, ehlo, told, expected) in [
        ("", "250-x\r\n250 8BITMIME", " BODY=8BITMIME", "250 "),
        (
            " BODY=7BIT",
            "250-x\r\n250 8BITMIME",
            " BODY=8BITMIME",
            "250 ",
        ),
        (
            " BODY=8BITMIME",
            "250-x\r\n250 8BITMIME",
            " BODY=8BITMIME",
            "250 ",
        ),
        ("", "250 x", "", "554 5.6.3"),
        (" BODY=7BIT", "250 x", "", "554 5.6.3"),
        (" BODY=8BITMIME", "502 no", "", "554 5.6.3"),
    ] {
        let mut world = opened(Plan {
            ehlo: ehlo.into(),
            ..Plan::default()
        });
        world.send(format!(
            "MAIL FROM:<a@c.test>{parameter}\r\nRCPT TO:<b@d.test>\r\nDATA\r\n"
        ));
        let heard = world.send("\u{e9}\r\n.\r\n");
        assert!(
            heard.starts_with(expected),
            "{parameter:?}, {ehlo:?}: {heard}"
        );
        let commands = world.hop_commands();
        let mail = commands.iter().find(|line| line.starts_with("MAIL"));
        assert_eq!(mail, Some(&format!("MAIL FROM:<a@c.test>{told}")));
    }
}

#[test]
fn addresses_of_real_mail_pass() {
    let srs = format!("SRS0={}@d.test", "x".repeat(71));
    let verp = format!("list-{}@d.test", "y".repeat(300));
    for (given, passed) in [
        (format!("<{srs}>"), &*srs),
        (format!("<{verp}>"), &*verp),
        ("<a..b@d.test>".into(), "a..b@d.test"),
        ("<a.@d.test>".into(), "a.@d.test"),
        ("<.a@d.test>".into(), ".a@d.test"),
        ("<...@d.test>".into(), "...@d.test"),
        ("a@c.test".into(), "a@c.test"),
        (" a@c.test".into(), "a@c.test"),
        ("<root>".into(), "root"),
        ("root".into(), "root"),
        ("<a@cabinet-.test>".into(), "a@cabinet-.test"),
        ("<a@under_score>".into(), "a@under_score"),
        ("<\"quoted @ >\"@d.test>".into(), "\"quoted @ >\"@d.test"),
        ("<a@[192.0.2.1]>".into(), "a@[192.0.2.1]"),
        ("<@x.test,@y.test:a@d.test>".into(), "a@d.test"),
    ] {
        let mut world = opened(Plan::default());
        let heard = world.send(format!("MAIL FROM:{given}\r\nRCPT TO:{given}\r\n"));
        assert!(
            heard.starts_with("250 2.1.0 Sender ok\r\n250 2.1.5"),
            "{given}: {heard}"
        );
        let commands = world.hop_commands();
        assert!(
            commands[1].starts_with(&format!("MAIL FROM:<{passed}>")),
            "{commands:?}"
        );
        assert_eq!(commands[2], format!("RCPT TO:<{passed}>"));
    }
    // A parameter still ends a path without brackets.
    let mut world = opened(Plan::default());
    assert!(
        world
            .send("MAIL FROM:a@c.test SIZE=5\r\n")
            .starts_with("250 ")
    );
    for bad in [
        "",
        "<>",
        "<a b@d.test>",
        "<a@b..c>",
        "<a@d.test",
        "<<a@d.test>>",
        "a@d.test>",
        "@d.test",
    ] {
        let heard = world.send(format!("RCPT TO:{bad}\r\n"));
        assert!(heard.starts_with('5'), "{bad:?}: {heard}");
    }
}

#[test]
fn a_long_line_passes_unchanged() {
    for length in [999, 1200, 2000, 70_000] {
        let long = "x".repeat(length);
        let mut world = opened(Plan::default());
        let message = format!("X-Long: {long}\r\n\r\n{long}\r\n.{long}");
        let heard = mail(&mut world, &message);
        assert!(heard.starts_with("250 "), "{length}: {heard}");
        let (_, body) = split_trace(&world.deliveries()[0].data);
        let sent = format!("X-Long: {long}\r\n\r\n{long}\r\n{long}\r\n");
        assert!(body == sent.as_bytes(), "{length} octets arrived otherwise");
    }
}

#[test]
fn hello_takes_names_as_they_occur() {
    for (name, shown) in [
        ("HOST.", "HOST."),
        ("cabinet-.domain", "cabinet-.domain"),
        ("-x-", "-x-"),
        ("under_score", "under_score"),
        ("[::1]", "[::1]"),
        ("[192.0.2.7]", "[192.0.2.7]"),
        ("[IPv6:2001:db8::7]", "[IPv6:2001:db8::7]"),
        ("two words", "two?words"),
        ("<script>", "?script?"),
        ("x) by evil (y", "x??by?evil??y"),
        ("x;", "x?"),
        ("[open", "?open"),
        ("a[b]", "a?b?"),
        ("m\u{fc}ller", "m??ller"),
        (&"n".repeat(480), &"n".repeat(255)),
    ] {
        for verb in ["EHLO", "HELO"] {
            let mut world = World::plain();
            world.send("");
            let heard = world.send(format!("{verb} {name}\r\n"));
            assert!(heard.starts_with("250"), "{name}: {heard}");
            assert!(mail(&mut world, "Subject: t\r\n\r\nx").starts_with("250 "));
            let (trace, _) = split_trace(&world.deliveries()[0].data);
            let from = format!("Received: from {shown} ([192.0.2.1])\r\n");
            assert!(trace.starts_with(&from), "{trace}");
        }
    }
    let mut world = World::plain();
    world.send("");
    assert!(world.send("EHLO\r\n").starts_with("501 "));
    assert!(world.send("HELO  \r\n").starts_with("501 "));
}

#[test]
fn postmaster_of_the_relay_itself_is_passed_on() {
    let mut config = config();
    config.relay_for("d.test").expect("a domain");
    for (recipient, expected) in [
        ("postmaster@relay.test", "250 2.1.5"),
        ("PostMaster@RELAY.test", "250 2.1.5"),
        ("postmaster@relay.test.", "250 2.1.5"),
        ("\"postmaster\"@relay.test", "250 2.1.5"),
        ("postmaster", "250 2.1.5"),
        ("postmaster@d.test", "250 2.1.5"),
        ("postmaster@other.test", "550 5.7.1"),
        ("b@relay.test", "550 5.7.1"),
        ("b%other.test@relay.test", "550 5.7.1"),
        ("b@d.test.", "250 2.1.5"),
        ("root", "250 2.1.5"),
        ("b%other.test", "550 5.7.1"),
        ("other.test!b", "550 5.7.1"),
        ("\"b@other.test\"", "550 5.7.1"),
    ] {
        let mut world = World::new(config.clone(), Plan::default(), Pieces::new(&[100_000]));
        world.send("");
        world.send("EHLO c.test\r\n");
        world.send("MAIL FROM:<a@c.test>\r\n");
        let heard = world.send(format!("RCPT TO:<{recipient}>\r\n"));
        assert!(heard.starts_with(expected), "{recipient}: {heard}");
    }
}
