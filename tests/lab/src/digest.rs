//! Short names for the inputs of a build.

use sha2::{Digest, Sha256};

/// Returns 16 hexadecimal digits that change if any of `texts` does.
pub(crate) fn short_digest<'a>(texts: impl Iterator<Item = &'a &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        // The length first: otherwise "ab", "c" and "a", "bc" would be the same.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::short_digest;

    #[test]
    fn borders_between_texts_count() {
        let digest = |texts: &'static [&'static str]| short_digest(texts.iter());
        assert_eq!(digest(&["ab", "c"]).len(), 16);
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
