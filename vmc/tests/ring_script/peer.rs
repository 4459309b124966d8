//! What the peer does, honest or not.

use super::Script;
use super::watched::Watched;

/// Runs one step of the peer. `mine` is what its index should be, `most` how
/// far it may advance.
pub(crate) fn step(memory: &Watched, op: u8, mine: u64, most: u64, script: &mut Script<'_>) {
    let half = memory.peers();
    match op {
        // By the rules, so that a script makes progress.
        7 | 8 => {
            let count = u64::from(script.byte()).min(most);
            memory.put(half, mine.wrapping_add(count));
        }
        // An index that is almost right.
        9 => memory.put(half, mine.wrapping_add(script.near())),
        // Any value in any word of the header.
        10 => {
            let field = usize::from(script.byte() % 32) * 8;
            memory.put(field, script.word());
        }
        11 => memory.put(half + 0x08, u64::from(script.byte())),
        // The index that it wants to be told of, near its own.
        12 => memory.put(half + 0x10, mine.wrapping_add(script.near())),
        13 => {
            let at = usize::from(script.byte()) * 3;
            let len = usize::from(script.byte() % 32);
            let bytes: Vec<u8> = (0..len).map(|_| script.byte()).collect();
            memory.scribble(at, &bytes);
        }
        // A store in the middle of what the victim does next.
        14 => memory.strike(script.byte() % 8, half, mine.wrapping_add(script.near())),
        _ => memory.strike(script.byte() % 8, half + 0x08, u64::from(script.byte())),
    }
}
