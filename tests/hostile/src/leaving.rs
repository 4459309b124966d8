//! The ends of a link: an orderly one, by a peer that keeps its mappings, by a peer that dies.

use alloc::format;
use core::time::Duration;

use kernel::power::{self, Reason};
use kernel::time;

use crate::link::{CLOSED, PATIENCE};
use crate::talk::{Talk, pattern, receive, send};
use crate::wire::{self, CONFIRM, LEAVE, message, u16_at, u64_at};
use crate::{Outcome, Scene};

/// LEAVE: shutting down.
const SHUTTING_DOWN: u16 = 1;

/// The reason of a CONFIRM before a LEAVE.
const LEAVING: u16 = 5;

/// Longer than the victim waits for its pages to be unmapped.
const GIVEN_UP: Duration = Duration::from_millis(1500);

/// No attack: everything follows docs/protocol.md, from HELLO to LEAVE, and TCP after it.
pub(crate) async fn honest(scene: &Scene) -> Outcome {
    const CHUNK: usize = 4000;
    let mut talk = scene.talk().await?;
    let mut offset = 100;
    for _ in 0..50 {
        talk.write(&pattern(offset, CHUNK)).await?;
        talk.expect_echo(offset, CHUNK).await?;
        offset += CHUNK as u64;
    }
    let Talk {
        mut link,
        mut stream,
        own,
        theirs,
    } = talk;
    let head = theirs.end.head;
    link.post(&wire::confirm(theirs.number, LEAVING, head))
        .await?;
    link.post(&wire::leave(SHUTTING_DOWN)).await?;
    let confirmed = link.expect(CONFIRM).await?;
    if u16_at(&confirmed, 0) != Some(own.number) || u64_at(&confirmed, 4) != Some(own.end.tail) {
        return Err(format!("at {} they confirmed {confirmed:?}", own.end.tail));
    }
    let answer = link.expect(LEAVE).await?;
    if u16_at(&answer, 0) != Some(4) {
        return Err(format!("LEAVE was answered by {answer:?}"));
    }
    drop(theirs);
    link.set_state(CLOSED);
    link.wait_for_state(CLOSED).await?;
    drop((link, own));
    send(&mut stream, offset, 3000).await?;
    receive(&mut stream, offset, 3000).await?;
    offset += 3000;
    let closed = time::timeout(PATIENCE, stream.close()).await;
    match closed {
        Ok(Ok(())) => Ok(format!("{offset} bytes by rings and TCP")),
        other => Err(format!("closing: {other:?}")),
    }
}

/// Ends links by an offence and by LEAVE, and unmaps nothing.
pub(crate) async fn never_unmap(scene: &Scene) -> Outcome {
    for _ in 0..2 {
        let mut talk = scene.talk().await?;
        talk.link.offend(&message(200, &[])).await?;
        core::mem::forget(talk);
    }
    let mut talk = scene.talk().await?;
    talk.link.post(&wire::leave(SHUTTING_DOWN)).await?;
    talk.link.wait_for_state(CLOSED).await?;
    core::mem::forget(talk);
    time::sleep(GIVEN_UP).await;
    Ok("three links are kept mapped".into())
}

/// Crashes with bytes in transit in both directions.
pub(crate) async fn die(scene: &Scene) -> Outcome {
    let mut talk = scene.talk().await?;
    talk.write(&pattern(100, 10_000)).await?;
    // In virtual as in real time, the victim is in the middle of its echo.
    log::info!("hostile: done die: now");
    power::stop(Reason::Crash)
}
