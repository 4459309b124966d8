//! Connecting to the backend through xenbus (netif.h; `docs/misc/xenstore-paths.pandoc`).

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::time::Duration;

use embassy_futures::join::{join, join3};
use kernel::DomId;
use kernel::event::EventChannel;
use kernel::xenbus::{Frontend, State};
use kernel::xenstore::Xenstore;
use smoltcp::wire::EthernetAddress;

use super::connection::{Connection, Features};
use super::pages::Domain;
use crate::error::NetError;

/// How long the backend, with its hotplug script, may take for each step.
const PATIENCE: Duration = Duration::from_secs(30);

/// The IP MTU if there is no node `mtu` (netif.h).
const DEFAULT_MTU: usize = 1500;
/// The smallest MTU of IPv6 (RFC 8200 section 5).
const MIN_MTU: usize = 1280;
/// The largest MTU that smoltcp handles.
const MAX_MTU: usize = 9216;

/// A device that is connected, and what the toolstack says about it. Both can differ each time: a
/// device that was attached anew has another MAC, another host's bridge another MTU.
pub(crate) struct Attached<C> {
    /// The connection to the backend.
    pub(crate) connection: C,
    /// The device's hardware address.
    pub(crate) mac: EthernetAddress,
    /// Largest IP packet in bytes.
    pub(crate) ip_mtu: usize,
}

/// The toolstack's settings of a device.
#[derive(Clone, Copy)]
struct Settings {
    mac: EthernetAddress,
    ip_mtu: usize,
}

/// Connects the device of `frontend`, whatever the two sides were doing before, with at most
/// `rx_pages` and `tx_pages` pages for the two directions.
pub(super) async fn attach(
    frontend: &mut Frontend,
    rx_pages: usize,
    tx_pages: usize,
) -> Result<Attached<Connection<Domain>>, NetError> {
    frontend.begin_again(PATIENCE).await?;
    let (settings, features) = join(read_settings(frontend), read_features(frontend)).await;
    let (settings, features) = (settings?, features?);
    let domid = frontend.backend_domid();
    let (connection, keys) = prepare(domid, features, rx_pages, tx_pages)?;
    frontend.publish(keys.list(), State::Connected).await?;
    wait_connected(frontend).await?;
    Ok(settings.attached(connection))
}

impl Settings {
    fn attached(self, connection: Connection<Domain>) -> Attached<Connection<Domain>> {
        // Without `feature-sg` a frame must fit into one slot.
        let ip_mtu = if connection.features().scatter {
            self.ip_mtu
        } else {
            self.ip_mtu.min(DEFAULT_MTU)
        };
        Attached {
            connection,
            mac: self.mac,
            ip_mtu,
        }
    }
}

/// Reads the device's settings. The MTU is where the hotplug script of Xen 4.15 and later leaves
/// that of the bridge (`tools/hotplug/Linux/xen-network-common.sh:set_mtu`), or else in the
/// backend's directory.
async fn read_settings(frontend: &Frontend) -> Result<Settings, NetError> {
    let (mac, mtu, backend_mtu) = join3(
        frontend.read("mac"),
        frontend.read("mtu"),
        frontend.read_backend("mtu"),
    )
    .await;
    let mac = mac?.unwrap_or_default();
    let mac = parse_mac(&mac).ok_or(NetError::Mac(mac))?;
    let ip_mtu = match mtu?.or(backend_mtu?) {
        Some(mtu) => parse_mtu(&mtu),
        None => DEFAULT_MTU,
    };
    Ok(Settings { mac, ip_mtu })
}

/// Waits until the backend, which has been told everything, is connected.
async fn wait_connected(frontend: &mut Frontend) -> Result<(), NetError> {
    frontend.wait_backend(&[State::Connected], PATIENCE).await?;
    log::debug!(
        "net: backend in domain {} connected",
        frontend.backend_domid()
    );
    Ok(())
}

/// What the frontend publishes about a connection.
struct Keys {
    tx_ring: String,
    rx_ring: String,
    port: String,
}

impl Keys {
    fn list(&self) -> [(&str, &str); 9] {
        [
            ("tx-ring-ref", &self.tx_ring),
            ("rx-ring-ref", &self.rx_ring),
            ("event-channel", &self.port),
            // The backend copies received data into our pages; page flipping is long gone.
            ("request-rx-copy", "1"),
            // We notify the backend when it has receive buffers again.
            ("feature-rx-notify", "1"),
            // Packets may come in several slots, unsegmented, and with blank checksums.
            ("feature-sg", "1"),
            ("feature-gso-tcpv4", "1"),
            ("feature-gso-tcpv6", "1"),
            ("feature-ipv6-csum-offload", "1"),
        ]
    }
}

/// Makes rings for the backend in domain `domid`.
fn prepare(
    domid: DomId,
    features: Features,
    rx_pages: usize,
    tx_pages: usize,
) -> Result<(Connection<Domain>, Keys), NetError> {
    let channel = Rc::new(EventChannel::alloc_unbound(domid)?);
    let port = channel.port()?.to_string();
    let backend = Domain::new(domid, channel);
    let connection = Connection::new(backend, features, rx_pages, tx_pages)?;
    let (tx_ring, rx_ring) = connection.ring_references();
    let keys = Keys {
        tx_ring: tx_ring.to_string(),
        rx_ring: rx_ring.to_string(),
        port,
    };
    Ok((connection, keys))
}

/// What the guest knows about its device from its former domain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Former {
    pub(super) index: u32,
    pub(super) backend: DomId,
    pub(super) features: Features,
}

/// Connects the device of a new domain. The device is the same, and the toolstack lets the guest
/// run only once its backend waits. So the rings are granted to the domain that the former backend
/// was in, and published before anything is asked. All of this is downtime, and xenstored is slow
/// on a host that has just built a domain and is taking another one apart, so each round trip
/// counts.
///
/// Returns no connection if the device has a backend in another domain now.
pub(super) async fn reattach(
    store: &Xenstore,
    former: Former,
    rx_pages: usize,
    tx_pages: usize,
) -> Result<(Frontend, Option<Attached<Connection<Domain>>>), NetError> {
    let (mut connection, keys) = prepare(former.backend, former.features, rx_pages, tx_pages)?;
    let (list, state) = (keys.list(), State::Connected);
    let opened = Frontend::open_and_publish(store, "vif", former.index, list, state).await;
    let mut frontend = opened?;
    log::debug!("net: rings published");
    if frontend.backend_domid() != former.backend {
        return Ok((frontend, None));
    }
    let (state, features, settings) = join3(
        frontend.backend_state(),
        read_features(&frontend),
        read_settings(&frontend),
    )
    .await;
    let settings = settings?;
    let state = state?;
    // Not earlier than Connected: a netback (Linux 6.1) that found frames in the ring while it
    // connected went deaf some seconds later.
    wait_connected(&mut frontend).await?;
    let features = match state {
        State::InitWait | State::Connected => features?,
        _ => read_features(&frontend).await?,
    };
    connection.set_features(features);
    Ok((frontend, Some(settings.attached(connection))))
}

/// Reads what the backend offers.
async fn read_features(frontend: &Frontend) -> Result<Features, NetError> {
    let keys = [
        "feature-rx-copy",
        "feature-sg",
        "feature-no-csum-offload",
        "feature-ipv6-csum-offload",
        "feature-gso-tcpv4",
    ];
    let flags = frontend.read_backend_all(keys).await?;
    let [
        rx_copy,
        scatter,
        no_checksum_ipv4,
        checksum_ipv6,
        segment_ipv4,
    ] = flags.map(|value| value.is_some_and(|value| value == "1"));
    if !rx_copy {
        return Err(NetError::NoRxCopy);
    }
    Ok(Features {
        scatter,
        checksum_ipv4: !no_checksum_ipv4,
        checksum_ipv6,
        segment_ipv4,
    })
}

/// Parses six hexadecimal bytes with colons between them, which must be a unicast address.
fn parse_mac(text: &str) -> Option<EthernetAddress> {
    let mut bytes = [0; 6];
    let mut parts = text.trim().split(':');
    for byte in &mut bytes {
        let digits = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let part = parts.next().filter(digits)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    let mac = EthernetAddress(bytes);
    (parts.next().is_none() && mac.is_unicast() && bytes != [0; 6]).then_some(mac)
}

/// Returns the MTU that is nearest to `text` of those that the guest can use. A network that works
/// with another one is better than none.
fn parse_mtu(text: &str) -> usize {
    let mtu = match text.trim().parse::<usize>() {
        Ok(mtu) => mtu.clamp(MIN_MTU, MAX_MTU),
        Err(_) => DEFAULT_MTU,
    };
    if text.trim().parse() != Ok(mtu) {
        log::warn!("net: the device's MTU is given as {text:?}; {mtu} is used");
    }
    mtu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses() {
        let mac = EthernetAddress([0x00, 0x16, 0x3e, 0xab, 0xcd, 0x01]);
        assert_eq!(parse_mac("00:16:3e:ab:CD:01"), Some(mac));
        for bad in [
            "",
            "00:16:3e:ab:cd",
            "00:16:3e:ab:cd:01:02",
            "0:16:3e:ab:cd:01",
            "+0:16:3e:ab:cd:01",
            "00:16:3e:ab:cd:0g",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn mtus() {
        for (text, mtu) in [
            ("1500", 1500),
            ("9000", 9000),
            ("1279", 1280),
            ("9217", 9216),
            ("", 1500),
            ("-1", 1500),
            ("x", 1500),
        ] {
            assert_eq!(parse_mtu(text), mtu, "{text}");
        }
    }
}
