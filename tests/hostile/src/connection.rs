//! Attacks on the rings of a connection: their indices, bytes, pages and offsets.

use alloc::format;
use alloc::vec;
use core::time::Duration;

use kernel::grant::GrantedRegion;
use kernel::time;

use crate::link::{CLOSED, OPEN, PATIENCE};
use crate::ring::{HEAD, TAIL};
use crate::talk::{ends, offer, pattern, receive, send};
use crate::wire::{self, CONFIRM, SWITCH, message, u16_at, u64_at};
use crate::{Outcome, Scene};

/// The reason of a CONFIRM for a ring that cannot be mapped.
const UNMAPPED: u16 = 3;

/// By then everything that can fill up is full.
const FULL: Duration = Duration::from_secs(1);

/// Lies as the producer: more than the ring holds, and moving back.
pub(crate) async fn producer_index(scene: &Scene) -> Outcome {
    for tail in [100 + 16 * 1024 + 1, 50, u64::MAX] {
        let talk = scene.talk().await?;
        talk.own.end.place.store(&talk.own.memory, TAIL, tail);
        talk.link.ring_data(talk.own.number);
        let closed = talk.link.wait_for_state(CLOSED).await;
        closed.map_err(|why| format!("tail {tail}: {why}"))?;
    }
    Ok("three tails".into())
}

/// Lies as the consumer: more than was written, and moving back.
pub(crate) async fn consumer_index(scene: &Scene) -> Outcome {
    for head in [1 << 40, u64::MAX, 1] {
        let mut talk = scene.talk().await?;
        let mut offset = 100;
        // By then the victim has checked for room, and knows the head.
        for _ in 0..10 {
            talk.write(&pattern(offset, 4000)).await?;
            talk.expect_echo(offset, 4000).await?;
            offset += 4000;
        }
        let deadline = time::now() + PATIENCE;
        while talk.link.peer_state() != CLOSED {
            if time::now() >= deadline {
                return Err(format!("head {head} was borne"));
            }
            let theirs = &talk.theirs;
            theirs.end.place.store(&theirs.memory, HEAD, head);
            let (_, due) = talk.own.end.write(&talk.own.memory, &[1; 2000]);
            if due {
                talk.link.ring_data(talk.own.number);
            }
            talk.link.ring_space(talk.theirs.number);
            talk.link.event().await;
        }
    }
    Ok("three heads".into())
}

/// Overwrites both rings of a connection, headers and data.
pub(crate) async fn scribble(scene: &Scene) -> Outcome {
    for byte in [0xff, 0x00, 0x5a] {
        let talk = scene.talk().await?;
        talk.own.scribble(byte);
        talk.theirs.scribble(byte);
        talk.link.ring_data(talk.own.number);
        talk.link.ring_space(talk.theirs.number);
        let closed = talk.link.wait_for_state(CLOSED).await;
        closed.map_err(|why| format!("byte {byte:#x}: {why}"))?;
    }
    Ok("three times".into())
}

/// Offers rings that cannot be mapped, and more of them than there is room for. The link stays.
pub(crate) async fn references(scene: &Scene) -> Outcome {
    const RINGS: u16 = 64;
    let mut stream = scene.connect().await?;
    let mut link = scene.link().await?;
    let ends = ends(&stream);
    for (number, wrong) in (100..).zip([0, 8, 511, u32::MAX]) {
        link.post(&wire::ring(number, 2, &[wrong; 5])).await?;
    }
    link.post(&wire::switch(100, ends, 0)).await?;
    let answer = link.expect(CONFIRM).await?;
    let reason = u16_at(&answer, 2);
    if reason != Some(UNMAPPED) {
        return Err(format!(
            "a ring that cannot be mapped was answered by {reason:?}"
        ));
    }
    // One page, as many times as possible.
    let page = GrantedRegion::new(link.domid, 1).map_err(|error| format!("{error}"))?;
    let references = page.references().map_err(|error| format!("{error}"))?;
    for number in 0..RINGS {
        let all = vec![references[0]; 257];
        link.post(&wire::ring(number, 8, &all)).await?;
    }
    // The connection itself is unchanged; the victim's ring is refused.
    send(&mut stream, 0, 2000).await?;
    let theirs = link.expect(SWITCH).await?;
    let (number, base) = (u16_at(&theirs, 0), u64_at(&theirs, 44));
    let (number, base) = number.zip(base).ok_or("their SWITCH is short")?;
    link.post(&wire::confirm(number, UNMAPPED, base)).await?;
    receive(&mut stream, 0, 2000).await?;
    link.set_state(CLOSED);
    link.wait_for_state(CLOSED).await?;
    Ok(format!("4 rings of nothing, {RINGS} of 1 MiB"))
}

/// Sends impossible offsets: a confirmation beyond the tail, a switch to what was already read.
pub(crate) async fn offsets(scene: &Scene) -> Outcome {
    let mut talk = scene.talk().await?;
    let beyond = wire::confirm(talk.theirs.number, 0, 1 << 50);
    talk.link.offend(&beyond).await?;
    drop(talk);

    let mut talk = scene.talk().await?;
    let unread = message(wire::DONE, &[0xff; 12]);
    talk.link.offend(&unread).await?;
    drop(talk);

    // Back to before the bytes that the ring has carried.
    let mut talk = scene.talk().await?;
    let ring = offer(&mut talk.link, 1, 10).await?;
    let back = wire::switch(1, ends(&talk.stream), 10);
    talk.link.offend(&back).await?;
    drop((talk, ring));

    // A second switch to the ring in use.
    let mut talk = scene.talk().await?;
    let again = wire::switch(0, ends(&talk.stream), 100);
    talk.link.offend(&again).await?;
    drop(talk);

    // A switch at a point that TCP never reaches: only this connection waits.
    let stream = scene.connect().await?;
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 1 << 60).await?;
    link.post(&wire::switch(0, ends(&stream), 1 << 60)).await?;
    time::sleep(Duration::from_millis(200)).await;
    link.set_state(CLOSED);
    link.wait_for_state(CLOSED).await?;
    drop((stream, ring));
    Ok("confirmed beyond, done elsewhere, switched back, twice, and nowhere".into())
}

/// Writes and never reads: only the echo comes to a stop.
pub(crate) async fn stall(scene: &Scene) -> Outcome {
    let mut talk = scene.talk().await?;
    let bytes = pattern(100, 256 * 1024);
    if time::timeout(FULL, talk.write(&bytes)).await.is_ok() {
        return Err("the victim takes bytes without end".into());
    }
    let state = talk.link.peer_state();
    if state != OPEN {
        return Err(format!("the victim's state is {state}"));
    }
    core::mem::forget(talk);
    Ok("the connection is full".into())
}
