//! Dialogues as in RFC 5321 appendix D: the client's lines, and the reply codes
//! that it gets.

mod common;

use common::sink::Plan;
use common::{Pieces, World, config, opened, split_trace};
use smtp::{Config, Log};

/// Lines that the client sends, one after the other, each with the codes and
/// enhanced codes of the expected replies.
type Dialogue<'a> = &'a [(&'a str, &'a [&'a str])];

fn play(world: &mut World, dialogue: Dialogue<'_>) {
    for (line, expected) in dialogue {
        let heard = world.send(format!("{line}\r\n"));
        let heard: Vec<&str> = heard.lines().collect();
        assert_eq!(heard.len(), expected.len(), "{line:?} -> {heard:?}");
        for (heard, expected) in heard.iter().zip(*expected) {
            assert!(heard.starts_with(expected), "{line:?} -> {heard:?}");
        }
    }
    world.check_replies();
}

fn greeted(config: Config, plan: Plan) -> World {
    let mut world = World::new(config, plan, Pieces::new(&[100_000]));
    assert_eq!(world.send(""), "220 relay.test ESMTP Causeway\r\n");
    world
}

const MAIL: (&str, &[&str]) = ("MAIL FROM:<a@c.test>", &["250 2.1.0"]);
const RCPT: (&str, &[&str]) = ("RCPT TO:<b@d.test>", &["250 2.1.5"]);
const DATA: (&str, &[&str]) = ("DATA", &["354 "]);
const OK: &[&str] = &["250 2.0.0"];

#[test]
fn the_whole_language() {
    let mut world = greeted(config(), Plan::default());
    play(
        &mut world,
        &[
            ("MAIL FROM:<a@c.test>", &["503 5.5.1"]),
            (
                "EHLO c.test",
                &[
                    "250-relay.test",
                    "250-PIPELINING",
                    "250-SIZE 67108864",
                    "250-8BITMIME",
                    "250-ENHANCEDSTATUSCODES",
                    "250 HELP",
                ],
            ),
            ("RCPT TO:<b@d.test>", &["503 5.5.1"]),
            ("DATA", &["503 5.5.1"]),
            ("NOOP", OK),
            ("RSET", OK),
            ("VRFY b", &["252 2.5.0"]),
            ("EXPN l", &["502 5.5.1"]),
            ("HELP", &["214 2.0.0"]),
            ("BLURB", &["500 5.5.1"]),
            ("MAIL FROM:<a@c.test> SIZE=67108865", &["552 5.3.4"]),
            (
                "MAIL FROM:<a@c.test> SIZE=1000 BODY=8BITMIME",
                &["250 2.1.0"],
            ),
            ("MAIL FROM:<a@c.test>", &["503 5.5.1"]),
            ("DATA", &["503 5.5.1"]),
            ("RCPT TO:<\u{e9}@d.test>", &["553 5.6.7"]),
            RCPT,
            ("RCPT TO:<@x.test:e@d.test>", &["250 2.1.5"]),
            DATA,
            ("Subject: x\r\n\r\ntext\r\n..\r\n.", OK),
            ("RCPT TO:<b@d.test>", &["503 5.5.1"]),
            ("MAIL FROM:<>", &["250 2.1.0"]),
            ("RCPT TO:<Postmaster>", &["250 2.1.5"]),
            DATA,
            (".", OK),
            ("QUIT", &["221 2.0.0"]),
        ],
    );
    assert!(!world.client_open && world.relay.is_finished());
    assert_eq!(
        world.hop_commands(),
        [
            "EHLO relay.test",
            "MAIL FROM:<a@c.test> SIZE=2024 BODY=8BITMIME",
            "RCPT TO:<b@d.test>",
            "RCPT TO:<e@d.test>",
            "DATA",
            "MAIL FROM:<> BODY=8BITMIME",
            "RCPT TO:<Postmaster>",
            "DATA",
            "QUIT"
        ]
    );
    let deliveries = world.deliveries();
    let (trace, body) = split_trace(&deliveries[0].data);
    assert!(!trace.contains("for <"), "two recipients: {trace}");
    assert_eq!(body, b"Subject: x\r\n\r\ntext\r\n.\r\n");
    let (trace, body) = split_trace(&deliveries[1].data);
    assert!(trace.contains("from c.test ([192.0.2.1])"), "{trace}");
    assert!(trace.contains("for <Postmaster>;"), "{trace}");
    assert_eq!(body, b"");
}

#[test]
fn the_next_hop_answers_for_each_recipient() {
    let mut world = opened(Plan {
        rcpt: vec![
            "250 ok".into(),
            "550 5.1.1 Unknown".into(),
            "452 Full".into(),
        ],
        end: "250 queued as 77".into(),
        ..Plan::default()
    });
    play(
        &mut world,
        &[
            MAIL,
            RCPT,
            ("RCPT TO:<x@d.test>", &["550 5.1.1 Unknown"]),
            ("RCPT TO:<y@d.test>", &["452 4.0.0 Full"]),
            DATA,
            (".", &["250 2.0.0 queued as 77"]),
        ],
    );
    assert_eq!(world.deliveries()[0].recipients, ["RCPT TO:<b@d.test>"]);
}

#[test]
fn refusals_of_the_next_hop_are_passed_on() {
    let refused = |edit: fn(&mut Plan)| {
        let mut plan = Plan::default();
        edit(&mut plan);
        opened(plan)
    };
    let mut mail = refused(|plan| plan.mail = "550 5.7.1 Bad sender".into());
    let no: &[&str] = &["550 5.7.1 Bad sender"];
    play(
        &mut mail,
        &[MAIL, (RCPT.0, no), (RCPT.0, no), ("DATA", &["554 5.5.1"])],
    );

    let commands = mail.hop_commands();
    let mails = commands.iter().filter(|line| line.starts_with("MAIL"));
    assert_eq!(mails.count(), 1, "a refused sender is not asked for again");

    let mut data = refused(|plan| plan.data = "452 4.3.1 Disk full".into());
    let no: &[&str] = &["452 4.3.1 Disk full"];
    play(
        &mut data,
        &[
            MAIL,
            RCPT,
            ("DATA", no),
            ("DATA", &["503 5.5.1"]),
            MAIL,
            RCPT,
        ],
    );
    assert!(data.hop_commands().contains(&"RSET".to_string()));

    let mut end = refused(|plan| plan.end = "554 5.7.1 Spam".into());
    play(
        &mut end,
        &[
            MAIL,
            RCPT,
            DATA,
            ("x\r\n.", &["554 5.7.1 Spam"]),
            MAIL,
            RCPT,
        ],
    );
    assert_eq!(end.accepted(), 0);

    let mut ehlo = refused(|plan| plan.ehlo = "502 What".into());
    play(&mut ehlo, &[MAIL, RCPT, DATA, (".", OK)]);
    assert_eq!(
        ehlo.hop_commands()[..2],
        ["EHLO relay.test", "HELO relay.test"]
    );

    let mut size = refused(|plan| plan.ehlo = "250-x\r\n250 SIZE 99".into());
    let large = ("MAIL FROM:<a@c> SIZE=100", MAIL.1);
    play(&mut size, &[large, (RCPT.0, &["552 5.3.4"])]);
}

#[test]
fn a_session_refused_by_the_next_hop_is_temporary() {
    for (greeting, expected) in [
        ("554 5.7.1 No service", "451 4.3.2 No service"),
        ("421 4.3.2 Busy", "451 4.3.2 Busy"),
        ("HTTP/1.1 400 Bad Request", "451 4.5.0"),
        ("250", "250 2.1.5"),
    ] {
        let mut world = opened(Plan {
            greeting: greeting.into(),
            ..Plan::default()
        });
        play(&mut world, &[MAIL, (RCPT.0, &[expected])]);
    }
}

#[test]
fn an_absent_next_hop_is_temporary_and_comes_back() {
    let mut world = opened(Plan {
        connects: false,
        ..Plan::default()
    });
    let away: &[&str] = &["451 4.4.1"];
    play(
        &mut world,
        &[
            MAIL,
            (RCPT.0, away),
            (RCPT.0, away),
            ("DATA", &["554 5.5.1"]),
        ],
    );
    world.plan = Plan::default();
    play(&mut world, &[("RSET", OK), MAIL, RCPT, DATA, (".", OK)]);
    assert_eq!(world.accepted(), 1);
}

#[test]
fn a_mail_is_lost_with_the_next_hop_that_knew_it() {
    let lost: &[&str] = &["451 4.4.2"];
    let mut world = opened(Plan::default());
    play(&mut world, &[MAIL, RCPT]);
    world.break_hop();
    play(&mut world, &[(RCPT.0, lost), ("DATA", lost)]);
    assert!(world.hop.is_none(), "no new connection for half a mail");
    // A mail that the next hop did not know of goes over a new connection.
    play(&mut world, &[MAIL, RCPT, DATA, (".", OK), MAIL]);
    world.break_hop();
    play(&mut world, &[RCPT, DATA, (".", OK)]);
    assert_eq!(world.accepted(), 2);
}

#[test]
fn an_answer_before_the_end_is_no_acceptance() {
    for (early, expected) in [
        ("250 2.0.0 queued", "451 4.5.0"),
        ("552 5.3.4 Too big", "552 5.3.4 Too big"),
        ("421 4.3.2 Down", "451 4.3.2 Down"),
    ] {
        let mut world = opened(Plan {
            early: Some((0, early.into())),
            ..Plan::default()
        });
        play(
            &mut world,
            &[
                MAIL,
                RCPT,
                DATA,
                ("one", &[]),
                ("two\r\n.", &[expected]),
                ("NOOP", OK),
            ],
        );
        assert!(world.deliveries().is_empty(), "no final dot was sent");
        assert!(world.hop.is_none(), "the connection was closed");
    }
}

#[test]
fn bad_messages_are_refused_at_their_end() {
    let lines = |n: usize| "Received: x\r\n".repeat(n);
    let cases: [(String, &str, bool); 9] = [
        ("x".repeat(999), "554 5.6.0 Line longer", true),
        ("a\0b".into(), "554 5.6.0 NUL", true),
        (lines(51), "554 5.4.6", true),
        (
            format!("{}more", "0123456\r\n".repeat(112)),
            "552 5.3.4",
            true,
        ),
        ("a\nb".into(), "554 5.6.0 Bare", false),
        ("a\n.\nQUIT".into(), "554 5.6.0 Bare", false),
        (
            "a\n.\r\nMAIL FROM:<evil@x.test>".into(),
            "554 5.6.0 Bare",
            false,
        ),
        ("a\r.\r\n".into(), "554 5.6.0 Bare", false),
        (
            format!("{}\n.", "x".repeat(999)),
            "554 5.6.0 Line longer",
            false,
        ),
    ];
    for (body, expected, goes_on) in cases {
        let mut config = config();
        config.max_message_bytes = 1000;
        config.max_line_bytes = 998;
        let mut world = greeted(config, Plan::default());
        play(
            &mut world,
            &[("EHLO [192.0.2.7]", &["250"; 6]), MAIL, RCPT, DATA],
        );
        play(&mut world, &[(&format!("{body}\r\n."), &[expected])]);
        assert_eq!(world.client_open, goes_on, "{body:?}");
        if goes_on {
            play(&mut world, &[MAIL, RCPT, DATA, ("x\r\n.", OK)]);
        }
        assert_eq!(world.deliveries().len(), usize::from(goes_on), "{body:?}");
    }
}

#[test]
fn fifty_hops_pass() {
    let mut world = opened(Plan::default());
    let header = "Received: x\r\n".repeat(50);
    play(
        &mut world,
        &[MAIL, RCPT, DATA, (&format!("{header}\r\n."), OK)],
    );
}

#[test]
fn eight_bit_data_needs_a_next_hop_that_takes_it() {
    let mut world = opened(Plan {
        ehlo: "250 sink".into(),
        ..Plan::default()
    });
    let mail = ("MAIL FROM:<a@c.test> BODY=8BITMIME", MAIL.1);
    play(&mut world, &[mail, RCPT, DATA, ("plain\r\n.", OK)]);
    play(
        &mut world,
        &[mail, RCPT, DATA, ("\u{e9}\r\n.", &["554 5.6.3"])],
    );
    assert!(
        !world
            .hop_commands()
            .iter()
            .any(|line| line.contains("BODY"))
    );
    assert_eq!(world.accepted(), 1);
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let mut world = opened(Plan {
        rcpt: vec!["250 ok".into(), "550 5.1.1 no".into()],
        ..Plan::default()
    });
    let group = "MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nRCPT TO:<x@d>\r\nDATA";
    play(
        &mut world,
        &[(group, &["250 2.1.0", "250 2.1.5", "550 5.1.1", "354"])],
    );
    let rest = "text\r\n.\r\nMAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nRSET\r\nQUIT";
    let expected = ["250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0", "221"];
    play(&mut world, &[(rest, &expected)]);
    assert_eq!(world.accepted(), 1);
}

#[test]
fn limits_on_commands() {
    let mut config = config();
    config.max_recipients = 2;
    config.relay_for("d.test").expect("a domain");
    let mut world = greeted(config, Plan::default());
    let long = "x".repeat(600);
    play(
        &mut world,
        &[
            ("HELO c", &["250"]),
            (&format!("NOOP {long}"), &["500 5.5.2"]),
            MAIL,
            ("RCPT TO:<b@other.test>", &["550 5.7.1"]),
            ("RCPT TO:<b%other.test@d.test>", &["550 5.7.1"]),
            RCPT,
            RCPT,
            ("RCPT TO:<c@d.test>", &["452 4.5.3"]),
            DATA,
            (".", OK),
        ],
    );
    for _ in 0..18 {
        play(&mut world, &[("BLURB", &["500 5.5.1"])]);
    }
    play(&mut world, &[("BLURB", &["421 4.7.0"])]);
    assert!(!world.client_open, "20 bad commands");
}

#[test]
fn bare_lf_ends_a_session() {
    let mut world = opened(Plan::default());
    assert!(
        world
            .send("NOOP\nMAIL FROM:<a@b>\r\n")
            .starts_with("500 5.5.2")
    );
    assert!(!world.client_open);
    assert!(
        world.received.ends_with(b"closing\r\n"),
        "nothing behind it was read"
    );
}

#[test]
fn leaving_in_the_middle_delivers_nothing() {
    let mut world = opened(Plan::default());
    play(&mut world, &[MAIL, RCPT, DATA, ("half a message", &[])]);
    world.relay.client_lost();
    world.run();
    assert!(world.relay.is_finished());
    assert!(world.deliveries().is_empty());
    assert!(matches!(world.logs.last(), Some(Log::Abandoned { .. })));
    let last = world.hop_commands().pop();
    assert_eq!(last.as_deref(), Some("DATA"), "no QUIT within a message");
}

#[test]
fn a_half_closed_client_still_gets_its_answers() {
    let mut world = World::plain();
    world.send("EHLO c\r\n");
    world.send("MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nDATA\r\n");
    world.send("x\r\n.\r\n");
    world.relay.client_eof();
    world.run();
    assert!(world.received.ends_with(b"queued as 1\r\n"));
    assert!(world.relay.is_finished());
}
