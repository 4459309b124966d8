//! What must hold for every message, every split and every failure.

mod common;

use common::sink::{Plan, Step};
use common::{Pieces, World, behind_trace, config, split_trace, stuff};
use proptest::collection::vec;
use proptest::prelude::*;
use smtp::HopEvent;

/// Makes a line of a message, often with dots, sometimes of the longest length.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => (1u8..=255).prop_filter("line ends are added", |b| !b"\r\n".contains(b)),
        2 => Just(b'.'),
        1 => Just(b' '),
    ];
    prop_oneof![
        8 => vec(octet.clone(), 0..90),
        1 => vec(octet, 980..=998),
        1 => Just(b".".to_vec()),
        1 => Just(b"Received: by another".to_vec()),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    vec(line(), 0..40).prop_map(|lines| {
        let ended = lines.into_iter().map(|line| [&line[..], b"\r\n"].concat());
        ended.collect::<Vec<_>>().concat()
    })
}

fn pieces() -> impl Strategy<Value = Pieces> {
    prop_oneof![
        vec(1usize..8, 1..5),
        vec(1usize..2000, 1..9),
        Just(vec![100_000]),
    ]
    .prop_map(|lengths| Pieces::new(&lengths))
}

const WORDS: [&str; 17] = [
    "EHLO c\r\n",
    "HELO c\r\n",
    "MAIL FROM:<a@c> SIZE=12\r\n",
    "MAIL FROM:<>\r\n",
    "RCPT TO:<b@d>\r\n",
    "RCPT TO:<b@d>\r\nDATA\r\n",
    "DATA\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "text\r\n",
    "..\r\n",
    "\r\n.\r\n",
    ".\r\n",
    "\n.\n",
    "\r",
    "\n",
    "\0",
];

/// Input that looks enough like SMTP to get somewhere, in groups.
fn noise() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = proptest::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec());
    vec(prop_oneof![9 => word, 1 => vec(any::<u8>(), 0..40)], 0..60)
}

const STEPS: [Step; 9] = [
    Step::Greeting,
    Step::Hello,
    Step::Mail,
    Step::Rcpt,
    Step::Data,
    Step::Body(0),
    Step::Body(500),
    Step::Final,
    Step::Quit,
];

fn opening(world: &mut World) {
    world.send("EHLO c.test\r\n");
    world.send("MAIL FROM:<a@c.test> BODY=8BITMIME\r\nRCPT TO:<b@d.test>\r\nDATA\r\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every body arrives as it was sent, behind one trace header.
    #[test]
    fn bodies_arrive_unchanged(body in body(), pieces in pieces()) {
        let mut world = World::new(config(), Plan::default(), pieces);
        opening(&mut world);
        let heard = world.send(stuff(&body));
        prop_assert_eq!(heard, "250 2.0.0 queued as 1\r\n");
        let deliveries = world.deliveries();
        prop_assert_eq!(deliveries.len(), 1);
        let (trace, arrived) = split_trace(&deliveries[0].data);
        prop_assert_eq!(trace.matches("Received:").count(), 1);
        prop_assert_eq!(arrived, behind_trace(&body));
        world.finish();
        world.check_replies();
    }

    /// However a client pipelines and its bytes are split, the body of a mail whose DATA was refused
    /// is not run as commands.
    #[test]
    fn early_input_runs_nothing(
        opening in proptest::sample::select(&["", "RSET\r\n", "MAIL FROM:<x@c>\r\n"][..]),
        refused in any::<bool>(),
        pieces in pieces(),
    ) {
        let data = if refused { "451 later" } else { "354 go" };
        let plan = Plan { data: data.into(), ..Plan::default() };
        let mut world = World::new(config(), plan, pieces);
        world.send("");
        world.send("EHLO c.test\r\n");
        let body = "MAIL FROM:<evil@x>\r\nRCPT TO:<v@d>\r\nDATA\r\nx\r\n.\r\n";
        world.send(format!("{opening}MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nDATA\r\n{body}"));
        let commands = world.hop_commands().concat();
        prop_assert!(!commands.contains("evil"), "{}", commands);
        world.finish();
    }

    /// It does not matter how the bytes of both peers are split.
    #[test]
    fn splits_do_not_matter(noise in noise(), one in pieces(), other in pieces()) {
        let run = |pieces| {
            let mut world = World::new(config(), Plan::default(), pieces);
            // What comes before the answer to a group is another matter: it ends the session.
            for group in &noise {
                world.send(group);
            }
            world.finish();
            world.check_replies();
            // It depends on timing whether the next hop still gets RSET and
            // QUIT when the client leaves.
            let mut commands = world.hop_commands();
            commands.retain(|command| command != "QUIT" && command != "RSET");
            (world.received.clone(), world.deliveries(), commands)
        };
        prop_assert_eq!(run(one), run(other));
    }

    /// If the next hop dies, at whatever step, the client gets 451 or has had
    /// its 250.
    #[test]
    fn a_dying_next_hop_loses_nothing(
        body in body(),
        pieces in pieces(),
        step in proptest::sample::select(&STEPS[..]),
        at in 0usize..20_000,
    ) {
        let step = if step == Step::Body(500) { Step::Body(at) } else { step };
        let plan = Plan { dies_at: Some(step), ..Plan::default() };
        let mut world = World::new(config(), plan, pieces);
        opening(&mut world);
        let started = world.received.ends_with(b"354 End with <CRLF>.<CRLF>\r\n");
        let heard = match started {
            true => world.send(stuff(&body)),
            false => String::new(),
        };
        let told = heard.starts_with("250 ");
        prop_assert_eq!(told, world.accepted() == 1, "{}", heard);
        if started && !told {
            prop_assert!(heard.starts_with("451 4."), "{}", heard);
        }
        if !started {
            let received = String::from_utf8_lossy(&world.received).into_owned();
            prop_assert!(received.contains("\r\n451 4.4.2"), "{}", received);
        }
        // The client tries again, and this time nothing fails.
        world.plan = Plan::default();
        world.send("RSET\r\n");
        world.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\n");
        let heard = world.send(stuff(&body));
        prop_assert!(heard.starts_with("250 2.0.0"), "{}", heard);
        world.finish();
    }

    /// If the client leaves, at whatever step, a message that it did not end is
    /// not delivered.
    #[test]
    fn a_leaving_client_delivers_nothing_unfinished(
        body in body(),
        pieces in pieces(),
        cut in any::<proptest::sample::Index>(),
        breaks in any::<bool>(),
    ) {
        let mut world = World::new(config(), Plan::default(), pieces);
        opening(&mut world);
        let message = stuff(&body);
        let cut = cut.index(message.len());
        world.send(&message[..cut]);
        if breaks {
            world.relay.client_lost();
        }
        world.finish();
        prop_assert!(world.deliveries().is_empty());
        prop_assert_eq!(world.delivered_logs(), 0);
    }

    /// Garbage from the next hop never becomes a 250, and never panics.
    #[test]
    fn garbage_of_the_next_hop_is_contained(
        garbage in vec(any::<u8>(), 0..3000),
        pieces in pieces(),
        field in 0..6,
    ) {
        let mut plan = Plan::default();
        let garbage: String = garbage.into_iter().map(char::from).collect();
        let refused = Plan { end: "554 no".into(), ..plan.clone() };
        match field {
            0 => plan.greeting = garbage,
            1 => plan.ehlo = garbage,
            2 => plan.mail = garbage,
            3 => plan.rcpt = vec![garbage],
            4 => plan.data = format!("3{garbage}"),
            _ => plan = Plan { early: Some((100, garbage)), ..refused },
        }
        let mut world = World::new(config(), plan, pieces);
        opening(&mut world);
        world.send("x\r\n.\r\n");
        world.relay.hop_event(HopEvent::Closed);
        world.finish();
        world.check_replies();
    }
}

/// 3 MB pass through a queue of 16 KiB alone.
#[test]
fn large_messages_pass_in_bounded_memory() {
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    let body = line.repeat(3_000_000 / line.len());
    let mut world = World::new(config(), Plan::default(), Pieces::new(&[65_536, 3000]));
    opening(&mut world);
    assert!(world.send(stuff(&body)).starts_with("250 "));
    let deliveries = world.deliveries();
    assert!(
        split_trace(&deliveries[0].data).1 == behind_trace(&body),
        "the body is unchanged"
    );
    assert!(world.longest_hop_output <= 16 * 1024);
}
