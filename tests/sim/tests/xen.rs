//! The fake hypervisor does what Xen does in everything that the channel
//! depends on.

use shared_memory::Memory;
use sim::xen::{Clock, Dom, Holdings, Host, Limits, SharedHost};
use vmc::{Platform, PlatformError, PortState};

fn two() -> (SharedHost, Dom, Dom) {
    let host = Host::new(1);
    let clock = Clock::default();
    let (a, b) = (Dom::boot(&host, &clock, 1), Dom::boot(&host, &clock, 2));
    (host, a, b)
}

fn references(dom: &Dom, region: &<Dom as Platform>::Region) -> Vec<u32> {
    let mut references = Vec::new();
    dom.references(region, &mut references);
    references
}

#[test]
fn only_the_domain_that_was_named_maps_a_grant() {
    let (host, mut a, mut b) = two();
    let mut c = Dom::boot(&host, &Clock::default(), 3);
    let region = a.grant(b.domid(), 2).expect("granted");
    let references = references(&a, &region);
    assert_eq!(
        c.map(a.domid(), &references).err(),
        Some(PlatformError::Refused)
    );
    assert_eq!(
        b.map(c.domid(), &references).err(),
        Some(PlatformError::Refused)
    );
    assert_eq!(
        b.map(a.domid(), &[references[0], 99]).err(),
        Some(PlatformError::Refused)
    );
    assert_eq!(b.holdings(), Holdings::default());
    let mapping = b.map(a.domid(), &references).expect("mapped");
    region.write(4090, b"across both");
    let mut bytes = [0; 11];
    mapping.read(4090, &mut bytes);
    assert_eq!(&bytes, b"across both");
}

#[test]
fn a_page_that_is_mapped_cannot_be_taken_back() {
    let (_host, mut a, mut b) = two();
    let region = a.grant(b.domid(), 1).expect("granted");
    let mapping = b.map(a.domid(), &references(&a, &region)).expect("mapped");
    let region = a.revoke(region).expect_err("still mapped");
    drop(region);
    assert_eq!((a.holdings().grants, a.holdings().quarantined), (0, 1));
    drop(mapping);
    assert_eq!(b.holdings(), Holdings::default());
}

#[test]
fn what_the_dead_granted_can_be_read_until_it_is_unmapped() {
    let (_host, mut a, mut b) = two();
    let region = a.grant(b.domid(), 1).expect("granted");
    let mapping = b.map(a.domid(), &references(&a, &region)).expect("mapped");
    let port = a.open_port(b.domid()).expect("a port");
    let other = b.bind_port(a.domid(), a.port_number(&port)).expect("bound");
    region.store(8, 7);
    a.end();
    region.store(8, 8);
    assert_eq!(mapping.load(8), 7);
    assert_eq!(b.port_state(&other), PortState::Unbound);
    assert_eq!(a.port_state(&port), PortState::Stale);
    assert!(b.map(a.domid(), &[8]).is_err());
}

#[test]
fn a_guest_that_became_another_domain_has_nothing_left() {
    let (_, mut a, b) = two();
    let region = a.grant(b.domid(), 1).expect("granted");
    let port = a.open_port(b.domid()).expect("a port");
    region.store(0, 5);
    let elsewhere = Host::new(1);
    a.migrate(&elsewhere);
    assert_eq!(a.holdings(), Holdings::default());
    assert_eq!((a.port_number(&port), region.load(0)), (0, 5));
    assert_eq!(a.revoke(region).err().map(|_| ()), None);
}

#[test]
fn a_notification_reaches_the_other_end_once() {
    let (_host, mut a, mut b) = two();
    let port = a.open_port(b.domid()).expect("a port");
    a.notify(&port);
    let other = b.bind_port(a.domid(), a.port_number(&port)).expect("bound");
    // A notification may have been lost before: Xen raises the new end.
    assert!(other.take_pending() && !other.take_pending());
    assert!(
        b.bind_port(a.domid(), a.port_number(&port)).is_err(),
        "it is taken"
    );
    b.notify(&other);
    b.notify(&other);
    assert!(port.take_pending() && !port.take_pending());
    drop(other);
    assert_eq!(a.port_state(&port), PortState::Unbound);
}

#[test]
fn limits_are_kept() {
    let (_host, mut a, b) = two();
    a.limit(Limits {
        grants: 3,
        maps: 0,
        ports: 1,
    });
    let _two = a.grant(b.domid(), 2).expect("granted");
    assert!(a.grant(b.domid(), 2).is_err());
    assert_eq!(a.holdings().grants, 2);
    let _port = a.open_port(b.domid()).expect("a port");
    assert_eq!(a.open_port(b.domid()).err(), Some(PlatformError::NoRoom));
}
