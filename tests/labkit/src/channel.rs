//! What a guest reports about its channel when `status` is typed on its console.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use vmc::Cause;

use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::lines;

/// The channel's lines of one answer.
#[derive(Clone, Debug)]
pub struct ChannelStatus(Vec<String>);

/// The rings that a guest's connections use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// Pages that peers own.
    pub foreign: u64,
    /// The pfns of pages that the guest owns: first and last of each run.
    pub own: Vec<(u64, u64)>,
}

impl Rings {
    /// Reads `N pages of peers', own pfns A-B,C,…` or `… own pfns none`.
    fn parse(text: &str) -> Option<Self> {
        let (foreign, own) = text.split_once(" pages of peers', own pfns ")?;
        let piece = |piece: &str| {
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            let pfn = |text| u64::from_str_radix(text, 16).ok();
            Some((pfn(first)?, pfn(last)?))
        };
        let own = match own.trim() {
            "none" | "" => Some(Vec::new()),
            pieces => pieces.split(',').map(piece).collect(),
        };
        Some(Self {
            foreign: foreign.trim().parse().ok()?,
            own: own?,
        })
    }

    /// Returns how many pages the guest owns.
    pub fn own_pages(&self) -> u64 {
        self.own.iter().map(|(first, last)| last + 1 - first).sum()
    }
}

impl ChannelStatus {
    /// Types `status` on the console of `domain` and reads the answer.
    pub fn of(domain: &Domain) -> Result<Self> {
        let console = domain.console();
        let asked = console.end();
        domain.type_line("status")?;
        console.wait_since(asked, &lines::STATUS_MEMORY, Deadline::seconds(15))?;
        // The channel's lines may follow the last of the others.
        std::thread::sleep(std::time::Duration::from_millis(100));
        Ok(Self::read(&console.since(asked, false).0))
    }

    /// Reads the last answer in `console`.
    fn read(console: &str) -> Self {
        let start = console.rfind(lines::STATUS_LINK.text).unwrap_or(0);
        let lines = console[start..].lines().filter_map(|line| {
            let own = line
                .split_once(lines::STATUS_CHANNEL.text)
                .map(|(_, text)| text);
            let text = own.or_else(|| line.find(lines::RINGS.text).map(|at| &line[at..]))?;
            Some(text.trim_end().to_owned())
        });
        Self(lines.collect())
    }

    /// Returns the number after `name` in the line that begins with `line`.
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

    /// Returns a figure of the whole channel: `upgrades`, `granted`, `quarantined` …
    pub fn of_all(&self, name: &str) -> Result<u64> {
        self.number("links", name)
    }

    /// Returns how many datagrams came that meant something.
    pub fn of_datagrams(&self) -> Result<u64> {
        self.number("ends", "datagrams")
    }

    /// Returns the rings in use; `None` if the guest does not report them.
    pub fn rings(&self) -> Result<Option<Rings>> {
        let line = self
            .0
            .iter()
            .find_map(|line| line.strip_prefix(lines::RINGS.text));
        let read = |line| Rings::parse(line).with_context(|| format!("rings: {line:?}"));
        line.map(read).transpose()
    }

    /// Returns how many of the connections listed, to this address of a peer or from it, use rings
    /// both ways now.
    pub fn on_rings(&self, peer: IpAddr) -> usize {
        let of_peer = |line: &&String| {
            let ends = line
                .strip_prefix("conn ")
                .and_then(|line| line.split_once(" to "));
            let remote = ends.and_then(|(_, rest)| rest.split_once(": "));
            let remote = remote.and_then(|(remote, _)| remote.parse().ok());
            remote.is_some_and(|remote: SocketAddr| remote.ip() == peer)
        };
        let conns = self.0.iter().filter(of_peer);
        conns
            .filter(|line| line.matches("now ring").count() == 2)
            .count()
    }

    /// Returns how many links ended because of `cause`.
    pub fn ended(&self, cause: Cause) -> Result<u64> {
        self.number("ends", &format!("{cause:?}"))
    }

    /// Returns a figure of the link with `peer`; 0 if there is no link.
    pub fn of_peer(&self, peer: Ipv4Addr, name: &str) -> Result<u64> {
        if self.has_link(peer) {
            self.number(&format!("peer {peer} "), name)
        } else {
            Ok(0)
        }
    }

    /// Whether there is a link with `peer`.
    pub fn has_link(&self, peer: Ipv4Addr) -> bool {
        let begin = format!("peer {peer} ");
        self.0.iter().any(|line| line.starts_with(&begin))
    }
}

#[cfg(test)]
mod tests {
    use super::{ChannelStatus, Rings};
    use std::net::Ipv4Addr;
    use vmc::Cause;

    const CONSOLE: &str = "[ 1.0] INFO status: link rx 0\n\
        [ 1.0] INFO status: vmc links 1 upgrades 2\n\
        [ 2.0] INFO status: link rx 1\n\
        [ 2.0] INFO status: vmc links 3 upgrades 4 fallbacks 0; pages granted 9 mapped 0\n\
        [ 2.0] INFO status: vmc ends Left 1 PeerLeft 5; datagrams 2\n\
        [ 2.0] INFO status: vmc peer 10.0.0.3 domid 7 uuid x: bytes sent 100 received 50; frames \
        sent 1\n\
        [ 2.0] INFO status: memory 1 KiB\n";

    #[test]
    fn rings_in_use_are_read() {
        let status = ChannelStatus::read(CONSOLE);
        assert_eq!(status.rings().expect("as agreed"), None);
        for prefix in ["status: vmc ", "status: vmc: ", "vmc: "] {
            let read = |rest: &str| {
                let line = format!("[ 2.0] INFO {prefix}rings in use {rest}");
                ChannelStatus::read(&format!("{CONSOLE}{line}\n")).rings()
            };
            let told = read("66 pages of peers', own pfns a0-a3,1ff").expect("as agreed");
            let told = told.expect("told");
            assert_eq!((told.foreign, told.own_pages()), (66, 5));
            assert_eq!(told.own, [(0xa0, 0xa3), (0x1ff, 0x1ff)]);
            let none = read("0 pages of peers', own pfns none").expect("as agreed");
            assert_eq!(none, Some(Rings::default()));
            assert!(read("0 pages of peers', own pfns x").is_err());
        }
    }

    #[test]
    fn connections_on_rings_are_counted() {
        let conn = |ends: &str, out: &str, back: &str| {
            format!(
                "[ 2.0] INFO status: vmc conn {ends}: written 9 (4 to rings, now {out}) read 9 (4 \
                 from rings, now {back}) waits 0\n"
            )
        };
        let lines = [
            conn("10.0.0.2:49152 to 10.0.0.3:7", "ring", "ring"),
            conn("10.0.0.2:49153 to 10.0.0.3:7", "ring", "TCP"),
            conn("10.0.0.2:7 to 10.0.0.30:50000", "ring", "ring"),
            conn("[fd00::2]:7 to [fd00::3]:50000", "ring", "ring"),
            conn("[fd00::2]:8 to [fd00::3]:50001", "ring", "ring"),
        ];
        let status = ChannelStatus::read(&format!("{CONSOLE}{}", lines.concat()));
        let on_rings = |peer: &str| status.on_rings(peer.parse().expect("an address"));
        assert_eq!(
            ["10.0.0.3", "10.0.0.30", "fd00::3", "fd00::4"].map(on_rings),
            [1, 1, 2, 0]
        );
    }

    #[test]
    fn the_last_answer_is_read() {
        let status = ChannelStatus::read(CONSOLE);
        assert_eq!(status.of_all("links").expect("there"), 3);
        assert_eq!(status.of_all("granted").expect("there"), 9);
        assert_eq!(status.ended(Cause::PeerLeft).expect("there"), 5);
        let peer = Ipv4Addr::new(10, 0, 0, 3);
        assert_eq!(status.of_peer(peer, "bytes sent").expect("there"), 100);
        assert_eq!(status.of_peer(peer, "received").expect("there"), 50);
        let other = Ipv4Addr::new(10, 0, 0, 30);
        assert_eq!(status.of_peer(other, "received").expect("no link"), 0);
        assert!(status.of_all("wings").is_err());
    }
}
