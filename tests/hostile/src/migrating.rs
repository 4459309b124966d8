//! Attacks on the messages and datagrams of a migration: MIGRATING, ASK and GRANTED, the frozen state,
//! RESUME. The first step of [`resume`] is no attack: it follows docs/protocol.md.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use embedded_io_async::Read;
use kernel::time;
use netstack::TcpStream;

use crate::link::{CLOSED, FROZEN, Link, PATIENCE};
use crate::talk::{Talk, ends, pattern, receive, send};
use crate::wire::{self, Ends, GRANTED, MIGRATING, RESUME, RESUMED, message, u16_at};
use crate::{Outcome, Scene};

/// Number of ring numbers per link.
const NUMBERS: u16 = 512;

/// Asks for impossible rings, twice for the same one, and for all that exist.
pub(crate) async fn asks(scene: &Scene) -> Outcome {
    for bytes in [
        wire::ask(NUMBERS, 2),
        wire::ask(0, 200),
        wire::granted(0, 2, &[1; 5]),
    ] {
        let mut link = scene.link().await?;
        let offended = link.offend(&bytes).await;
        offended.map_err(|why| format!("kind {}: {why}", bytes[0]))?;
    }
    let mut link = scene.link().await?;
    link.post(&wire::ask(7, 2)).await?;
    link.expect(GRANTED).await?;
    link.offend(&wire::ask(7, 2)).await?;
    drop(link);

    let mut link = scene.link().await?;
    let (mut granted, mut refused) = (0, 0);
    for number in 0..NUMBERS {
        // Every other one is larger than the victim's largest.
        let log2 = if number % 2 == 0 { 2 } else { 8 };
        link.post(&wire::ask(number, log2)).await?;
        let answer = link.expect(GRANTED).await?;
        if u16_at(&answer, 0) != Some(number) {
            return Err(format!("ASK for {number} was answered by {answer:?}"));
        }
        *(if answer.len() > 4 {
            &mut granted
        } else {
            &mut refused
        }) += 1;
    }
    if granted == 0 || granted >= refused {
        return Err(format!("{granted} rings were granted, {refused} were not"));
    }
    link.set_state(CLOSED);
    link.wait_for_state(CLOSED).await?;
    Ok(format!("{granted} rings were granted, {refused} were not"))
}

/// Announces a migration and withdraws it, repeatedly, with bytes on rings all the time.
pub(crate) async fn migrating(scene: &Scene) -> Outcome {
    const TURNS: u8 = 250;
    const CHUNK: usize = 500;
    let mut talk = scene.talk().await?;
    let mut offset = 100;
    for turn in 0..TURNS {
        // The second of two equal messages has no effect.
        for _ in 0..1 + turn % 2 {
            talk.link.post(&message(MIGRATING, &[1, 0])).await?;
        }
        talk.write(&pattern(offset, CHUNK)).await?;
        talk.expect_echo(offset, CHUNK).await?;
        offset += CHUNK as u64;
        talk.link.post(&message(MIGRATING, &[0, 0])).await?;
    }
    talk.link.offend(&message(MIGRATING, &[2, 0])).await?;
    Ok(format!("{TURNS} times, {offset} bytes"))
}

/// Fills the message ring with announcements of a migration and their withdrawals, closes the link,
/// and notifies once.
pub(crate) async fn toggles(scene: &Scene) -> Outcome {
    const LINKS: u8 = 4;
    let mut count = 0;
    for _ in 0..LINKS {
        let mut link = scene.link().await?;
        let pair = [message(MIGRATING, &[1, 0]), message(MIGRATING, &[0, 0])].concat();
        while link.out.write(&link.memory, &pair).0 == pair.len() {
            count += 2;
        }
        link.set_state(CLOSED);
        link.wait_for_state(CLOSED).await?;
    }
    Ok(format!("{count} messages on {LINKS} links"))
}

/// Claims to be suspended but keeps running: overwrites both rings, and never resumes.
pub(crate) async fn frozen(scene: &Scene) -> Outcome {
    for byte in [0xff, 0x00, 0x5a] {
        let mut talk = scene.talk().await?;
        talk.write(&pattern(100, 10_000)).await?;
        talk.link.set_state(FROZEN);
        talk.link.wait_for_state(CLOSED).await?;
        // The victim's part of the connection is still mapped here.
        talk.own.scribble(byte);
        talk.theirs.scribble(byte);
        talk.link.ring_data(talk.own.number);
        let Talk { link, stream, .. } = talk;
        drop(link);
        // Without the end the victim would wait for RESUME, because a guest may be away for long.
        stream.abort();
        time::sleep(Duration::from_millis(100)).await;
    }
    Ok("three times".into())
}

/// Opens a connection like [`Scene::talk`], and returns the link's nonce B as well.
async fn talk(scene: &Scene) -> Result<(Talk, [u8; 16]), String> {
    let stream = scene.connect().await?;
    let hello = scene.hello();
    let welcome = scene.welcome(&hello).await?;
    let link = Link::map(&hello, &welcome)?;
    link.prove(&welcome.nonce_b);
    Ok((Talk::begin(link, stream).await?, welcome.nonce_b))
}

/// Makes a connection whose link ends as in a suspend: 100 bytes were echoed, and the echo of
/// further bytes is still in the victim's ring.
async fn suspended(scene: &Scene, asked: usize) -> Result<(TcpStream, [u8; 16]), String> {
    let (mut talk, epoch) = talk(scene).await?;
    talk.write(&pattern(100, asked)).await?;
    let deadline = time::now() + PATIENCE;
    while talk.theirs.end.ready(&talk.theirs.memory) < asked {
        if time::now() >= deadline {
            return Err(format!("the echo of {asked} bytes is not there"));
        }
        talk.link.event().await;
    }
    let Talk { link, stream, .. } = talk;
    link.set_state(FROZEN);
    link.wait_for_state(CLOSED).await?;
    Ok((stream, epoch))
}

/// Sends a correct RESUME, and then incorrect ones of every kind.
pub(crate) async fn resume(scene: &Scene) -> Outcome {
    const ASKED: usize = 4000;
    const FLOOD: usize = 500;
    // Correct: the victim sends the rest of its ring by TCP.
    let (mut stream, epoch) = suspended(scene, ASKED).await?;
    let right = [(ends(&stream), 100)];
    scene.send(&scene.resume(RESUME, epoch, &right)).await?;
    receive(&mut stream, 100, ASKED).await?;
    let mut offset = 100 + ASKED as u64;
    send(&mut stream, offset, 3000).await?;
    receive(&mut stream, offset, 3000).await?;
    offset += 3000;

    // Once more with other offsets, although it is settled.
    for wrong in [0, offset, u64::MAX] {
        let entries = [(ends(&stream), wrong)];
        scene.send(&scene.resume(RESUME, epoch, &entries)).await?;
        scene.send(&scene.resume(RESUMED, epoch, &entries)).await?;
    }
    send(&mut stream, offset, 1000).await?;
    receive(&mut stream, offset, 1000).await?;

    // For connections of other guests.
    let others = [7, 9, 4242].map(|port| {
        let ends = Ends {
            sender: (scene.other, port).into(),
            receiver: (scene.victim, 7).into(),
        };
        (ends, 0)
    });
    scene.send(&scene.resume(RESUME, epoch, &others)).await?;

    // An offset that the victim has not reached ends the connection.
    let (mut stream, epoch) = suspended(scene, ASKED).await?;
    let beyond = [(ends(&stream), 1 << 60)];
    scene.send(&scene.resume(RESUME, epoch, &beyond)).await?;
    match time::timeout(PATIENCE, stream.read(&mut [0])).await {
        Ok(Err(_)) => {}
        other => return Err(format!("an offset beyond the tail: {other:?}")),
    }

    // RESUME for a link that is up is ignored.
    let (mut talk, epoch) = talk(scene).await?;
    let entries = [(ends(&talk.stream), 0)];
    for kind in [RESUME, RESUMED] {
        scene.send(&scene.resume(kind, epoch, &entries)).await?;
    }

    // Links and connections that never existed, datagrams of every length.
    let nowhere = Ends {
        sender: ends(&talk.stream).sender,
        receiver: (scene.victim, 1).into(),
    };
    for number in 0..FLOOD {
        let kind = if number % 2 == 0 { RESUME } else { RESUMED };
        let many = [(nowhere, number as u64); 24];
        let mut datagram = scene.resume(kind, scene.nonce(), &many[..number % 25]);
        if number % 5 == 4 {
            datagram.truncate(number % datagram.len());
        }
        scene.send(&datagram).await?;
        if number % 16 == 0 {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
    talk.write(&pattern(100, ASKED)).await?;
    talk.expect_echo(100, ASKED).await?;
    talk.link.set_state(CLOSED);
    Ok(format!("once in order, {FLOOD} without meaning"))
}
