//! Makes the victim keep pages and state, and never gives anything back.

use alloc::format;
use alloc::vec::Vec;

use kernel::grant::{Access, Mapping};

use crate::link::{CLOSED, FROZEN};
use crate::talk::{Talk, pattern};
use crate::wire::{self, GRANTED, RELEASED, RETIRE, message, u16_at, u32_at};
use crate::{Outcome, Scene};

/// Data pages of a ring that is asked for, as a power of two.
const LOG2: u8 = 2;

/// The most rings that [`quota`] may get: 5 pages each.
const RINGS: usize = 600;

/// Asks for a ring, maps and retires it, and asks for another, until the victim grants none. Keeps
/// all mapped, and the link.
pub(crate) async fn quota(scene: &Scene) -> Outcome {
    let mut link = scene.link().await?;
    let mut kept = Vec::new();
    while kept.len() < RINGS {
        // The numbers of rings are free again each time.
        let number = (kept.len() % 16) as u16;
        link.post(&wire::ask(number, LOG2)).await?;
        let granted = link.expect(GRANTED).await?;
        if u16_at(&granted, 0) != Some(number) {
            return Err(format!("ASK for {number} was answered by {granted:?}"));
        }
        let references: Vec<u32> = (4..granted.len())
            .step_by(4)
            .filter_map(|at| u32_at(&granted, at))
            .collect();
        if references.is_empty() {
            break;
        }
        let mapping = Mapping::new(link.domid, &references, Access::ReadWrite);
        kept.push(mapping.map_err(|error| format!("a granted ring: {error}"))?);
        link.post(&message(RETIRE, &number.to_le_bytes())).await?;
        let released = link.expect(RELEASED).await?;
        if u16_at(&released, 0) != Some(number) {
            return Err(format!("RETIRE of {number} was answered by {released:?}"));
        }
    }
    let rings = kept.len();
    if rings == RINGS {
        return Err("the victim grants pages without end".into());
    }
    core::mem::forget((link, kept));
    Ok(format!("{rings} rings were granted"))
}

/// Freezes link after link with bytes of a connection on it, and never resumes. Every other
/// connection ends.
pub(crate) async fn freezes(scene: &Scene) -> Outcome {
    const ROUNDS: usize = 68;
    let addresses = scene.victims().into_iter().cycle();
    for (round, at) in addresses.take(ROUNDS).enumerate() {
        let mut talk = scene.talk_at(at).await?;
        talk.write(&pattern(100, 3000)).await?;
        talk.link.set_state(FROZEN);
        talk.link.wait_for_state(CLOSED).await?;
        let Talk { link, stream, .. } = talk;
        drop(link);
        if round % 2 == 0 {
            stream.abort();
        } else {
            core::mem::forget(stream);
        }
    }
    // One that is new goes on all the same.
    let mut talk = scene.talk().await?;
    talk.write(&pattern(100, 3000)).await?;
    talk.expect_echo(100, 3000).await?;
    talk.link.set_state(CLOSED);
    Ok(format!("{ROUNDS} times"))
}
