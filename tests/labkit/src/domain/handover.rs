//! What a guest reports about moving its connections to other memory, or to TCP, when one end
//! migrates: a line for each phase and link.

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::lines;

/// One phase of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handover {
    /// The link's peer.
    pub peer: Ipv4Addr,
    /// The phase's name.
    pub phase: String,
    /// The offset in the stream, or what the guest prints in its place.
    pub offset: String,
    /// Microseconds since the early notice.
    pub us: u64,
}

impl Handover {
    /// Reads every hand-over phase in `console`. A line that cannot be parsed is skipped: the trace
    /// explains figures and decides nothing.
    pub fn all(console: &str) -> Vec<Self> {
        console.lines().filter_map(Self::find).collect()
    }

    /// Reads `… handover: peer ADDRESS phase NAME offset N us T`.
    fn find(line: &str) -> Option<Self> {
        let (_, text) = line.split_once(lines::HANDOVER.text)?;
        let mut words = text.split_whitespace();
        let mut peer = None;
        let (mut phase, mut offset, mut us) = (None, None, None);
        peer.replace(words.next()?.parse().ok()?);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "phase" => phase = Some(value.to_owned()),
                "offset" => offset = Some(value.to_owned()),
                "us" => us = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self {
            peer: peer?,
            phase: phase?,
            offset: offset.unwrap_or_else(|| "-".to_owned()),
            us: us?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Handover;

    #[test]
    fn phases_are_read_and_other_lines_left_out() {
        let console = "[ 1.0] INFO handover: peer 10.0.0.3 phase notice offset 0 us 12\n\
            [ 1.1] INFO lifecycle: early notice\n\
            [ 1.2] INFO handover: peer 10.0.0.3 phase rehomed offset 70000 us 900\n\
            [ 1.3] INFO handover: peer nobody phase rehomed offset 1 us 2\n\
            [ 1.3] INFO handover: peer 10.0.0.3 phase frozen offset 3\n";
        let all = Handover::all(console);
        let told: Vec<_> = all
            .iter()
            .map(|one| (one.phase.as_str(), one.offset.as_str(), one.us))
            .collect();
        assert_eq!(told, [("notice", "0", 12), ("rehomed", "70000", 900)]);
        assert!(Handover::all("boot\n").is_empty());
    }
}
