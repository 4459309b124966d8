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

use super::device::{Connection, Features};
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

/// A device that is connected.
pub(crate) struct Attached {
    pub(crate) frontend: Frontend,
    pub(crate) connection: Connection<Domain>,
    pub(crate) mac: EthernetAddress,
    /// Largest IP packet in bytes.
    pub(crate) ip_mtu: usize,
}

/// Finds virtual interface `index` and connects it, with at most `rx_pages` and `tx_pages` pages
/// for the two directions.
pub(crate) async fn attach(
    store: &Xenstore,
    index: u32,
    rx_pages: usize,
    tx_pages: usize,
) -> Result<Attached, NetError> {
    let mut frontend = Frontend::open(store, "vif", index).await?;
    let (mac, mtu, features) = join3(
        frontend.read("mac"),
        frontend.read("mtu"),
        if_waiting(&frontend),
    )
    .await;
    let mac = mac?.unwrap_or_default();
    let mac = parse_mac(&mac).ok_or(NetError::Mac(mac))?;
    let ip_mtu = match mtu? {
        Some(mtu) => parse_mtu(&mtu).ok_or(NetError::Mtu(mtu))?,
        None => DEFAULT_MTU,
    };
    let features = match features? {
        Some(features) => features,
        None => {
            frontend.wait_backend(&[State::InitWait], PATIENCE).await?;
            read_features(&frontend).await?
        }
    };
    let connection = connect(&mut frontend, features, rx_pages, tx_pages).await?;
    // Without `feature-sg` a frame must fit into one slot.
    let ip_mtu = if connection.features().scatter {
        ip_mtu
    } else {
        ip_mtu.min(DEFAULT_MTU)
    };
    Ok(Attached {
        frontend,
        connection,
        mac,
        ip_mtu,
    })
}

/// Returns the backend's features if it waits for the frontend already. Its state is asked for
/// first, in the same round trip: xenstored is slow on a host that is busy with a migration.
async fn if_waiting(frontend: &Frontend) -> Result<Option<Features>, NetError> {
    let (state, features) = join(frontend.backend_state(), read_features(frontend)).await;
    if state? == State::InitWait {
        features.map(Some)
    } else {
        Ok(None)
    }
}

/// Shares rings with the backend, publishes them, and waits until both sides are connected.
async fn connect(
    frontend: &mut Frontend,
    features: Features,
    rx_pages: usize,
    tx_pages: usize,
) -> Result<Connection<Domain>, NetError> {
    let domid = frontend.backend_domid();
    let (connection, keys) = prepare(domid, features, rx_pages, tx_pages)?;
    frontend.publish(keys.list(), State::Connected).await?;
    wait_connected(frontend).await?;
    Ok(connection)
}

/// Waits until the backend, which has been told everything, is connected.
pub(crate) async fn wait_connected(frontend: &mut Frontend) -> Result<(), NetError> {
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
pub(crate) struct Former {
    pub(crate) backend: DomId,
    pub(crate) features: Features,
}

/// Connects the device of a new domain. The device is the same, and the toolstack lets the guest
/// run only once its backend waits. So the rings are granted to the domain that the former backend
/// was in, and published before anything is asked. What the backend offers is known before the
/// first frame is sent.
///
/// Completes when the backend has been told everything. The caller then has to use
/// [`wait_connected`] before it sends anything. All of this is downtime, and xenstored is slow on a
/// host that has just built a domain and is taking another one apart, so each round trip counts.
pub(crate) async fn reattach(
    store: &Xenstore,
    index: u32,
    former: Former,
    rx_pages: usize,
    tx_pages: usize,
) -> Result<(Frontend, Connection<Domain>), NetError> {
    let (mut connection, keys) = prepare(former.backend, former.features, rx_pages, tx_pages)?;
    let opened =
        Frontend::open_and_publish(store, "vif", index, keys.list(), State::Connected).await;
    let mut frontend = opened?;
    log::debug!("net: rings published");
    if frontend.backend_domid() != former.backend {
        // Another driver domain: begin again.
        drop(connection);
        frontend.set_state(State::Initialising).await?;
        let attached = attach(store, index, rx_pages, tx_pages).await?;
        return Ok((attached.frontend, attached.connection));
    }
    let (state, features) = join(frontend.backend_state(), read_features(&frontend)).await;
    let features = match state? {
        State::InitWait | State::Connected => features?,
        _ => {
            wait_connected(&mut frontend).await?;
            read_features(&frontend).await?
        }
    };
    connection.set_features(features);
    Ok((frontend, connection))
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

fn parse_mtu(text: &str) -> Option<usize> {
    text.trim()
        .parse()
        .ok()
        .filter(|mtu| (MIN_MTU..=MAX_MTU).contains(mtu))
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
        assert_eq!(parse_mtu("1500"), Some(1500));
        assert_eq!(parse_mtu("9000"), Some(9000));
        for bad in ["", "1279", "9217", "-1", "x"] {
            assert_eq!(parse_mtu(bad), None, "{bad}");
        }
    }
}
