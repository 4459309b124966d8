//! Waits, room and the end of a session.

mod common;

use common::sink::{Plan, Step};
use common::{World, opened};
use smtp::{Phase, UnixTime};

#[test]
fn time_outs() {
    let phase = |world: &World| world.relay.wait().map(|wait| wait.phase);
    let silent = |step: Step| Plan {
        dies_at: Some(step),
        ..Plan::default()
    };
    // A sink that "dies" keeps its connection open here: it just never answers.
    for (step, expected) in [
        (Step::Greeting, Phase::HopGreeting),
        (Step::Hello, Phase::HopCommand),
        (Step::Mail, Phase::HopCommand),
        (Step::Rcpt, Phase::HopCommand),
        (Step::Data, Phase::HopData),
        (Step::Final, Phase::HopFinal),
    ] {
        let mut world = opened(silent(step));
        world.hop_hangs = true;
        world.send("MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nDATA\r\n");
        world.send("x\r\n.\r\n");
        assert_eq!(phase(&world), Some(expected), "{step:?}");
        world.relay.timed_out();
        world.hop_hangs = false;
        let heard = world.send("");
        assert!(heard.starts_with("451 4.4.2"), "{step:?}: {heard}");
        assert_eq!(world.delivered_logs(), 0);
    }

    let mut world = opened(Plan::default());
    assert_eq!(phase(&world), Some(Phase::ClientCommand));
    world.send("MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nDATA\r\n");
    assert_eq!(phase(&world), Some(Phase::Message));
    let first = world.relay.wait();
    world.send("x");
    assert_eq!(world.relay.wait(), first, "a byte is no progress");
    world.send(format!("{}\r\n", "y".repeat(900)));
    assert_ne!(world.relay.wait(), first, "512 bytes are");
    world.relay.timed_out();
    assert!(world.send("").starts_with("421 4.4.2"));
    assert!(world.relay.is_finished() && world.deliveries().is_empty());
}

#[test]
fn shutting_down_waits_for_the_mail() {
    let mut world = opened(Plan::default());
    world.send("MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nDATA\r\n");
    world.relay.shut_down();
    assert_eq!(world.send("x\r\n"), "");
    let heard = world.send(".\r\n");
    assert!(heard.starts_with("250 2.0.0") && heard.contains("\r\n421 4.3.2"));
    assert!(world.relay.is_finished());
    assert_eq!(world.accepted(), 1);
}

#[test]
fn a_next_hop_that_takes_nothing_times_out() {
    let mut world = opened(Plan::default());
    world.send("MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nDATA\r\n");
    world.hop_stalls = true;
    let line = format!("{}\r\n", "x".repeat(70));
    assert_eq!(world.send(line.repeat(1000)), "");
    assert!(world.unread() > 50_000, "the queue is bounded");
    assert_eq!(world.relay.client_capacity(), 0);
    world.relay.timed_out();
    assert!(world.send(".\r\n").starts_with("451 4.4.2"));
    assert!(world.send("NOOP\r\n").starts_with("250"));
    assert_eq!(world.accepted(), 0);
}

#[test]
fn a_driver_that_does_not_poll_stops_the_session() {
    let mut world = opened(Plan::default());
    world.send("MAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\n");
    let mut input = "RCPT TO:<b@d>\r\n".repeat(50).into_bytes();
    loop {
        let taken = world.relay.client_input(UnixTime(0), &input);
        input.drain(..taken);
        let asked = world.relay.hop_output().len();
        world.relay.hop_sent(asked);
        if asked == 0 && taken == 0 {
            break;
        }
        world.relay.hop_input(b"250 ok\r\n");
        world.relay.client_sent(usize::MAX);
    }
    assert_eq!(world.relay.client_capacity(), 0);
    let waiting = std::iter::from_fn(|| world.relay.poll_action()).count();
    assert!((8..16).contains(&waiting), "{waiting} actions");
    assert!(
        world.relay.client_input(UnixTime(0), &input) > 0,
        "it goes on"
    );
}
