//! Thousands of hostile frames straight onto the guest's interface; the guest serves meanwhile and
//! afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use labkit::addresses::{self, DOM0};
use labkit::net::datagram;
use labkit::net::frame::{IPV4, SYN, Segment, TCP, ethernet, ipv4, tcp};
use labkit::net::junk::{Junk, Target};
use labkit::net::ping::ping;
use labkit::net::raw::{self, Raw};
use labkit::net::stream::{alive, connect, echo_once};
use labkit::process::run;
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("hostile_frames", 120, hostile),
    Case::new("syn_flood", 90, syn_flood),
];

/// How many frames are sent.
const FRAMES: u64 = 6000;

/// How many frames go out between two checks of the guest.
const BURST: u64 = 500;

/// An MTU above the guest's, so that oversized frames can be sent at all.
const LARGE_MTU: usize = 9000;

fn hostile(lab: &Lab) -> Result<String> {
    let probe = lab.echo(2, 16, "");
    let guest = lab.echo(2, 16, &format!("ip6={}/64", probe.ip6()));
    let domain = guest.start_ready()?;
    let vif = domain.vif()?;
    let deadline = Deadline::seconds(100);
    let mut stream = connect(guest.port(7), deadline)?;
    let raw = Raw::open(&vif)?;
    let next = raw.next_segment(&mut stream)?;
    let max_frame = enlarge(&vif)?;
    let target = Target {
        link: raw::link_to(guest.number())?,
        guest: guest.ip(),
        guest6: guest.ip6(),
        neighbour: DOM0,
        open_port: next.from,
        outside_window: next.seq.wrapping_add(1 << 30),
        max_frame,
    };

    let seed = lab.seed()?;
    let mut junk = Junk::new(target, seed);
    let before = delivered(&vif)?;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut refused = 0;
    for number in 1..=FRAMES {
        let (kind, frame) = junk.next_frame();
        if raw.send(&frame, deadline)? {
            *kinds.entry(kind).or_default() += 1;
        } else {
            refused += 1;
        }
        if number % 16 == 0 {
            // The guest's receive ring has 256 slots: frames that netback drops test nothing.
            std::thread::sleep(Duration::from_millis(2));
        }
        if number % BURST == 0 {
            let still = || format!("after {number} frames (seed {seed})");
            echo_once(&mut stream, b"still here").with_context(still)?;
        }
    }
    let sent = FRAMES - refused;
    let reached = delivered(&vif)? - before;
    if reached < sent * 9 / 10 {
        bail!("only {reached} of {sent} frames reached the guest: the test shows too little");
    }

    let replies = ping(IpAddr::V4(guest.ip()), 5, 200, 56)?.times_ms.len();
    if replies != 5 {
        bail!("{replies} of 5 ping replies afterwards (seed {seed})");
    }
    let replies = ping(IpAddr::V6(guest.ip6()), 5, 200, 56)?.times_ms.len();
    if replies == 0 {
        bail!("no ping reply over IPv6 afterwards (seed {seed})");
    }
    echo_once(&mut stream, b"and at the end").context("the connection opened before")?;
    alive(guest.port(7), Deadline::seconds(20))?;
    if !datagram::echo(&datagram::socket(guest.port(7))?, 500, seed)? {
        bail!("no UDP echo afterwards (seed {seed})");
    }
    domain.running()?;
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    Ok(format!(
        "{reached} frames of up to {max_frame} bytes reached the guest: {}",
        kinds.join(", ")
    ))
}

/// Raises the interface's MTU if netback allows it; returns the largest frame that fits.
fn enlarge(vif: &str) -> Result<usize> {
    let mtu = LARGE_MTU.to_string();
    let output = run(
        "ip",
        &["link", "set", "dev", vif, "mtu", &mtu],
        Duration::from_secs(10),
    )?;
    let mtu = if output.status.success() {
        LARGE_MTU
    } else {
        1500
    };
    Ok(mtu + 14)
}

/// Returns how many frames netback has handed to the guest (sysfs-class-net-statistics: tx_packets;
/// what the interface sends, the guest receives).
fn delivered(vif: &str) -> Result<u64> {
    let path = format!("/sys/class/net/{vif}/statistics/tx_packets");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    text.trim().parse().with_context(|| path)
}

/// Connection requests from hosts that do not exist must not block the port for long.
fn syn_flood(lab: &Lab) -> Result<String> {
    const REQUESTS: u16 = 300;
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let mut stream = connect(guest.port(7), Deadline::seconds(80))?;
    let raw = Raw::open(&domain.vif()?)?;
    let link = raw::link_to(guest.number())?;
    let deadline = Deadline::seconds(20);
    for number in 0..REQUESTS {
        let from = addresses::ipv4(200 + (number % 50) as u8);
        let segment = Segment {
            from: 10_000 + number,
            to: 7,
            seq: u32::from(number) << 16,
            ack: 0,
            flags: SYN,
            window: 1000,
        };
        let packet = ipv4(
            from,
            guest.ip(),
            TCP,
            0,
            &tcp(from, guest.ip(), segment, &[], &[]),
        );
        raw.send(&ethernet(link, IPV4, &packet), deadline)?;
        std::thread::sleep(Duration::from_millis(1));
    }
    echo_once(&mut stream, b"still here").context("the connection opened before")?;
    let start = Instant::now();
    Deadline::seconds(45).poll(Duration::from_millis(200), "a new connection", || {
        let attempt = alive(guest.port(7), Deadline::seconds(3));
        Ok(attempt.is_ok().then_some(()))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    domain.running()?;
    Ok(format!(
        "{REQUESTS} requests; a new connection {seconds:.1} s later"
    ))
}
