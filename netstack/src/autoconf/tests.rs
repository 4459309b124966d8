use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::{any, prop, proptest};
use smoltcp::wire::{Icmpv6Packet, Ipv6Packet};

use super::*;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const MAC: EthernetAddress = EthernetAddress([0x00, 0x16, 0x3e, 1, 2, 3]);
const DOC: u64 = 0x2001_0db8_0000_0001;

fn at(seconds: i64) -> Instant {
    Instant::from_secs(seconds)
}

/// Makes a prefix option.
fn option(prefix: u64, valid: u32, preferred: u32) -> Vec<u8> {
    let mut option = vec![3, 4, 64, 0xc0];
    option.extend(valid.to_be_bytes());
    option.extend(preferred.to_be_bytes());
    option.extend([0; 4]);
    option.extend(prefix.to_be_bytes());
    option.extend([0; 8]);
    option
}

/// Makes the frame of an advertisement, and lets `spoil` change it before its checksum is made.
fn frame(
    router: Ipv6Addr,
    lifetime: u16,
    options: &[Vec<u8>],
    spoil: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let mut body = vec![134, 0, 0, 0, 64, 0];
    body.extend(lifetime.to_be_bytes());
    body.extend([0; 8]);
    body.extend(options.concat());
    let mut frame = vec![0; 14 + 40];
    // To all nodes (RFC 2464 section 7).
    frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    let mut packet = Ipv6Packet::new_unchecked(&mut frame[14..]);
    packet.set_version(6);
    packet.set_next_header(IpProtocol::Icmpv6);
    packet.set_hop_limit(255);
    packet.set_payload_len(body.len() as u16);
    packet.set_src_addr(router);
    packet.set_dst_addr(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    frame.extend(body);
    spoil(&mut frame);
    let source = Ipv6Packet::new_unchecked(&frame[14..54]).src_addr();
    let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    Icmpv6Packet::new_unchecked(&mut frame[54..]).fill_checksum(&source, &destination);
    frame
}

/// Makes an advertisement of one prefix, as routers send it.
pub(crate) fn advertisement(lifetime: u16, valid: u32) -> Vec<u8> {
    frame(ROUTER, lifetime, &[option(DOC, valid, valid)], |_| {})
}

fn addresses(autoconf: &Autoconf) -> Vec<Ipv6Addr> {
    autoconf.addresses(MAC).collect()
}

#[test]
fn an_advertisement_gives_an_address_and_a_router() {
    let mut autoconf = Autoconf::new();
    assert!(autoconf.is_due(at(0)));
    assert!(is_advertisement(&advertisement(1800, 86_400)));
    assert!(autoconf.hear(&advertisement(1800, 86_400), at(0)));
    let address: Ipv6Addr = "2001:db8:0:1:216:3eff:fe01:203".parse().expect("valid");
    assert_eq!(addresses(&autoconf), [address]);
    assert_eq!(autoconf.router(), Some(ROUTER));
    assert!(!autoconf.is_due(at(100)), "a router is known");
    // The next one changes nothing.
    assert!(!autoconf.hear(&advertisement(1800, 86_400), at(600)));
    // Lifetimes end.
    assert_eq!(autoconf.deadline(), Some(at(2400)));
    assert!(autoconf.expire(at(2400)));
    assert_eq!(autoconf.router(), None);
    assert_eq!(addresses(&autoconf), [address]);
    assert!(autoconf.is_due(at(2400)), "a router is asked for again");
    assert!(autoconf.expire(at(600 + 86_400)));
    assert!(addresses(&autoconf).is_empty());
}

#[test]
fn a_router_that_leaves_is_left() {
    let mut autoconf = Autoconf::new();
    autoconf.hear(&advertisement(1800, 86_400), at(0));
    assert!(autoconf.hear(&advertisement(0, 86_400), at(10)));
    assert_eq!(autoconf.router(), None);
    assert_eq!(addresses(&autoconf).len(), 1);
}

#[test]
fn a_forged_lifetime_does_not_end_an_address_at_once() {
    let mut autoconf = Autoconf::new();
    autoconf.hear(&advertisement(1800, 86_400), at(0));
    assert!(!autoconf.hear(&advertisement(1800, 0), at(10)));
    autoconf.expire(at(7200));
    assert_eq!(addresses(&autoconf).len(), 1);
    autoconf.expire(at(7211));
    assert_eq!(addresses(&autoconf).len(), 0);
}

#[test]
fn time_away_counts_for_lifetimes() {
    let mut autoconf = Autoconf::new();
    autoconf.hear(&advertisement(1800, 3600), at(0));
    autoconf.time_passed(Duration::from_secs(1800));
    assert!(autoconf.expire(at(1)));
    assert_eq!((autoconf.router(), addresses(&autoconf).len()), (None, 1));
    autoconf.time_passed(Duration::from_secs(1800));
    assert!(autoconf.expire(at(1)));
    assert_eq!(addresses(&autoconf).len(), 0);
}

#[test]
fn routers_are_solicited_with_growing_pauses() {
    let mut autoconf = Autoconf::new();
    let mut times = Vec::new();
    for second in 0..40_000 {
        if autoconf.is_due(at(second)) {
            autoconf.solicited(at(second));
            times.push(second);
        }
    }
    assert_eq!(times[..5], [0, 4, 12, 28, 60]);
    assert!((10..25).contains(&times.len()), "{times:?}");
    // In another network, although a router is known: three times.
    autoconf.hear(&advertisement(65_535, 86_400), at(40_000));
    autoconf.ask_anew();
    let mut count = 0;
    for second in 40_000..50_000 {
        if autoconf.is_due(at(second)) {
            autoconf.solicited(at(second));
            count += 1;
        }
    }
    assert_eq!(count, 3);
}

#[test]
fn what_no_router_of_the_link_sends_is_not_believed() {
    let heard = |frame: &[u8]| Autoconf::new().hear(frame, at(0));
    let prefixes = [option(DOC, 600, 600)];
    assert!(heard(&frame(ROUTER, 60, &prefixes, |_| {})));
    let remote = "2001:db8::1".parse().expect("valid");
    assert!(!heard(&frame(remote, 60, &prefixes, |_| {})));
    for (place, value) in [(21, 254), (55, 1), (54, 135)] {
        let spoil = |frame: &mut [u8]| frame[place] = value;
        assert!(!heard(&frame(ROUTER, 60, &prefixes, spoil)), "byte {place}");
    }
    let mut wrong = advertisement(60, 600);
    wrong[57] ^= 1;
    assert!(!heard(&wrong), "a wrong checksum");
    assert!(!heard(&frame(
        ROUTER,
        60,
        &[vec![3, 0, 64, 0xc0, 0, 0, 0, 0]],
        |_| {}
    )));
    assert!(!heard(&frame(
        ROUTER,
        60,
        &[vec![3, 9, 64, 0xc0, 0, 0, 0, 0]],
        |_| {}
    )));
}

#[test]
fn prefixes_that_make_no_address_are_passed_over() {
    for (prefix, valid, preferred, flags, length) in [
        (0xfe80 << 48, 600, 600, 0xc0, 64),
        (0xff02 << 48, 600, 600, 0xc0, 64),
        (0, 600, 600, 0xc0, 64),
        (DOC, 600, 601, 0xc0, 64),
        (DOC, 600, 600, 0x80, 64),
        (DOC, 600, 600, 0xc0, 63),
        (DOC, 0, 0, 0xc0, 64),
    ] {
        let mut option = option(prefix, valid, preferred);
        (option[2], option[3]) = (length, flags);
        let mut autoconf = Autoconf::new();
        autoconf.hear(&frame(ROUTER, 60, &[option], |_| {}), at(0));
        assert!(
            addresses(&autoconf).is_empty(),
            "{prefix:x} {flags:x} {length}"
        );
    }
}

#[test]
fn many_routers_and_prefixes_stay_bounded() {
    let mut autoconf = Autoconf::new();
    for number in 0..1000_u16 {
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number);
        let prefixes: Vec<_> = (0..4)
            .map(|low| option(DOC + u64::from(number) * 4 + low, 600, 600))
            .collect();
        autoconf.hear(&frame(router, 60, &prefixes, |_| {}), at(0));
    }
    assert_eq!(addresses(&autoconf).len(), MOST);
    assert!(autoconf.router().is_some());
}

proptest! {
    /// No frame makes a panic, or more than what is bounded.
    #[test]
    fn any_frame_is_survived(
        cut in 0usize..120,
        changes in prop::collection::vec((0usize..200, any::<u8>()), 0..6),
    ) {
        let options = [option(DOC, 600, 600), option(DOC + 1, 600, 600)];
        let mut frame = frame(ROUTER, 60, &options, |frame| {
            for (place, value) in changes {
                if let Some(byte) = frame.get_mut(place) {
                    *byte = value;
                }
            }
        });
        frame.truncate(frame.len() - cut.min(frame.len()));
        let mut autoconf = Autoconf::new();
        autoconf.hear(&frame, at(0));
        autoconf.expire(at(1_000_000));
    }
}
