//! Sessions described by a byte string, for the fuzzer and its corpus.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use smtp::{Action, Config, HopEvent, Log, Relay, UnixTime};

use super::sink::{Plan, Step};
use super::{Pieces, World, config};

/// Limits that a short input can reach.
fn tight_config() -> Config {
    let mut config = config();
    config.max_message_bytes = 5000;
    config.max_recipients = 3;
    config.max_hops = 3;
    config.relay_for("d").expect("a domain");
    config
}

/// Returns the item that a digit chooses; with `0` nothing fails.
fn choose<T: Clone>(control: &[u8], at: usize, items: &[T]) -> T {
    let digit = control.get(at).copied().unwrap_or(b'0').wrapping_sub(b'0');
    items[usize::from(digit) % items.len()].clone()
}

const STEPS: [Option<Step>; 10] = [
    None,
    Some(Step::Greeting),
    Some(Step::Hello),
    Some(Step::Mail),
    Some(Step::Rcpt),
    Some(Step::Data),
    Some(Step::Body(0)),
    Some(Step::Body(300)),
    Some(Step::Final),
    Some(Step::Reset),
];

/// Runs a session that eight digits and the client's bytes describe. The digits
/// choose how input is split, then the next hop's greeting and its answers to
/// EHLO, MAIL, RCPT, DATA and the final dot, then where it dies. A byte 255
/// among the client's bytes makes the byte behind it an event. The client waits for its answers
/// where it must, but not behind the event `P`.
pub(crate) fn client_script(script: &[u8]) {
    let (control, input) = script.split_at(script.len().min(8));
    let text = |items: [&str; 4], at| choose(control, at, &items).to_string();
    let cuts = [vec![100_000], vec![1], vec![3, 1, 700], vec![64]];
    let pieces = Pieces::new(&choose(control, 0, &cuts));
    let plan = Plan {
        connects: choose(control, 1, &[true, true, true, true, false]),
        greeting: text(["220 x", "554 5.7.1 no", "421 4.3.2 busy", "junk"], 1),
        ehlo: text(
            [
                "250-x\r\n250-8BITMIME\r\n250 SIZE",
                "502 no",
                "250-x\r\n250 SIZE 900",
                "421 down",
            ],
            2,
        ),
        mail: text(["250 ok", "550 5.7.1 no", "451 later", "354 what"], 3),
        rcpt: vec![
            text(["250 ok", "250 ok", "550 5.1.1 no", "452 full"], 4),
            text(["250 ok", "550 no", "250 ok", "999 x"], 4),
        ],
        data: text(["354 go", "451 4.3.0 later", "554 no", "250 done"], 5),
        end: text(
            [
                "250 2.0.0 queued",
                "554 5.7.1 no",
                "452 4.3.1 full",
                "354 more",
            ],
            6,
        ),
        early: choose(
            control,
            6,
            &[
                None,
                None,
                None,
                None,
                Some((200, "552 5.3.4 big".into())),
                Some((0, "250 early".into())),
            ],
        ),
        dies_at: choose(control, 7, &STEPS),
        ..Plan::default()
    };
    let mut world = World::new(tight_config(), plan, pieces);
    let mut parts = input.split(|&byte| byte == 255);
    send(&mut world, parts.next().unwrap_or_default());
    for part in parts {
        let (event, rest) = part.split_at(part.len().min(1));
        match event {
            b"T" => world.relay.timed_out(),
            b"S" => world.relay.shut_down(),
            b"L" => world.relay.client_lost(),
            b"E" => world.relay.client_eof(),
            b"H" => world.break_hop(),
            b"P" => {
                world.send(rest);
                continue;
            }
            _ => world.hop_hangs ^= true,
        }
        send(&mut world, rest);
    }
    world.hop_hangs = false;
    world.finish();
    world.check_replies();
}

/// Sends what a client may send before it must wait for an answer, again and again.
fn send(world: &mut World, input: &[u8]) {
    let ends = |line: &[u8]| {
        let word = line.split(|&b| b == b' ').next().unwrap_or_default();
        let word = word.trim_ascii_end().to_ascii_uppercase();
        [&b"EHLO"[..], b"HELO", b"DATA"].contains(&&*word)
    };
    let mut group = Vec::new();
    for line in input.split_inclusive(|&b| b == b'\n') {
        group.extend_from_slice(line);
        if ends(line) {
            world.send(std::mem::take(&mut group));
        }
    }
    world.send(group);
}

/// What a correct client sends; it waits for the answers to each group.
const CLIENT: [&[u8]; 5] = [
    b"EHLO c\r\n",
    b"MAIL FROM:<a@c> SIZE=500\r\nRCPT TO:<b@d>\r\nRCPT TO:<e@d>\r\nDATA\r\n",
    b"Subject: x\r\n\r\n..\r\ntext\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@d>\r\nRSET\r\n",
    b"MAIL FROM:<f@c>\r\nRCPT TO:<b@d>\r\nDATA\r\n",
    b".\r\nQUIT\r\n",
];

/// Runs a session of a correct client with a next hop that follows the script:
/// parts ended by `|`, of which it sends one when it is connected and one
/// whenever something was sent to it. The first byte is the length of pieces.
pub(crate) fn hop_script(script: &[u8]) {
    let (control, input) = script.split_at(script.len().min(1));
    let step = usize::from(choose(control, 0, &[200u8, 1, 2, 7])).max(1);
    let mut parts: VecDeque<&[u8]> = input.split(|&byte| byte == b'|').collect();
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut relay = Relay::new(Arc::new(tight_config()), peer, 7);
    let mut groups = CLIENT.into_iter();
    let mut client: &[u8] = b"";
    let (mut connected, mut ends, mut delivered) = (false, 0, 0);
    let mut sent = Vec::new();
    for _ in 0..5000 {
        while let Some(action) = relay.poll_action() {
            match action {
                Action::ConnectHop => {
                    connected = true;
                    relay.hop_event(HopEvent::Connected);
                    feed(&mut relay, parts.pop_front().unwrap_or_default(), step);
                }
                Action::CloseHop => {
                    assert!(relay.hop_output().is_empty());
                    connected = false;
                }
                Action::Log(Log::Delivered { .. }) => delivered += 1,
                Action::Log(log) => assert!(log.to_string().is_ascii()),
                Action::CloseClient => {}
            }
            assert!(delivered <= ends, "250 before the final dot was sent");
        }
        if relay.is_finished() {
            return;
        }
        relay.client_sent(relay.client_output().len());
        if client.is_empty() && relay.client_output().is_empty() && !relay.awaits_hop() {
            client = groups.next().unwrap_or_default();
        }
        let taken = relay.client_input(UnixTime(0), client);
        client = &client[taken..];
        let output = relay.hop_output().to_vec();
        if !output.is_empty() {
            assert!(connected, "output without a connection");
            sent.extend_from_slice(&output);
            ends += usize::from(sent.ends_with(b"\r\n.\r\n"));
            relay.hop_sent(output.len());
            feed(&mut relay, parts.pop_front().unwrap_or_default(), step);
        } else if taken == 0 {
            match parts.is_empty() {
                true if connected => relay.hop_event(HopEvent::Closed),
                true => relay.timed_out(),
                false => feed(&mut relay, parts.pop_front().unwrap_or_default(), step),
            }
        }
    }
    panic!("the session does not end: {relay:?}");
}

fn feed(relay: &mut Relay, part: &[u8], step: usize) {
    for mut piece in part.chunks(step) {
        // A driver reads a next hop that floods again after polling the actions;
        // here the rest is dropped.
        while !piece.is_empty() {
            match relay.hop_input(piece) {
                0 => break,
                taken => piece = &piece[taken..],
            }
        }
    }
}
