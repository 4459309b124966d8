//! Guests that share memory and have several addresses, addresses that change, or a router between
//! them: a link joins two guests, whatever addresses they have.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use labkit::addresses::{DOM0, SECOND_BRIDGE, SECOND_ROUTER, ipv4, second_ipv4};
use labkit::bench::{Bench, end, flows, nothing_failed, well};
use labkit::channel::ChannelStatus;
use labkit::mail::body::Scratch;
use labkit::migration::{Options, migrate};
use labkit::net::router::Router;
use labkit::process::Process;
use labkit::traffic::bench::{Answer, CONTROL, Control};
use labkit::{Case, Deadline, Image, Lab, Witness, lines};

use super::names::dnsmasq;

pub(super) const CASES: &[Case] = &[
    Case::new("channel_dual_stack", 300, dual_stack).live(),
    Case::new("channel_router", 300, router).live(),
    Case::new("channel_dhcp_change", 240, dhcp_change),
];

/// The guests' memory in MiB.
const MEMORY_MIB: u64 = 16;

/// How long connections may take to use rings, also after a migration.
const RINGS: Duration = Duration::from_secs(90);

/// A stream under way, every byte of it compared.
type Stream = JoinHandle<Result<Answer>>;

/// Begins an endless stream from `bench` to the echo service at `to`. It is slow, because one CPU
/// serves everybody.
fn stream(bench: &Bench, to: impl Into<IpAddr>) -> Stream {
    let to = echo_at(to);
    bench.begin(format!("verify {to} 4096 1000000000000 2000"))
}

fn echo_at(address: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(address.into(), 7)
}

/// Waits until `count` connections of `bench` with `peer` use rings both ways.
fn on_rings(bench: &Bench, peer: impl Into<IpAddr>, count: usize) -> Result<ChannelStatus> {
    let peer = peer.into();
    let what = format!(
        "{count} connections of {} with {peer} on rings",
        bench.domain.name
    );
    Deadline::after(RINGS).poll(Duration::from_millis(200), &what, || {
        let status = bench.status()?;
        Ok((status.on_rings(peer) >= count).then_some(status))
    })
}

/// Waits for the line about a proved address of a peer.
fn met(bench: &Bench, peer: impl Into<IpAddr>) -> Result<()> {
    let line = lines::link_up(peer.into());
    let console = bench.domain.console();
    console.wait_for(&line, Deadline::seconds(20)).map(drop)
}

/// Ends streams; returns how many bytes were compared.
fn finish(benches: &mut [&mut Bench], streams: Vec<Stream>) -> Result<u64> {
    for bench in benches {
        bench.order("stop")?;
    }
    let mut bytes = 0;
    for stream in streams {
        bytes += end(stream)?.number("bytes")?;
    }
    Ok(bytes)
}

/// Linked by IPv4, with streams on rings; then a first contact by IPv6. One link, nothing reset,
/// nothing back on TCP. Then one of them migrates, and all streams come back to rings.
fn dual_stack(lab: &Lab) -> Result<String> {
    let mode = lab.mode()?.option();
    let boot = |number| {
        let ip6 = labkit::addresses::ipv6(number);
        Bench::boot(lab, number, MEMORY_MIB, &format!("{mode} ip6={ip6}/64"))
    };
    let (mut a, mut b) = (boot(2)?, boot(3)?);
    a.acquaint(&b)?;
    let (a4, a6) = (a.guest.ip(), a.guest.ip6());
    let (b4, b6) = (b.guest.ip(), b.guest.ip6());
    let mut streams = vec![stream(&a, b4), stream(&b, a4)];
    on_rings(&a, b4, 2)?;
    a.order(&format!("connect {} 1", echo_at(b6)))?;
    met(&a, b6)?;
    met(&b, a6)?;
    streams.extend([stream(&a, b6), stream(&b, a6)]);
    for (bench, four, six) in [(&mut a, b4, b6), (&mut b, a4, a6)] {
        on_rings(bench, six, 2)?;
        let status = on_rings(bench, four, 2)?;
        flows(&mut bench.control)?;
        nothing_failed(&status)?;
        let (links, fallbacks) = (status.of_all("links")?, status.of_all("fallbacks")?);
        ensure!(
            (links, fallbacks) == (1, 0),
            "{links} links, {fallbacks} fallbacks: {status:?}"
        );
    }
    let mut witness = Witness::of(&b.domain)?;
    migrate(&b.domain, &Options::default())?.expect_success()?;
    witness.moved()?;
    for (bench, four, six) in [(&mut a, b4, b6), (&mut b, a4, a6)] {
        on_rings(bench, four, 2).context("after the migration")?;
        on_rings(bench, six, 2).context("after the migration")?;
        flows(&mut bench.control)?;
    }
    let bytes = finish(&mut [&mut a, &mut b], streams)?;
    nothing_failed(&a.status()?)?;
    nothing_failed(&b.status()?)?;
    well(&[&a, &b])?;
    Ok(format!(
        "two streams of each family, {bytes} bytes compared, one link, one migration, 0 resets"
    ))
}

/// dom0 routes between two bridges, and answers for the other one where a guest takes both for one
/// network (proxy ARP). Whoever connects, and however often, connections and datagrams get through.
fn router(lab: &Lab) -> Result<String> {
    let _router = Router::start()?;
    let mode = lab.mode()?.option();
    let boot = |number, options: &str| {
        lab.guest_with(
            Image::Bench,
            number,
            MEMORY_MIB,
            &format!("{options} {mode}"),
        )
    };
    let (a4, b4, c4) = (ipv4(2), second_ipv4(3), ipv4(4));
    let mut a = Bench::start(boot(2, &format!("ip={a4}/24 gw={DOM0}")))?;
    let b = boot(3, &format!("ip={b4}/24 gw={SECOND_ROUTER}"));
    let mut b = Bench::start(b.moved_to(SECOND_BRIDGE, b4))?;
    a.acquaint(&b)?;
    met(&a, b4)?;
    met(&b, a4)?;
    again_and_again(&mut a, &mut b)?;

    let streams = vec![stream(&a, b4), stream(&b, a4)];
    on_rings(&a, b4, 2)?;
    let mut witness = Witness::of(&b.domain)?;
    migrate(&b.domain, &Options::default())?.expect_success()?;
    witness.moved()?;
    on_rings(&a, b4, 2).context("after the migration")?;
    on_rings(&b, a4, 2).context("after the migration")?;
    again_and_again(&mut a, &mut b).context("after the migration")?;
    let bytes = finish(&mut [&mut a, &mut b], streams)?;

    let mut c = Bench::start(boot(4, &format!("ip={c4}/16")))?;
    c.acquaint(&b)?;
    again_and_again(&mut b, &mut c).context("by proxy ARP")?;
    for bench in [&a, &b, &c] {
        nothing_failed(&bench.status()?)?;
    }
    well(&[&a, &b, &c])?;
    Ok(format!(
        "{bytes} bytes compared through a migration; two guests by a router and one by proxy ARP"
    ))
}

/// Connections, streams and datagrams each way, each way twice: those after the first connection
/// have a link beside them, which carries them.
fn again_and_again(a: &mut Bench, b: &mut Bench) -> Result<()> {
    const BYTES: u64 = 300_000;
    let (a4, b4) = (a.guest.ip(), b.guest.ip());
    let counts = |bench: &Bench, peer: Ipv4Addr| -> Result<[u64; 2]> {
        let status = bench.status()?;
        Ok([
            status.of_peer(peer, "bytes sent")?,
            status.of_peer(peer, "frames sent")?,
        ])
    };
    let before = [counts(a, b4)?, counts(b, a4)?];
    for round in 0..2 {
        for (bench, to) in [(&mut *a, b4), (&mut *b, a4)] {
            let to = echo_at(to);
            let mut orders = || -> Result<u64> {
                bench.order(&format!("connect {to} 3"))?;
                bench.order(&format!("verify {to} 4096 {BYTES} 0"))?;
                bench.order(&format!("udp {to} 700 5"))?.number("lost")
            };
            let lost = orders().with_context(|| format!("round {round}, to {to}"))?;
            ensure!(
                lost == 0,
                "round {round}: {lost} datagrams to {to} were lost"
            );
        }
    }
    for (bench, peer, before) in [(&*a, b4, before[0]), (&*b, a4, before[1])] {
        let [bytes, frames] = counts(bench, peer)?;
        // Its own two streams and the echo of the other's.
        let bytes = bytes - before[0];
        if bytes < 4 * BYTES * 9 / 10 || frames == before[1] {
            bail!(
                "{bytes} bytes by rings, {} frames to {peer}",
                frames - before[1]
            );
        }
    }
    Ok(())
}

/// A lease of one address, renewed every few seconds.
fn lease(leases: &Scratch, address: Ipv4Addr) -> Result<Process> {
    let range = format!("--dhcp-range={address},{address},255.255.255.0,2m");
    let options = [
        "--port=0",
        "--dhcp-authoritative",
        "--dhcp-option=option:T1,5",
    ];
    dnsmasq(leases, &[&options[..], &[&range]].concat())
}

/// A guest's lease changes under streams from a peer to its old address and to its IPv6 address.
/// The one to the other address stays on rings; new connections find the new address at once, and
/// rings for it.
fn dhcp_change(lab: &Lab) -> Result<String> {
    const NUMBER: u8 = 150;
    let new = ipv4(160);
    let mode = lab.mode()?.option();
    let leases = Scratch::new("leases");
    let server = lease(&leases, ipv4(NUMBER))?;
    let six = labkit::addresses::ipv6;
    let options = |number| format!("{mode} ip6={}/64", six(number));
    let mut a = Bench::boot(lab, 2, MEMORY_MIB, &options(2))?;
    let b = format!("ip=dhcp {}", options(NUMBER));
    let b = Bench::start(lab.guest_with(Image::Bench, NUMBER, MEMORY_MIB, &b))?;
    a.acquaint(&b)?;
    let to_six = stream(&a, b.guest.ip6());
    // It ends with TCP's time-out, which is not waited for.
    let _to_old = stream(&a, b.guest.ip());
    on_rings(&a, b.guest.ip6(), 1)?;
    on_rings(&a, b.guest.ip(), 1)?;

    drop(server);
    let leases = Scratch::new("leases");
    let mut server = lease(&leases, new)?;
    let leased = format!("{}{new}/", lines::LEASED.text);
    let console = b.domain.console();
    let changed = console.wait_for(&leased, Deadline::seconds(60));
    server.check_running()?;
    changed?;

    a.order(&format!("connect {} 3", echo_at(new)))?;
    met(&a, new)?;
    let status = a.status()?;
    ensure!(
        status.on_rings(b.guest.ip6().into()) == 1,
        "the stream to the other address is not on rings: {status:?}"
    );
    ensure!(
        status.on_rings(b.guest.ip().into()) == 0,
        "the stream to the lost address is on rings: {status:?}"
    );
    let to_new = stream(&a, new);
    on_rings(&a, new, 1)?;
    flows(&mut a.control)?;
    let mut control = Control::connect(SocketAddr::new(new.into(), CONTROL))?;
    let mut order = |order: String| control.order(&order, Deadline::seconds(60));
    order(format!("connect {} 3", echo_at(a.guest.ip())))?;
    order(format!("verify {} 4096 300000 0", echo_at(a.guest.ip())))?;
    let lost = order(format!("udp {} 700 5", echo_at(a.guest.ip())))?;
    ensure!(lost.number("lost")? == 0, "datagrams are lost");
    let bytes = finish(&mut [&mut a], vec![to_six, to_new])?;
    nothing_failed(&a.status()?)?;
    well(&[&a, &b])?;
    Ok(format!(
        "{} became {new}; {bytes} bytes compared on the other address and on the new one",
        b.guest.ip()
    ))
}
