//! Addresses by DHCP and names by DNS, with dnsmasq(8) as the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use labkit::addresses::{BRIDGE, DOM0, link_local};
use labkit::lines;
use labkit::mail::body::{Scratch, text_mail};
use labkit::mail::client::send;
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::{PORT, Sink};
use labkit::migration::{Options, migrate};
use labkit::net::ping::reachable;
use labkit::net::stream::alive;
use labkit::process::Process;
use labkit::survival::healthy;
use labkit::{Case, Deadline, Image, Lab, Witness};

pub(super) const CASES: &[Case] = &[
    Case::new("dhcp", 60, dhcp),
    Case::new("next_hop_by_name", 60, dns),
    Case::new("router_advertisements", 90, advertised).live(),
];

/// Starts dnsmasq on the bridge, with `options`.
pub(super) fn dnsmasq(leases: &Scratch, options: &[&str]) -> Result<Process> {
    let lease_file = format!("--dhcp-leasefile={}", leases.text());
    let interface = format!("--interface={BRIDGE}");
    let mut arguments = vec![
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--no-hosts",
        "--no-resolv",
        "--no-ping",
        "--bind-interfaces",
        "--pid-file=",
        "--log-facility=-",
        &interface,
        &lease_file,
    ];
    arguments.extend_from_slice(options);
    Process::start("dnsmasq", &arguments)
}

fn dhcp(lab: &Lab) -> Result<String> {
    let leases = Scratch::new("leases");
    let mut server = dnsmasq(
        &leases,
        &[
            "--port=0",
            "--dhcp-range=10.0.0.150,10.0.0.159,255.255.255.0,1h",
            "--log-dhcp",
        ],
    )?;
    let guest = lab.guest_with(Image::Echo, 2, 16, "ip=dhcp hostname=from-dhcp");
    let domain = guest.start()?;
    let leased = format!("{}10.0.0.15", lines::NET_UP);
    let up = domain.console().wait_for(&leased, Deadline::seconds(30));
    server.check_running()?;
    let up = up?;
    let address = up
        .split_once(lines::NET_UP.text)
        .and_then(|(_, rest)| rest.split('/').next());
    let ip: Ipv4Addr = address
        .and_then(|address| address.trim().parse().ok())
        .with_context(|| format!("no address in {up:?}"))?;
    domain
        .console()
        .wait_for(&lines::ECHO_READY, Deadline::seconds(10))?;
    reachable(IpAddr::V4(ip), Deadline::seconds(10))?;
    let server = SocketAddr::new(IpAddr::V4(ip), 7);
    alive(server, Deadline::seconds(10))?;
    let leased = std::fs::read_to_string(leases.path()).context("the lease file")?;
    if !leased.contains(&ip.to_string()) {
        bail!("dnsmasq did not lease {ip}: {leased:?}");
    }
    Ok(format!("leased {ip}"))
}

/// A guest without a word about IPv6 on its command line, and a router that advertises a prefix: the
/// guest has an address of its own in it, and keeps it through a migration.
fn advertised(lab: &Lab) -> Result<String> {
    let leases = Scratch::new("leases");
    let prefix = "fd00:ca::";
    let range = format!("--dhcp-range={prefix},ra-only,64,1h");
    let mut server = dnsmasq(&leases, &["--port=0", "--enable-ra", &range])?;
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let own = formed(link_local(2));
    let line = format!("{}{own}/64", lines::NET_UP);
    let up = domain.console().wait_for(&line, Deadline::seconds(30));
    server.check_running()?;
    up?;
    let to = SocketAddr::new(IpAddr::V6(own), 7);
    alive(to, Deadline::seconds(10))?;
    let mut witness = Witness::of(&domain)?;
    migrate(&domain, &Options::default())?.expect_success()?;
    witness.moved()?;
    alive(to, Deadline::seconds(20)).context("after a migration")?;
    healthy(&domain)?;
    Ok(format!(
        "{own} of an advertised prefix, through a migration"
    ))
}

/// Returns the address in the advertised prefix with the interface identifier of a link-local one
/// (RFC 4862, section 5.5.3).
fn formed(link_local: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c, d] = link_local.segments();
    Ipv6Addr::new(0xfd00, 0xca, 0, 0, a, b, c, d)
}

fn dns(lab: &Lab) -> Result<String> {
    let leases = Scratch::new("leases");
    let listen = format!("--listen-address={DOM0}");
    let record = format!("--address=/sink.test/{DOM0}");
    let mut server = dnsmasq(&leases, &[&listen, &record, "--log-queries"])?;
    let sink = Sink::start(&[])?;

    let line =
        |host: &str, ip: &str| format!("ip={ip}/24 gw={DOM0} dns={DOM0} next-hop={host}:{PORT}");
    let guest = lab.guest_with(Image::Relay, 2, 16, &line("sink.test", "10.0.0.2"));
    let _domain = guest.start_ready()?;
    let mail = text_mail("named", 2000, lab.seed()?)?;
    let reply = send(guest.port(25), &mail)?;
    server.check_running()?;
    reply.expect(250, "a next hop by name")?;
    let mut ledger = Ledger::default();
    ledger.note(&mail, Form::Body, 1);
    ledger.check(&sink.arrived()?)?;
    if !server.text().contains("sink.test") {
        bail!("dnsmasq was not asked for sink.test");
    }

    // A name that does not exist may exist tomorrow: the client must keep the mail.
    let lost = lab.guest_with(Image::Relay, 3, 16, &line("missing.invalid", "10.0.0.3"));
    let _lost_domain = lost.start_ready()?;
    send(lost.port(25), &mail)?.expect_class(4, "a next hop without an address")?;
    Ok("sink.test found; an unknown name gives 4xx".into())
}
