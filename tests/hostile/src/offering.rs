//! Links that the victim offers: not proved, not opened, too many of them.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use kernel::time;

use crate::link::{CLOSED, Link, OPEN};
use crate::wire::{Answer, NO_ROOM};
use crate::{Outcome, Scene};

/// Longer than the victim waits for a proof.
const UNPROVED: Duration = Duration::from_millis(1500);

/// The most links that [`offers`] may be offered, and never opens: each has 9 pages.
const OFFERS: usize = 200;

/// Longer than the victim waits between two attempts to take a page back (10 s).
const GIVEN_BACK: Duration = Duration::from_secs(12);

/// Notifies without end on links that are mapped and not proved.
pub(crate) async fn unproved(scene: &Scene) -> Outcome {
    const ROUNDS: usize = 3;
    let mut sent = 0_u64;
    for _ in 0..ROUNDS {
        let hello = scene.hello();
        let welcome = scene.welcome(&hello).await?;
        let link = Link::map(&hello, &welcome)?;
        let end = time::now() + UNPROVED;
        while link.peer_state() != CLOSED {
            if time::now() >= end {
                return Err("the victim waits without end for a proof".into());
            }
            link.notify();
            sent += 1;
            // The victim has to run in between, or many notifications merge into one.
            if sent % 64 < 32 {
                time::sleep(Duration::from_nanos(1)).await;
            }
        }
    }
    let link = scene.link().await?;
    link.set_state(CLOSED);
    Ok(format!("{sent} notifications on {ROUNDS} links"))
}

/// Keeps each link that is offered, without opening it, until no more is offered; then gives all
/// back, and is offered one again.
pub(crate) async fn offers(scene: &Scene) -> Outcome {
    let mut kept = Vec::new();
    for at in scene.victims().into_iter().cycle().take(OFFERS) {
        let hello = scene.hello();
        match scene.greet_at(at, &hello).await? {
            Answer::Welcome(welcome) => kept.push(Link::map(&hello, &welcome)?),
            Answer::Refused(NO_ROOM) => break,
            other => return Err(format!("HELLO to {at} was answered by {other:?}")),
        }
    }
    let offers = kept.len();
    if offers == OFFERS {
        return Err("the victim offers pages without end".into());
    }
    drop(kept);
    let end = time::now() + GIVEN_BACK;
    while let Err(why) = scene.link().await {
        if time::now() >= end {
            return Err(format!("after everything was given back: {why}"));
        }
        time::sleep(Duration::from_millis(500)).await;
    }
    Ok(format!("{offers} links were offered"))
}

/// Takes a link from each address while none is proved, then proves one after the other: the first
/// opens and stays open, and each of the others is closed.
pub(crate) async fn crowd(scene: &Scene) -> Outcome {
    let mut links = Vec::new();
    for at in scene.victims() {
        let hello = scene.hello();
        let welcome = scene.welcome_at(at, &hello).await?;
        links.push((Link::map(&hello, &welcome)?, welcome.nonce_b));
    }
    let (first, others) = links.split_first().ok_or("the victim has no address")?;
    first.0.prove(&first.1);
    first.0.wait_for_state(OPEN).await?;
    for (other, nonce_b) in others {
        other.prove(nonce_b);
        other.wait_for_state(CLOSED).await?;
        let state = first.0.peer_state();
        if state != OPEN {
            return Err(format!("the link that stood is in state {state}"));
        }
    }
    first.0.set_state(CLOSED);
    Ok(format!("1 of {} links stays", links.len()))
}

/// Takes a place if there is one, and keeps it; else asks again and again.
pub(crate) async fn places(scene: &Scene) -> Outcome {
    const ATTEMPTS: usize = 40;
    for _ in 0..ATTEMPTS {
        let hello = scene.hello();
        match scene.greet(&hello).await? {
            Answer::Welcome(welcome) => {
                let link = Link::map(&hello, &welcome)?;
                link.prove(&welcome.nonce_b);
                link.wait_for_state(OPEN).await?;
                core::mem::forget(link);
                return Ok("linked".to_string());
            }
            Answer::Refused(NO_ROOM) => {}
            other => return Err(format!("HELLO was answered by {other:?}")),
        }
    }
    Ok(format!("refused {ATTEMPTS} times"))
}
