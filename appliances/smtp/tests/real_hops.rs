//! Next hops as they occur: they end connections, make noise, are slow, or are the relay itself.

mod common;

use core::time::Duration;

use common::sink::{Plan, Step};
use common::{ENVELOPE, Pieces, World, config, mail, opened};
use smtp::{HopEvent, Phase};

#[test]
fn a_kept_connection_that_ends_between_mails_costs_no_mail() {
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
fn noise_before_the_final_answer_is_skipped() {
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
            let mut world = World::new(config(), plan, Pieces::new(pieces));
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
fn a_next_hop_that_is_this_relay_is_refused_at_once() {
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
fn the_waits_for_the_hop_end_before_the_client_gives_up() {
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
fn a_client_that_has_gone_is_not_waited_with() {
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

#[test]
fn mail_from_the_next_hop_itself_is_not_sent_back_to_it() {
    let peer = "192.0.2.1".parse().expect("an address");
    let other = "192.0.2.9".parse().expect("an address");
    for (greeting, address, loops) in [
        ("220 C.test ESMTP", Some(peer), true),
        ("220 c.test ESMTP", Some(other), false),
        ("220 c.test ESMTP", None, false),
        ("220 sink ESMTP", Some(peer), false),
    ] {
        let mut world = World::new(
            config(),
            Plan {
                greeting: greeting.into(),
                ..Plan::default()
            },
            Pieces::new(&[100_000]),
        );
        world.send("");
        world.send("EHLO c.test\r\n");
        if let Some(address) = address {
            world.relay.hop_address(address);
        }
        let heard = world.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\n");
        let expected = if loops {
            "\r\n554 5.4.6"
        } else {
            "\r\n250 2.1.5"
        };
        assert!(heard.contains(expected), "{greeting}, {address:?}: {heard}");
    }
}

#[test]
fn a_next_hop_with_the_relays_own_address_is_not_connected_to() {
    let mut world = opened(Plan::default());
    world.hop_one_reply_at_a_time = true;
    world.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\n");
    world.relay.hop_event(HopEvent::LoopsBack);
    let heard = world.send("");
    assert!(heard.starts_with("554 5.4.6 Mail loops back"), "{heard}");
}

#[test]
fn a_name_that_others_may_have_is_no_sign_of_a_loop() {
    let mut config = config();
    config.name_is_unique = false;
    let plan = Plan {
        greeting: "220 relay.test ESMTP".into(),
        ..Plan::default()
    };
    let mut world = World::new(config, plan, Pieces::new(&[100_000]));
    world.send("");
    world.send("EHLO c.test\r\n");
    assert!(mail(&mut world, "x").starts_with("250 "));
}

#[test]
fn with_a_clock_a_slow_step_takes_what_fast_ones_left() {
    let mut world = opened(Plan::default());
    world.hop_one_reply_at_a_time = true;
    world.relay.tick(Duration::from_secs(1000));
    world.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\n");
    for _ in 0..4 {
        world.step_hop();
    }
    world.relay.tick(Duration::from_secs(1003));
    let wait = world.relay.wait().expect("a wait");
    assert_eq!(wait.phase, Phase::HopCommand);
    assert_eq!(wait.limit, Duration::from_secs(267));
}
