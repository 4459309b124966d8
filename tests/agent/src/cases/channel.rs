//! Guests that share memory: their bytes go through it, and applications notice no difference.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};
use labkit::addresses::DOM0;
use labkit::bench::{Bench, end, flows, nothing_failed, well};
use labkit::channel::ChannelStatus;
use labkit::mail::sink::Sink;
use labkit::net::stream::{connect, echo};
use labkit::peer;
use labkit::survival::healthy;
use labkit::traffic::bench::kind_of;
use labkit::{Case, Cause, Deadline, Lab, Mode};

use super::mclient;

pub(super) const CASES: &[Case] = &[
    Case::new("channel_two_guests", 120, both_ways),
    Case::new("channel_many_connections", 120, many),
    Case::new("channel_mclient_relay", 150, mail),
    Case::new("channel_plain_peers", 120, plain),
    Case::new("channel_peer_destroyed", 120, destroyed),
];

/// The mode in which the guests have a channel.
pub(super) const MODE: Mode = Mode::Original;

/// The guests' memory in MiB.
pub(super) const MEMORY_MIB: u64 = 16;

/// Streams in both directions at once, each compared byte by byte. They must go through shared
/// memory: the channel counts them and the network device does not.
fn both_ways(lab: &Lab) -> Result<String> {
    const BYTES: u64 = 20_000_000;
    let mut a = Bench::boot(lab, 2, MEMORY_MIB, MODE.option())?;
    let mut b = Bench::boot(lab, 3, MEMORY_MIB, MODE.option())?;
    a.acquaint(&b)?;
    let device = a.order("counters")?.number("tx_bytes")?;
    let (to_a, to_b) = (a.guest.port(7), b.guest.port(7));
    let orders = [
        a.begin(format!("verify {to_b} 16384 {BYTES} 0")),
        b.begin(format!("verify {to_a} 777 {BYTES} 0")),
    ];
    for order in orders {
        end(order)?;
    }
    let device = a.order("counters")?.number("tx_bytes")? - device;
    // A writes its own stream and the echo of B's.
    for (bench, peer) in [(&a, b.guest.ip()), (&b, a.guest.ip())] {
        let status = bench.status()?;
        let (sent, got) = (
            status.of_peer(peer, "bytes sent")?,
            status.of_peer(peer, "received")?,
        );
        if sent < 2 * BYTES * 9 / 10 || got < 2 * BYTES * 9 / 10 {
            bail!("rings carried {sent} and {got} bytes of {}", 2 * BYTES);
        }
        nothing_failed(&status)?;
    }
    if device > BYTES / 10 {
        bail!("the network device has sent {device} bytes meanwhile");
    }
    b.order("counters")?;
    well(&[&a, &b])?;
    Ok(format!(
        "{BYTES} bytes each way twice, compared; the device sent {device} bytes"
    ))
}

/// Many connections at once that come and go, and one that is refused.
fn many(lab: &Lab) -> Result<String> {
    let mut a = Bench::boot(lab, 2, MEMORY_MIB, MODE.option())?;
    let b = Bench::boot(lab, 3, MEMORY_MIB, MODE.option())?;
    a.acquaint(&b)?;
    let before = a.order("counters")?.number("grants")?;
    let (echo, discard) = (b.guest.port(7), b.guest.port(9));
    let orders: Vec<_> = (0..8_u64)
        .map(|number| {
            let write = 1 << (number * 2);
            a.begin(format!("verify {echo} {write} {} 0", 50_000 << number))
        })
        .collect();
    for _ in 0..4 {
        a.order(&format!("connect {echo} 25"))?;
        a.order(&format!("stream {discard} 4096 300000"))?;
    }
    let refused = SocketAddr::new(IpAddr::V4(b.guest.ip()), 4);
    match a.order(&format!("connect {refused} 1")) {
        Err(error) if kind_of(&error) == Some("refused") => {}
        other => bail!("a closed port: {other:?}"),
    }
    for order in orders {
        end(order)?;
    }
    nothing_failed(&a.status()?)?;
    nothing_failed(&b.status()?)?;
    let after = a.order("counters")?.number("grants")?;
    well(&[&a, &b])?;
    Ok(format!(
        "8 streams and 104 connections beside them; grants {before}, then {after}"
    ))
}

fn mail(lab: &Lab) -> Result<String> {
    const USERS: u64 = 3;
    const BYTES: usize = 300_001;
    let sink = Sink::start(&[])?;
    let relay = lab.relay(2, MEMORY_MIB, MODE.option());
    let domain = relay.start_ready()?;
    let client = mclient::client(lab, &relay, 3, USERS, BYTES, MODE.option());
    let told = mclient::run(&client, &sink, USERS, BYTES)?;
    healthy(&domain)?;
    // The client has left and its link with it; the sums remain.
    let status = ChannelStatus::of(&domain)?;
    let upgrades = status.of_all("upgrades")?;
    if status.of_all("links")? == 0 || upgrades == 0 {
        bail!("the mails did not go through shared memory: {status:?}");
    }
    nothing_failed(&status)?;
    Ok(format!("{told}; {upgrades} upgrades at the relay"))
}

/// Peers without a channel get TCP: dom0, and a guest with `vmc=off`.
fn plain(lab: &Lab) -> Result<String> {
    peer::serve(IpAddr::V4(DOM0))?;
    let mut a = Bench::boot(lab, 2, MEMORY_MIB, MODE.option())?;
    let b = Bench::boot(lab, 3, MEMORY_MIB, Mode::Off.option())?;
    let deadline = Deadline::seconds(60);
    echo(
        connect(a.guest.port(7), deadline)?,
        4_000_000,
        lab.seed()?,
        deadline,
    )?;
    let dom0 = SocketAddr::new(IpAddr::V4(DOM0), peer::ECHO);
    for server in [dom0, b.guest.port(7)] {
        a.order(&format!("verify {server} 4096 4000000 0"))?;
        a.order(&format!("connect {server} 10"))?;
    }
    let status = a.status()?;
    if status.of_all("links")? != 0 || status.of_all("upgrades")? != 0 {
        bail!("there is a channel with somebody: {status:?}");
    }
    let (granted, retiring) = (status.of_all("granted")?, status.of_all("retiring")?);
    if granted != 0 || retiring != 0 {
        bail!("{granted} pages granted, {retiring} regions to be given back");
    }
    well(&[&a, &b])?;
    Ok("dom0 and a guest with vmc=off, every byte compared".into())
}

/// A peer that is destroyed in mid-transfer takes only its own connection with it.
fn destroyed(lab: &Lab) -> Result<String> {
    let mut a = Bench::boot(lab, 2, MEMORY_MIB, MODE.option())?;
    let b = Bench::boot(lab, 3, MEMORY_MIB, MODE.option())?;
    let c = Bench::boot(lab, 4, MEMORY_MIB, MODE.option())?;
    a.acquaint(&c)?;
    a.acquaint(&b)?;
    let (to_b, to_c) = (b.guest.port(7), c.guest.port(7));
    let lives = a.begin(format!("verify {to_c} 4096 1000000000 1000"));
    let dies = a.begin(format!("verify {to_b} 4096 1000000000 1000"));
    flows(&mut a.control)?;
    drop(b);
    let start = std::time::Instant::now();
    match end(dies) {
        Err(error) if kind_of(&error) == Some("stream") => {}
        other => bail!("the stream to a guest that is gone: {other:?}"),
    }
    let noticed = start.elapsed();
    flows(&mut a.control)?;
    let status = a.status()?;
    if status.ended(Cause::Gone)? != 1 {
        bail!("not one link ended because its peer was gone: {status:?}");
    }
    for name in ["retiring", "quarantined"] {
        let left = status.of_all(name)?;
        if left != 0 {
            bail!("{left} {name}: {status:?}");
        }
    }
    a.order("stop")?;
    end(lives)?;
    a.order(&format!("verify {to_c} 4096 1000000 0"))?;
    well(&[&a, &c])?;
    Ok(format!(
        "its connection ended after {} ms, the other went on",
        noticed.as_millis()
    ))
}
