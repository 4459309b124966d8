//! What comes late, goes away or is changed by the toolstack while a guest runs: its network device,
//! its backend, DHCP, its memory. The guest waits, says so, and goes on.

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::addresses::{self, BRIDGE};
use labkit::domain::Domain;
use labkit::domain::lifecycle::Counts;
use labkit::lines;
use labkit::mail::body::Scratch;
use labkit::migration::SaveFile;
use labkit::net::ping::reachable;
use labkit::net::raw::Raw;
use labkit::net::stream::{alive, connect, echo_once};
use labkit::process::run_ok;
use labkit::survival::healthy;
use labkit::{Case, Deadline, Image, Lab};

use super::names::dnsmasq;

pub(super) const CASES: &[Case] = &[
    Case::new("detach_and_attach", 240, detach_and_attach),
    Case::new("late_at_boot", 240, late_at_boot),
    Case::new("lease_over_a_save", 420, lease_over_a_save),
    Case::new("mem_set", 180, mem_set),
    Case::new("nmi_and_sysrq", 90, nmi_and_sysrq),
];

/// The limit of a toolstack command.
const XL: Duration = Duration::from_secs(60);

/// How long the guest may take to connect a device again, its pauses included.
fn soon() -> Deadline {
    Deadline::seconds(60)
}

/// Gives the domain an interface with the hardware address of guest `number`.
fn attach(domain: &Domain, number: u8) -> Result<()> {
    let mac = addresses::mac(number).map(|byte| format!("{byte:02x}"));
    let mac = format!("mac={}", mac.join(":"));
    let bridge = format!("bridge={BRIDGE}");
    let arguments = [
        "network-attach",
        &domain.name,
        &bridge,
        "script=vif-bridge",
        &mac,
    ];
    run_ok("xl", &arguments, XL).map(drop)
}

/// `xl network-detach`, then `xl network-attach`, with the same and with another hardware address;
/// a backend whose driver is bound again, and one that vanishes and is replaced by a device with
/// another number.
fn detach_and_attach(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let console = domain.console();
    let mut stream = connect(guest.port(7), Deadline::seconds(200))?;
    echo_once(&mut stream, b"before")?;
    for (round, number) in [2, 2, 9].into_iter().enumerate() {
        let from = console.end();
        run_ok("xl", &["network-detach", &domain.name, "0"], XL)?;
        console.wait_since(from, &lines::NET_LEFT, soon())?;
        domain.type_line("status")?;
        console.wait_since(from, "status: device away", soon())?;
        attach(&domain, number)?;
        reachable(IpAddr::V4(guest.ip()), soon()).with_context(|| format!("round {round}"))?;
        echo_once(&mut stream, b"after")
            .with_context(|| format!("the connection, round {round}"))?;
    }
    let from = console.end();
    domain.type_line("status")?;
    let memory = console.wait_since(from, &lines::STATUS_MEMORY, soon())?;
    if !memory.trim_end().ends_with(", 0 pages quarantined") {
        bail!("pages were lost to the backends: {memory}");
    }
    // The bridge that it comes back to has another MTU.
    let from = console.end();
    let frontend = format!("/local/domain/{}/device/vif/0", domain.running()?.id);
    run_ok("xenstore-write", &[&format!("{frontend}/mtu"), "1400"], XL)?;
    rebind(&domain)?;
    reachable(IpAddr::V4(guest.ip()), soon()).context("after the backend's driver was bound")?;
    console.wait_since(from, ", MTU 1400", soon())?;
    echo_once(&mut stream, b"again").context("the connection, after the driver was bound")?;
    // It can still be moved.
    let file = SaveFile::fresh();
    domain.save(&file, false)?;
    domain.restore(&file)?;
    console.wait_since(from, ", MTU 1500", soon())?;
    reachable(IpAddr::V4(guest.ip()), soon()).context("after save and restore")?;
    echo_once(&mut stream, b"moved").context("the connection, after save and restore")?;
    // What is left when a driver domain dies: the backend is gone, and the device stays in
    // xenstore. The toolstack then gives another one, with the next number.
    let from = console.end();
    let domid = domain.running()?.id;
    let backend = format!("/local/domain/0/backend/vif/{domid}/0");
    run_ok("xenstore-rm", &[&backend], XL)?;
    console.wait_since(from, &lines::NET_LEFT, soon())?;
    attach(&domain, 11)?;
    reachable(IpAddr::V4(guest.ip()), soon()).context("with a second device")?;
    echo_once(&mut stream, b"second").context("the connection, with a second device")?;
    healthy(&domain)?;
    Ok("5 devices, a driver bound again, save and restore; one connection throughout".into())
}

/// Takes the backend's driver away from the device and gives it back, and does what the toolstack's
/// hotplug script would. netback goes on with the rings that it finds.
fn rebind(domain: &Domain) -> Result<()> {
    let domid = domain.running()?.id;
    let device = format!("vif-{domid}-0");
    let driver = "/sys/bus/xen-backend/drivers/vif";
    std::fs::write(format!("{driver}/unbind"), &device).context("unbind")?;
    sleep(Duration::from_secs(2));
    std::fs::write(format!("{driver}/bind"), &device).context("bind")?;
    let vif = domain.vif()?;
    let bridge = || {
        run_ok(
            "ip",
            &["link", "set", "dev", &vif, "master", BRIDGE, "up"],
            XL,
        )
    };
    soon().poll(Duration::from_millis(100), &vif, || Ok(bridge().ok()))?;
    let node = format!("/local/domain/0/backend/vif/{domid}/0/hotplug-status");
    run_ok("xenstore-write", &[&node, "connected"], XL).map(drop)
}

/// A guest that boots without a device and without a DHCP server.
fn late_at_boot(lab: &Lab) -> Result<String> {
    let guest = lab.guest_with(Image::Echo, 2, 16, "ip=dhcp").offline();
    let domain = guest.start()?;
    let console = domain.console();
    console.wait_for(&lines::NET_WAITING, Deadline::seconds(20))?;
    sleep(Duration::from_secs(3));
    domain.running().context("without a device")?;
    attach(&domain, 2)?;
    console.wait_for(&lines::LEASE_WAITING, Deadline::seconds(60))?;
    sleep(Duration::from_secs(45));
    domain.running().context("without a DHCP server")?;
    let leases = Scratch::new("leases");
    let _server = dnsmasq(&leases, &["--port=0", &range(150, "1h")])?;
    let ip = leased(&domain, 0)?;
    console.wait_for(&lines::ECHO_READY, Deadline::seconds(20))?;
    reachable(IpAddr::V4(ip), Deadline::seconds(10))?;
    alive((ip, 7).into(), Deadline::seconds(10))?;
    healthy(&domain)?;
    Ok(format!("a device and then a lease, {ip}, after waiting"))
}

/// A range of dnsmasq's addresses that begins with `first`.
fn range(first: u8, lease: &str) -> String {
    let (from, to) = (addresses::ipv4(first), addresses::ipv4(first + 9));
    format!("--dhcp-range={from},{to},255.255.255.0,{lease}")
}

/// Waits for a lease on the console, after `from`, and returns its address.
fn leased(domain: &Domain, from: usize) -> Result<Ipv4Addr> {
    let line = domain
        .console()
        .wait_since(from, &lines::LEASED, Deadline::seconds(90))?;
    line.split_once(lines::LEASED.text)
        .and_then(|(_, rest)| rest.split('/').next())
        .and_then(|address| address.trim().parse().ok())
        .with_context(|| format!("no address in {line:?}"))
}

/// The address in a frame that a guest with hardware address `mac` gives as its own, by ARP or IP.
fn used(frame: &[u8], mac: [u8; 6]) -> Option<Ipv4Addr> {
    if frame.get(6..12)? != mac {
        return None;
    }
    let at = match frame.get(12..14)? {
        [0x08, 0x06] => 28,
        [0x08, 0x00] => 26,
        _ => return None,
    };
    let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes)).filter(|address| !address.is_unspecified())
}

/// A lease that runs out while the guest is saved, and a server that has given the address away.
fn lease_over_a_save(lab: &Lab) -> Result<String> {
    // The shortest lease that dnsmasq gives.
    const LEASE: Duration = Duration::from_secs(120);
    let leases = Scratch::new("leases");
    let server = dnsmasq(&leases, &["--port=0", &range(150, "2m")])?;
    let guest = lab.guest_with(Image::Echo, 2, 16, "ip=dhcp");
    let domain = guest.start()?;
    let first = leased(&domain, 0)?;
    domain
        .console()
        .wait_for(&lines::ECHO_READY, Deadline::seconds(20))?;
    // A short absence: the lease is confirmed, and stays.
    let from = domain.console().end();
    let file = SaveFile::fresh();
    domain.save(&file, false)?;
    domain.restore(&file)?;
    reachable(IpAddr::V4(first), Deadline::seconds(30)).context("after a short absence")?;
    if domain
        .console()
        .since(from, false)
        .0
        .contains(lines::LEASE_LOST.text)
    {
        bail!("the lease was lost after a short absence");
    }
    // A long one, and nobody who would renew the lease.
    let file = SaveFile::fresh();
    domain.save(&file, false)?;
    drop(server);
    sleep(LEASE + Duration::from_secs(10));
    let from = domain.console().end();
    let wire = Raw::open(BRIDGE)?;
    domain.restore(&file)?;
    let mac = addresses::mac(2);
    let seen = wire.find(Deadline::seconds(15), |frame| used(frame, mac))?;
    if let Some(address) = seen {
        bail!("the guest came back with {address}, whose lease had run out");
    }
    domain
        .console()
        .wait_since(from, &lines::LEASE_LOST, Deadline::seconds(5))?;
    let leases = Scratch::new("leases");
    let _server = dnsmasq(&leases, &["--port=0", &range(170, "1h")])?;
    let second = leased(&domain, from)?;
    if first == second {
        bail!("the second server leased {second} too");
    }
    reachable(IpAddr::V4(second), Deadline::seconds(20))?;
    alive((second, 7).into(), Deadline::seconds(10))?;
    healthy(&domain)?;
    Ok(format!(
        "{first}, silence after {LEASE:?} away, then {second}"
    ))
}

/// `xl mem-set` down, up, and below what the guest needs, under load.
fn mem_set(lab: &Lab) -> Result<String> {
    const MEMORY_MIB: u64 = 64;
    let guest = lab.echo(2, MEMORY_MIB, "");
    let domain = guest.start_ready()?;
    let console = domain.console();
    let booted = counts(&domain)?;
    let set = |mib: u64| -> Result<()> {
        let size = format!("{mib}m");
        run_ok("xl", &["mem-set", &domain.name, &size], XL).map(drop)
    };
    let wait = |from: usize, text: &str| console.wait_since(from, text, soon());
    // Half: what lies beyond is not free.
    let from = console.end();
    set(MEMORY_MIB / 2)?;
    wait(
        from,
        &format!("{}{} KiB of", lines::MEMORY_TARGET, MEMORY_MIB * 512),
    )?;
    let half = counts(&domain)?;
    if half.free_frames + MEMORY_MIB * 128 > booted.free_frames + 300 {
        bail!("{booted:?} became {half:?}");
    }
    // Back: it is free again, and can be used.
    let from = console.end();
    set(MEMORY_MIB)?;
    wait(
        from,
        &format!("{}{} KiB of", lines::MEMORY_TARGET, MEMORY_MIB * 1024),
    )?;
    let whole = counts(&domain)?;
    if whole.free_frames + 300 < booted.free_frames {
        bail!("{booted:?} became {whole:?}");
    }
    // Too small: refused, and Xen's limit is below what the guest wants under load.
    let from = console.end();
    set(2)?;
    wait(from, lines::TARGET_REFUSED.text)?;
    let streams = crowd(&guest)?;
    domain
        .running()
        .context("under load with too little memory")?;
    drop(streams.0);
    let from = console.end();
    set(MEMORY_MIB)?;
    wait(from, lines::MEMORY_TARGET.text)?;
    sleep(Duration::from_secs(2));
    alive(guest.port(7), Deadline::seconds(20)).context("with its memory back")?;
    if console.text().contains(lines::PANIC.text) {
        bail!("a panic:\n{}", console.tail());
    }
    Ok(format!(
        "{} frames free, {} with half, {} again; {} of {CROWD} connections with 2 MiB",
        booted.free_frames, half.free_frames, whole.free_frames, streams.1
    ))
}

/// Connections that a guest with too little memory is asked for.
const CROWD: usize = 300;

/// Opens many connections that send what nobody reads; returns them, and how many came about.
fn crowd(guest: &labkit::Guest) -> Result<(Vec<std::net::TcpStream>, usize)> {
    use std::io::Write;
    let mut streams = Vec::new();
    for _ in 0..CROWD {
        let address = guest.port(7);
        let Ok(mut stream) =
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300))
        else {
            continue;
        };
        stream.set_nonblocking(true)?;
        // What does not fit is left.
        let _ = stream.write(&[7; 100_000]);
        streams.push(stream);
    }
    let count = streams.len();
    Ok((streams, count))
}

/// Returns the guest's counts.
fn counts(domain: &Domain) -> Result<Counts> {
    let from = domain.console().end();
    domain.type_line("status")?;
    let line = domain
        .console()
        .wait_since(from, &lines::STATUS_COUNTS, Deadline::seconds(10))?;
    Counts::parse(&line)
}

/// `xl trigger nmi` and `xl sysrq`, idle and under load, end no guest.
fn nmi_and_sysrq(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let console = domain.console();
    let trigger = || run_ok("xl", &["trigger", &domain.name, "nmi", "0"], XL).map(drop);
    let from = console.end();
    trigger()?;
    console.wait_since(from, &lines::NMI, Deadline::seconds(10))?;
    let server = guest.port(7);
    let flow = std::thread::spawn(move || {
        let deadline = Deadline::seconds(50);
        labkit::net::stream::echo(connect(server, deadline)?, 4 * 1024 * 1024, 3, deadline)
    });
    for _ in 0..10 {
        trigger()?;
    }
    match flow.join() {
        Ok(result) => result.context("4 MiB with ten NMIs")?,
        Err(_) => bail!("the client panicked"),
    };
    for letter in ["h", "s", "b", "c"] {
        let from = console.end();
        run_ok("xl", &["sysrq", &domain.name, letter], XL)?;
        console.wait_since(
            from,
            &format!("{}\"{letter}\"", lines::SYSRQ),
            Deadline::seconds(10),
        )?;
    }
    healthy(&domain)?;
    Ok("11 NMIs, 4 letters".into())
}
