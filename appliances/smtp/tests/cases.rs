//! What real clients, real next hops and attackers send that the RFCs do not foresee, each kind
//! with its variants.

mod common;

use common::sink::{Plan, Step};
use common::{World, config, opened, split_trace};
use smtp::{HopEvent, Phase};

const ENVELOPE: &str = "MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\n";

/// Sends one mail on a session that is open, and returns the answer to it.
fn mail(world: &mut World, message: &str) -> String {
    let heard = world.send(ENVELOPE);
    assert!(heard.ends_with("354 End with <CRLF>.<CRLF>\r\n"), "{heard}");
    world.send(format!("{message}\r\n.\r\n"))
}

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
fn case_01_a_first_line_that_is_no_field_stays_out_of_the_trace() {
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
            let mut world = World::new(config(), Plan::default(), common::Pieces::new(pieces));
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
fn case_02_a_client_of_another_protocol_is_cut_off_at_its_first_line() {
    let smuggled = "EHLO c\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\nx\r\n.\r\n";
    for first in [
        "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "get /index.html\r\n",
        "CONNECT d.test:25 HTTP/1.1\r\n\r\n",
        "PUT /x HTTP/1.1\r\n",
        "HEAD / HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "DELETE /x HTTP/1.1\r\n",
        "PATCH /x HTTP/1.1\r\n",
        "TRACE / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PROPFIND / HTTP/1.1\r\n",
        "INVITE sip:a@d.test SIP/2.0\r\n",
        "Host: relay.test\r\n",
        "User-Agent: x\r\n",
        "Content-Length:5\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "\0\0\0\u{1}",
        "\u{1}\r\n",
        "{\"json\": 1}\r\n",
        "*1\r\n$4\r\nPING\r\n",
    ] {
        for hello in ["", "EHLO c.test\r\n"] {
            let mut world = World::plain();
            world.send("");
            world.send(hello);
            world.send(first);
            assert!(!world.client_open, "{first:?} behind {hello:?}");
            world.send(smuggled);
            assert!(world.hop_commands().is_empty(), "{first:?}");
        }
    }
    // The first byte is enough: no line need end.
    let mut world = World::plain();
    world.send("");
    world.send("\u{16}");
    assert!(!world.client_open, "a TLS handshake");
}

#[test]
fn case_03_nothing_behind_a_refused_data_is_run() {
    let body = "Hello\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<v@d.test>\r\n.\r\n";
    let refused = |data: &str| Plan {
        data: data.into(),
        ..Plan::default()
    };
    for plan in [
        refused("451 4.3.0 later"),
        refused("554 5.7.1 no"),
        refused("354 go"),
    ] {
        for body in [body, &body["Hello\r\n".len()..]] {
            let mut world = opened(plan.clone());
            let heard = world.send(format!("{ENVELOPE}{body}"));
            assert!(heard.contains("\r\n503 5.5.0 "), "{heard}");
            assert!(!world.client_open, "{heard}");
            let commands = world.hop_commands().join("\n");
            assert!(!commands.contains("evil"), "{commands}");
            assert_eq!(world.accepted(), 0);
        }
    }
    // Refused by the relay itself: no recipient, no mail, no argument allowed.
    for opening in [
        "MAIL FROM:<a@c.test>\r\nDATA\r\n",
        "DATA\r\n",
        "DATA now\r\n",
        "BDAT 60 LAST\r\n",
        "STARTTLS\r\n",
        "AUTH PLAIN\r\n",
    ] {
        let mut world = opened(Plan::default());
        let heard = world.send(format!("{opening}{body}"));
        assert!(!world.client_open, "{opening:?}: {heard}");
        assert!(world.hop_commands().is_empty(), "{opening:?}");
    }
    // The body comes in a packet of its own, before the answer has left.
    let mut world = opened(refused("451 4.3.0 later"));
    world.hop_stalls = true;
    world.send(ENVELOPE);
    world.hop_stalls = false;
    world.send(&body["Hello\r\n".len()..]);
    assert!(!world.hop_commands().join("\n").contains("evil"));
}

#[test]
fn case_03_nothing_is_run_that_came_before_the_answer_to_hello() {
    for hello in ["EHLO c.test\r\n", "HELO c.test\r\n", "EHLO\r\n"] {
        let mut world = World::plain();
        world.send("");
        let heard = world.send(format!("{hello}{ENVELOPE}"));
        assert!(heard.starts_with("503 5.5.0 "), "{heard}");
        assert!(!world.client_open && world.hop_commands().is_empty());
    }
    // Before the banner.
    let mut world = World::plain();
    world.send(format!("EHLO c.test\r\n{ENVELOPE}"));
    assert!(!world.client_open && world.hop_commands().is_empty());
    // What RFC 2920 allows in one group, and behind a final dot, still works.
    let mut world = opened(Plan::default());
    world.send(format!("RSET\r\nNOOP\r\nRSET\r\n{ENVELOPE}"));
    let heard = world.send(format!("x\r\n.\r\nRSET\r\n{ENVELOPE}"));
    assert!(heard.ends_with("354 End with <CRLF>.<CRLF>\r\n"), "{heard}");
    assert!(world.send("x\r\n.\r\nQUIT\r\n").contains("\r\n221 "));
    assert_eq!(world.accepted(), 2);
}

#[test]
fn case_04_a_limit_of_zero_is_no_limit() {
    let mut config = config();
    config.max_message_bytes = 0;
    config.max_recipients = 0;
    config.max_hops = 0;
    config.max_bad_commands = 0;
    config.buffer_bytes = 0;
    let mut world = World::new(config, Plan::default(), common::Pieces::new(&[100_000]));
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
fn case_05_the_next_hop_is_told_of_8_bit_data_that_nobody_declared() {
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
fn case_06_07_09_10_addresses_and_lines_of_real_mail_pass() {
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
fn case_07_a_long_line_passes_unchanged() {
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
fn case_08_hello_takes_names_as_they_occur() {
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
fn case_11_a_kept_connection_that_ends_between_mails_costs_no_mail() {
    type Edit = fn(&mut Plan);
    let ends: [(&str, Edit); 5] = [
        ("421 at MAIL", |plan| plan.mail = "421 4.4.2 Idle".into()),
        ("closed at MAIL", |plan| plan.dies_at = Some(Step::Mail)),
        ("421 at RCPT", |plan| {
            plan.rcpt = vec!["421 4.7.0 Enough".into()]
        }),
        ("closed at RCPT", |plan| plan.dies_at = Some(Step::Rcpt)),
        ("garbage at MAIL", |plan| plan.mail = "junk".into()),
    ];
    for (what, edit) in ends {
        let mut world = opened(Plan::default());
        for round in 0..4 {
            let heard = mail(&mut world, "Subject: t\r\n\r\nx");
            assert!(heard.starts_with("250 "), "{what}, mail {round}: {heard}");
            let mut plan = Plan::default();
            edit(&mut plan);
            world.hop.as_mut().expect("kept").replan(plan);
        }
        assert_eq!(world.accepted(), 4, "{what}");
    }
    // At the RSET for a mail that the client dropped.
    for plan in [
        Plan {
            reset: "421 4.4.2 Idle".into(),
            ..Plan::default()
        },
        Plan {
            dies_at: Some(Step::Reset),
            ..Plan::default()
        },
    ] {
        let mut world = opened(plan);
        let heard = world.send(format!(
            "MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nRSET\r\n{ENVELOPE}"
        ));
        assert!(heard.ends_with("354 End with <CRLF>.<CRLF>\r\n"), "{heard}");
        assert!(world.send("x\r\n.\r\n").starts_with("250 "));
    }
    // A fresh connection is not tried twice, nor one that knows a recipient or the message.
    let mut world = opened(Plan {
        mail: "421 4.4.2 Busy".into(),
        ..Plan::default()
    });
    assert!(
        world
            .send("MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\n")
            .contains("\r\n451 4.4.2")
    );
    for step in [Step::Data, Step::Final, Step::Body(0)] {
        let mut world = opened(Plan::default());
        assert!(mail(&mut world, "x").starts_with("250 "));
        let plan = Plan {
            dies_at: Some(step),
            ..Plan::default()
        };
        world.hop.as_mut().expect("kept").replan(plan);
        let heard = world.send(ENVELOPE) + &world.send("x\r\n.\r\n");
        assert!(heard.contains("451 4.4.2"), "{step:?}: {heard}");
        assert_eq!(world.accepted(), 1);
    }
}

#[test]
fn case_12_noise_before_the_final_answer_is_skipped() {
    for (end, expected) in [
        ("\r\n250 ok", "250 2.0.0 ok"),
        ("hook: x\r\n250 ok", "250 2.0.0 ok"),
        ("250-a\r\n251 b", "250 2.0.0"),
        (
            "\r\n\r\n\r\n250-2.0.0 a\r\n\r\n250 2.0.0 b",
            "250 2.0.0 a b",
        ),
        ("25\r\n2500 x\r\n250x\r\n250 ok", "250 2.0.0 ok"),
        ("354 go\r\n250 ok", "250 2.0.0 ok"),
        ("100 wait\r\n250 ok", "250 2.0.0 ok"),
        ("\u{1}\u{7f}\r\n250 ok", "250 2.0.0 ok"),
        ("hook: x\r\n452 4.3.1 full", "452 4.3.1 full"),
        ("250-a\r\n550 5.7.1 spam", "550 5.7.1"),
    ] {
        for pieces in [&[100_000][..], &[1]] {
            let plan = Plan {
                end: end.into(),
                ..Plan::default()
            };
            let mut world = World::new(config(), plan, common::Pieces::new(pieces));
            world.send("");
            world.send("EHLO c.test\r\n");
            let heard = mail(&mut world, "x");
            assert!(heard.starts_with(expected), "{end:?}: {heard}");
            assert!(world.send("NOOP\r\n").starts_with("250 "));
        }
    }
    // Noise on the way there, and noise without an end.
    let mut world = opened(Plan {
        data: "354 go\r\n\r\nhook: x".into(),
        ..Plan::default()
    });
    assert!(mail(&mut world, "x").starts_with("250 "));
    let endless = "noise\r\n".repeat(3000);
    let mut world = opened(Plan {
        end: endless,
        ..Plan::default()
    });
    assert!(mail(&mut world, "x").starts_with("451 4.5.0"));
}

#[test]
fn case_13_a_next_hop_that_is_this_relay_is_refused_at_once() {
    for (greeting, ehlo) in [
        ("220 relay.test ESMTP Causeway", "250 relay.test"),
        ("220 RELAY.test. ESMTP", "250 relay.test"),
        ("220 relay.test", "250 relay.test"),
        ("220 localhost ESMTP", "250-relay.test\r\n250 HELP"),
    ] {
        let mut world = opened(Plan {
            greeting: greeting.into(),
            ehlo: ehlo.into(),
            ..Plan::default()
        });
        let heard = world.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\n");
        assert!(heard.contains("\r\n554 5.4.6 "), "{heard}");
        assert!(heard.contains("loops back"), "{heard}");
        let logged = world
            .logs
            .iter()
            .any(|log| log.to_string().contains("loops back"));
        assert!(logged, "{:?}", world.logs);
        assert!(!world.hop_commands().join("\n").contains("MAIL"));
    }
}

#[test]
fn case_14_commands_without_mail_end_the_session() {
    for line in [
        "NOOP\r\n",
        "RSET\r\n",
        "VRFY b\r\n",
        "HELP\r\n",
        "EHLO c.test\r\n",
        "MAIL FROM:<a@c.test>\r\nRSET\r\n",
        "MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nRSET\r\n",
    ] {
        let mut world = opened(Plan::default());
        let mut last = String::new();
        for _ in 0..2000 {
            if !world.client_open {
                break;
            }
            last = world.send(line);
        }
        assert!(!world.client_open, "{line:?}: open after 2,000");
        assert!(last.contains("421 4.7.0 "), "{line:?}: {last}");
    }
    // Mails between them keep it open.
    let mut world = opened(Plan::default());
    for _ in 0..20 {
        for _ in 0..20 {
            world.send("NOOP\r\n");
        }
        assert!(mail(&mut world, "x").starts_with("250 "));
    }
}

#[test]
fn case_15_refused_recipients_end_the_session() {
    let mut closed = config();
    closed.relay_for("d.test").expect("a domain");
    let no = Plan {
        rcpt: vec!["550 5.1.1 no".into()],
        ..Plan::default()
    };
    let away = Plan {
        connects: false,
        ..Plan::default()
    };
    for (config, plan) in [(closed, Plan::default()), (config(), no), (config(), away)] {
        let mut world = World::new(config, plan, common::Pieces::new(&[100_000]));
        world.send("");
        world.send("EHLO c.test\r\n");
        world.send("MAIL FROM:<a@c.test>\r\n");
        let mut last = String::new();
        for _ in 0..3000 {
            if !world.client_open {
                break;
            }
            last = world.send("RCPT TO:<b@other.test>\r\n");
        }
        assert!(!world.client_open, "open after 3,000: {last}");
        assert!(last.contains("421 4.7.0 "), "{last}");
    }
    // Some refused recipients among many do not stop a mail.
    let mut world = opened(Plan {
        rcpt: vec!["550 5.1.1 no".into(); 30],
        ..Plan::default()
    });
    world.send("MAIL FROM:<a@c.test>\r\n");
    world.send("RCPT TO:<b@d.test>\r\n".repeat(30));
    assert!(world.client_open);
}

/// Returns the sum of what the hop may take for the answer that the client waits for, if it is as
/// slow as it may be at each step.
fn slowest(world: &mut World) -> u64 {
    let mut seconds = 0;
    let mut last = None;
    world.hop_one_reply_at_a_time = true;
    loop {
        let wait = world.relay.wait().expect("a session");
        if wait.phase == Phase::ClientCommand || wait.phase == Phase::Message {
            world.hop_one_reply_at_a_time = false;
            return seconds;
        }
        if last != Some((wait.phase, wait.round)) {
            seconds += wait.limit.as_secs();
        }
        last = Some((wait.phase, wait.round));
        world.step_hop();
    }
}

#[test]
fn case_16_the_waits_for_the_hop_end_before_the_client_gives_up() {
    for ehlo in ["250 x", "502 no"] {
        let mut world = opened(Plan {
            ehlo: ehlo.into(),
            ..Plan::default()
        });
        world.hop_one_reply_at_a_time = true;
        let mut total = Vec::new();
        for (line, limit) in [
            ("MAIL FROM:<a@c.test>\r\n", 300),
            ("RCPT TO:<b@d.test>\r\n", 300),
            ("RCPT TO:<b@d.test>\r\n", 300),
            ("DATA\r\n", 120),
            ("x\r\n.\r\n", 600),
        ] {
            world.hop_one_reply_at_a_time = true;
            world.send(line);
            let seconds = slowest(&mut world);
            assert!(seconds < limit, "{line:?}: {seconds} of {limit} s");
            total.push(seconds);
        }
        assert!(total[2] >= 240, "one slow answer may take long: {total:?}");
        assert_eq!(world.accepted(), 1);
    }
    // A hop that takes the end of the message in small pieces does not start the time anew.
    let mut world = opened(Plan::default());
    world.send(ENVELOPE);
    world.hop_stalls = true;
    world.send(format!("{}.\r\n", "x\r\n".repeat(3000)));
    let first = world.relay.wait().expect("a wait");
    assert_eq!(first.phase, Phase::HopFinal);
    world.relay.hop_sent(2048);
    assert_eq!(world.relay.wait(), Some(first));
}

#[test]
fn case_17_the_log_names_everybody_in_one_line() {
    let mut config = config();
    config.relay_for("d.test").expect("a domain");
    let mut world = World::new(config, Plan::default(), common::Pieces::new(&[100_000]));
    world.send("");
    world.send("EHLO c.test\r\n");
    world.send("MAIL FROM:<a@c.test>\r\n");
    world.send("RCPT TO:<x@other.test>\r\n");
    let lines =
        |world: &World| -> Vec<String> { world.logs.iter().map(ToString::to_string).collect() };
    let refused: Vec<String> = lines(&world);
    assert_eq!(refused.len(), 1, "{refused:?}");
    for part in [
        "192.0.2.1",
        "c.test",
        "a@c.test",
        "x@other.test",
        "550 5.7.1",
        "-1-1",
    ] {
        assert!(refused[0].contains(part), "{part} is not in {refused:?}");
    }
    world.send("RCPT TO:<b@d.test>\r\n");
    world.send("DATA\r\n");
    world.send("x\r\n.\r\n");
    let all = lines(&world);
    let delivered = all.last().expect("a line");
    for part in [
        "192.0.2.1",
        "c.test",
        "a@c.test",
        "b@d.test",
        "250 2.0.0 queued",
        "-1-1",
    ] {
        assert!(delivered.contains(part), "{part} is not in {delivered}");
    }
    // Which mail a hop's failure hit.
    for (step, line) in [
        (Step::Rcpt, "RCPT TO:<b@d.test>\r\n"),
        (Step::Data, "RCPT TO:<b@d.test>\r\nDATA\r\n"),
        (Step::Body(0), "RCPT TO:<b@d.test>\r\nDATA\r\n"),
    ] {
        let mut world = opened(Plan {
            dies_at: Some(step),
            ..Plan::default()
        });
        world.send("MAIL FROM:<a@c.test>\r\n");
        world.send(line);
        world.send("x\r\n.\r\n");
        let all = lines(&world);
        let failed = all.iter().find(|line| line.contains("next hop"));
        let failed = failed.expect("a line about the hop");
        for part in ["192.0.2.1", "a@c.test", "b@d.test", "-1-1"] {
            assert!(failed.contains(part), "{part} is not in {failed}");
        }
    }
    // Each refused command, with nothing that could be taken for another line or field.
    for line in [
        "MAIL FROM:<a@c.test> SIZE=99999999999\r\n",
        "MAIL FROM:<a b@c.test>\r\n",
        "BLURB \u{1b}[2J\u{e9}\r\n",
        "RCPT TO:<b@d.test>\r\n",
        "GET / HTTP/1.1\r\n",
        "NOOP\n",
    ] {
        let mut world = opened(Plan::default());
        world.send(line);
        let all = lines(&world);
        assert_eq!(all.len(), 1, "{line:?}: {all:?}");
        assert!(all[0].contains("192.0.2.1"), "{all:?}");
        assert!(
            all[0].bytes().all(|b| (b' '..=b'~').contains(&b)),
            "{all:?}"
        );
    }
    let mut world = opened(Plan {
        rcpt: vec!["550 5.1.1 no\u{1b}\u{7f}".into()],
        ..Plan::default()
    });
    world.send("MAIL FROM:<\"x> to=<v@d.test>: 250 ok\"@c.test>\r\nRCPT TO:<b@d.test>\r\n");
    let all = lines(&world);
    assert!(!all[0].contains("to=<v@d.test>"), "{all:?}");
    assert!(
        all[0].bytes().all(|b| (b' '..=b'~').contains(&b)),
        "{all:?}"
    );
}

#[test]
fn case_18_postmaster_of_the_relay_itself_is_passed_on() {
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
        let mut world = World::new(
            config.clone(),
            Plan::default(),
            common::Pieces::new(&[100_000]),
        );
        world.send("");
        world.send("EHLO c.test\r\n");
        world.send("MAIL FROM:<a@c.test>\r\n");
        let heard = world.send(format!("RCPT TO:<{recipient}>\r\n"));
        assert!(heard.starts_with(expected), "{recipient}: {heard}");
    }
}

#[test]
fn case_19_a_client_that_has_gone_is_not_waited_with() {
    for (step, lines) in [
        (Step::Greeting, "MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\n"),
        (Step::Mail, "MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\n"),
        (
            Step::Rcpt,
            "MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nRCPT TO:<b@d>\r\n",
        ),
        (Step::Data, ENVELOPE),
    ] {
        for broken in [false, true] {
            let mut world = opened(Plan {
                dies_at: Some(step),
                ..Plan::default()
            });
            world.hop_hangs = true;
            world.send(lines);
            assert!(world.client_open && !world.relay.is_finished());
            match broken {
                true => world.relay.client_lost(),
                false => world.relay.client_eof(),
            }
            world.run();
            assert!(!world.client_open, "{step:?}, broken {broken}");
            assert!(world.relay.is_finished(), "{step:?}, broken {broken}");
        }
    }
    // The answer to a message is waited for, so that the log tells what became of it.
    let mut world = opened(Plan::default());
    world.send(ENVELOPE);
    world.hop_stalls = true;
    world.send("x\r\n.\r\n");
    world.relay.client_lost();
    world.run();
    assert!(!world.relay.is_finished());
    world.hop_stalls = false;
    world.run();
    assert_eq!(world.delivered_logs(), 1);
    world.relay.hop_event(HopEvent::Closed);
    assert!(world.relay.is_finished() || world.hop.is_none());
}
