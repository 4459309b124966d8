//! Packets with wrong checksums must not reach an application. Each check first shows that the same
//! packet with the correct checksum does.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::addresses::DOM0;
use labkit::net::frame::{
    self, ICMP, IPV4, IPV4_BYTES, Link, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM, ethernet, icmp_echo,
    ipv4, udp,
};
use labkit::net::parse;
use labkit::net::raw::{self, Raw};
use labkit::net::stream::{connect, echo_once};
use labkit::{Case, Deadline, Guest, Lab};

pub(super) const CASES: &[Case] = &[Case::new("bad_checksums", 90, checksums)];

/// How long to watch for an answer that must not come; others come within milliseconds.
const SILENCE: Duration = Duration::from_millis(700);

fn checksums(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let raw = Raw::open(&domain.vif()?)?;
    let link = raw::link_to(guest.number())?;
    let wire = Wire { raw, link, guest };
    wire.udp().context("UDP")?;
    wire.icmp().context("ICMP")?;
    wire.tcp().context("TCP")?;
    domain.running()?;
    Ok("UDP, ICMP, TCP and IPv4 header: right ones arrive, wrong ones do not".into())
}

struct Wire {
    raw: Raw,
    link: Link,
    guest: Guest,
}

impl Wire {
    fn send(&self, packet: &[u8]) -> Result<()> {
        let frame = ethernet(self.link, IPV4, packet);
        match self.raw.send(&frame, Deadline::seconds(5))? {
            true => Ok(()),
            false => bail!("the kernel refuses a frame of {} bytes", frame.len()),
        }
    }

    /// Builds a packet from dom0 to the guest, with one byte changed.
    fn packet(&self, protocol: u8, body: &[u8], flip: Option<usize>) -> Vec<u8> {
        let mut packet = ipv4(DOM0, self.guest.ip(), protocol, 0, body);
        if let Some(at) = flip {
            packet[at] ^= 0x41;
        }
        packet
    }

    fn udp(&self) -> Result<()> {
        let socket = UdpSocket::bind((DOM0, 0)).context("a local port")?;
        let from = (DOM0, socket.local_addr()?.port());
        let datagram = udp(from, (self.guest.ip(), 7), b"by hand");
        let answered = |wait: Duration| -> Result<bool> {
            socket.set_read_timeout(Some(wait))?;
            Ok(socket.recv(&mut [0; 100]).is_ok())
        };
        self.send(&self.packet(UDP, &datagram, None))?;
        if !answered(Duration::from_secs(5))? {
            bail!("no echo of a correct datagram");
        }
        // The checksum itself, the data, and the IP header's checksum.
        for flip in [IPV4_BYTES + UDP_CHECKSUM, IPV4_BYTES + 9, 10] {
            for _ in 0..5 {
                self.send(&self.packet(UDP, &datagram, Some(flip)))?;
            }
            if answered(SILENCE)? {
                bail!("a datagram with byte {flip} changed was echoed");
            }
        }
        // RFC 768: a checksum of zero means that there is none.
        let mut bare = datagram.clone();
        bare[UDP_CHECKSUM..UDP_CHECKSUM + 2].fill(0);
        self.send(&self.packet(UDP, &bare, None))?;
        if !answered(Duration::from_secs(5))? {
            bail!("no echo of a datagram without a checksum");
        }
        Ok(())
    }

    fn icmp(&self) -> Result<()> {
        let request = icmp_echo(b"checksum");
        let answered = |wait: Duration| {
            self.raw.find(Deadline::after(wait), |seen| {
                let (from, data) = parse::echo_reply(seen)?;
                (from == self.guest.ip() && data.ends_with(b"checksum")).then_some(())
            })
        };
        self.send(&self.packet(ICMP, &request, None))?;
        if answered(Duration::from_secs(5))?.is_none() {
            bail!("no reply to a correct request");
        }
        for flip in [IPV4_BYTES + 2, 10] {
            self.send(&self.packet(ICMP, &request, Some(flip)))?;
            if answered(SILENCE)?.is_some() {
                bail!("a reply to a request with byte {flip} changed");
            }
        }
        Ok(())
    }

    fn tcp(&self) -> Result<()> {
        let mut stream = connect(self.guest.port(7), Deadline::seconds(40))?;
        for flip in [IPV4_BYTES + TCP_CHECKSUM, IPV4_BYTES + 21, 10] {
            let next = self.raw.next_segment(&mut stream)?;
            let segment = frame::tcp(DOM0, self.guest.ip(), next, &[], b"EVIL");
            for _ in 0..5 {
                self.send(&self.packet(TCP, &segment, Some(flip)))?;
            }
            if self.echoed(b"EVIL", SILENCE)? {
                bail!("a segment with byte {flip} changed was echoed");
            }
            echo_once(&mut stream, b"good").context("the connection afterwards")?;
        }
        // The unchanged segment is accepted. It comes last, because it puts dom0's own stack out of
        // step with the connection.
        let next = self.raw.next_segment(&mut stream)?;
        let segment = frame::tcp(DOM0, self.guest.ip(), next, &[], b"EVIL");
        self.send(&self.packet(TCP, &segment, None))?;
        if !self.echoed(b"EVIL", Duration::from_secs(5))? {
            bail!("a correct segment was not echoed: the check proves nothing");
        }
        Ok(())
    }

    fn echoed(&self, data: &[u8], wait: Duration) -> Result<bool> {
        let guest = self.guest.ip();
        let seen = self.raw.find(Deadline::after(wait), |frame| {
            let seen = parse::tcp(frame)?;
            (seen.from == (guest, 7) && seen.payload == data).then_some(())
        })?;
        Ok(seen.is_some())
    }
}
