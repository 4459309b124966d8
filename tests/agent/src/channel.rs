//! What a guest says about its channel, asked for with `status` on its console.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::deadline::Deadline;
use crate::domain::Domain;

/// The first and the last line of the guest's answer that are waited for.
const FIRST: &str = "status: link ";
const LAST: &str = "status: memory ";
const OWN: &str = "status: vmc ";

/// One answer's lines about the channel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelStatus(Vec<String>);

impl ChannelStatus {
    /// Asks `domain`.
    pub(crate) fn of(domain: &Domain) -> Result<Self> {
        let console = domain.console();
        let asked = console.text().matches(LAST).count();
        domain.type_line("status")?;
        let deadline = Deadline::seconds(15);
        console.wait_for_times(LAST, asked + 1, deadline)?;
        // The channel's lines may come behind the last of the others.
        std::thread::sleep(std::time::Duration::from_millis(100));
        Ok(Self::read(&console.text()))
    }

    /// The lines of the last answer in `console`.
    fn read(console: &str) -> Self {
        let start = console.rfind(FIRST).unwrap_or(0);
        let lines = console[start..]
            .lines()
            .filter_map(|line| Some(line.split_once(OWN)?.1.trim_end().to_owned()));
        Self(lines.collect())
    }

    /// The number behind `name` in the line that begins with `line`.
    fn number(&self, line: &str, name: &str) -> Result<u64> {
        let text = self.0.iter().find(|text| text.starts_with(line));
        let text = text.with_context(|| format!("no line {line:?} among {:?}", self.0))?;
        let padded = format!(" {text}");
        let (_, rest) = padded
            .split_once(&format!(" {name} "))
            .with_context(|| format!("no {name:?} in {text:?}"))?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits
            .and_then(|digits| digits.parse().ok())
            .with_context(|| format!("no number behind {name:?} in {text:?}"))
    }

    /// A figure of the whole channel: `upgrades`, `granted`, `quarantined` …
    pub(crate) fn of_all(&self, name: &str) -> Result<u64> {
        self.number("links", name)
    }

    /// Links that ended because of `cause`.
    pub(crate) fn ended(&self, cause: &str) -> Result<u64> {
        self.number("ends", cause)
    }

    /// A figure of the link with `peer`; 0 where there is no link.
    pub(crate) fn of_peer(&self, peer: Ipv4Addr, name: &str) -> Result<u64> {
        if self.has_link(peer) {
            self.number(&format!("peer {peer} "), name)
        } else {
            Ok(0)
        }
    }

    /// Whether there is a link with `peer`.
    pub(crate) fn has_link(&self, peer: Ipv4Addr) -> bool {
        let begin = format!("peer {peer} ");
        self.0.iter().any(|line| line.starts_with(&begin))
    }
}

#[cfg(test)]
mod tests {
    use super::ChannelStatus;
    use std::net::Ipv4Addr;

    const CONSOLE: &str = "[ 1.0] INFO status: link rx 0\n\
        [ 1.0] INFO status: vmc links 1 upgrades 2\n\
        [ 2.0] INFO status: link rx 1\n\
        [ 2.0] INFO status: vmc links 3 upgrades 4 fallbacks 0; pages granted 9 mapped 0\n\
        [ 2.0] INFO status: vmc ends Left 1 PeerLeft 5; datagrams 2\n\
        [ 2.0] INFO status: vmc peer 10.0.0.3 domid 7 uuid x: bytes sent 100 received 50; frames \
        sent 1\n\
        [ 2.0] INFO status: memory 1 KiB\n";

    #[test]
    fn the_last_answer_is_read() {
        let status = ChannelStatus::read(CONSOLE);
        assert_eq!(status.of_all("links").expect("there"), 3);
        assert_eq!(status.of_all("granted").expect("there"), 9);
        assert_eq!(status.ended("PeerLeft").expect("there"), 5);
        let peer = Ipv4Addr::new(10, 0, 0, 3);
        assert_eq!(status.of_peer(peer, "bytes sent").expect("there"), 100);
        assert_eq!(status.of_peer(peer, "received").expect("there"), 50);
        let other = Ipv4Addr::new(10, 0, 0, 30);
        assert_eq!(status.of_peer(other, "received").expect("no link"), 0);
        assert!(status.of_all("wings").is_err());
    }
}
