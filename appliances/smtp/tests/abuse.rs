//! Clients that are no clients of mail, do not listen, or only keep their place; and what the log
//! says about them.

mod common;

use core::time::Duration;

use common::sink::{Plan, Step};
use common::{ENVELOPE, Pieces, World, config, mail, opened};
use smtp::Outcome;

#[test]
fn a_client_of_another_protocol_is_cut_off_at_its_first_line() {
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
fn nothing_behind_a_refused_data_is_run() {
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
fn nothing_behind_a_refused_data_is_run_however_many_replies_wait() {
    for count in 0..300 {
        let mut config = config();
        config.max_idle_commands = 0;
        let mut world = World::new(config, Plan::default(), Pieces::new(&[100_000]));
        world.send("");
        world.send("HELO c\r\n");
        // The client takes no replies until its body has come.
        let relay = &mut world.relay;
        let now = smtp::UnixTime(0);
        relay.client_input(now, &b"NOOP\r\n".repeat(count));
        if relay.client_input(now, b"DATA\r\n") == 0 {
            return assert!(count > 100, "no room for {count} replies");
        }
        if relay.client_capacity() > 0 {
            relay.client_input(now, b"MAIL FROM:<evil@x>\r\n");
        }
        let heard = world.send("RCPT TO:<v@d>\r\n");
        assert!(!world.client_open, "{count}: {heard}");
        assert!(world.hop_commands().is_empty());
    }
    panic!("the replies do not fill up");
}

#[test]
fn nothing_is_run_that_came_before_the_answer_to_hello() {
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
fn commands_without_mail_end_the_session() {
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
fn refused_recipients_end_the_session() {
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
        let mut world = World::new(config, plan, Pieces::new(&[100_000]));
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

#[test]
fn the_log_names_everybody_in_one_line() {
    let mut config = config();
    config.relay_for("d.test").expect("a domain");
    let mut world = World::new(config, Plan::default(), Pieces::new(&[100_000]));
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
fn a_client_that_leads_to_nothing_is_slowed_down_first() {
    let mut world = opened(Plan::default());
    for _ in 0..90 {
        world.send("NOOP\r\n");
        assert!(world.relay.delay().is_zero());
    }
    for _ in 0..20 {
        world.send("NOOP\r\n");
    }
    // One reply at a time, each held back.
    let taken = world
        .relay
        .client_input(smtp::UnixTime(0), b"NOOP\r\nNOOP\r\n");
    assert_eq!(taken, 6);
    assert_eq!(world.relay.delay(), Duration::from_secs(1));
    assert_eq!(world.relay.client_capacity(), 0);
    assert_eq!(world.send("NOOP\r\n"), "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
    assert!(mail(&mut world, "x").starts_with("250 "));
    world.send("NOOP\r\n");
    assert!(world.relay.delay().is_zero());
}

#[test]
fn a_driver_can_refuse_a_client_that_speaks_first() {
    let mut world = World::plain();
    world.relay.client_too_early();
    let heard = world.send("EHLO c.test\r\n");
    assert!(heard.contains("\r\n503 5.5.0 "), "{heard}");
    assert!(!world.client_open);
}

#[test]
fn every_mail_has_one_outcome() {
    let outcomes = |world: &World| -> Vec<Outcome> {
        world.logs.iter().filter_map(smtp::Log::outcome).collect()
    };
    let mut world = opened(Plan::default());
    mail(&mut world, "x");
    mail(&mut world, "a\0b");
    world.send("MAIL FROM:<a@c.test> SIZE=99999999999\r\n");
    world.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nRSET\r\n");
    world.send("MAIL FROM:<a@c.test>\r\nRSET\r\n");
    let expected = [Outcome::Delivered, Outcome::Refused, Outcome::Refused];
    assert_eq!(outcomes(&world), expected);

    let mut world = opened(Plan {
        connects: false,
        ..Plan::default()
    });
    world.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nRCPT TO:<b@d.test>\r\n");
    world.send("DATA\r\n");
    world.send("QUIT\r\n");
    assert_eq!(outcomes(&world), [Outcome::Deferred]);
}
