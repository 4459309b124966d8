//! FIN, RESET, and users that let go.

use super::pair::{Pair, established};
use sim::endpoint::Socket;
use vmc::{Output, Received, StreamEnd};

#[test]
fn a_fin_follows_the_bytes_and_tcp_closes_after_it() {
    let mut pair = Pair::linked();
    assert_eq!(pair.write(0, b"last"), Ok(4));
    pair.finish(0);
    pair.run();
    // TCP closes, and so confirms that everything has arrived, only when it is
    // read.
    assert!(!pair.is_closed(0));
    assert_eq!(pair.read_all(1), (b"last".to_vec(), true));
    pair.run();
    assert!(pair.is_closed(0));
    // The other direction still works.
    assert_eq!(pair.pump(1, 0, 50).len(), 50);
}

#[test]
fn a_blocked_reader_hears_of_the_fin() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 1);
    assert_eq!(pair.read(1, 1), Ok(Received::Nothing));
    pair.take_outputs(1);
    pair.finish(0);
    pair.run();
    assert!(
        pair.take_outputs(1)
            .contains(&Output::Readable(pair.conn(1)))
    );
    assert_eq!(pair.read(1, 1), Ok(Received::Finished));
    assert_eq!(pair.read(1, 1), Ok(Received::Finished));
}

#[test]
fn a_reset_reaches_a_blocked_reader_and_frees_the_rings() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 1);
    pair.pump(1, 0, 1);
    assert_eq!(pair.read(1, 1), Ok(Received::Nothing));
    let conn = pair.conn(0);
    // TCP's own RST is lost: it goes to a connection that the peer does not have.
    let other = established(pair.clock.get());
    let mut other = Socket::new(&other, 0, pair.clock.get());
    pair.guests[0].vmc.abort(conn, &mut other);
    pair.run();
    let readable = Output::Readable(pair.conn(1));
    let failed = Output::Failed(pair.conn(1));
    let outputs = pair.take_outputs(1);
    assert!(outputs.contains(&readable) || outputs.contains(&failed));
    assert_eq!(pair.read(1, 1), Err(StreamEnd::Reset));
    pair.run();
    pair.reconnect();
    pair.pump(0, 0, 1);
    pair.pump(1, 0, 1);
    for at in [0, 1] {
        assert_eq!(pair.link(at).rings_granted, 1, "used again");
    }
}

#[test]
fn unread_bytes_are_discarded_and_the_writer_ends_in_order() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 1);
    let conn = pair.conn(1);
    pair.finish(1);
    pair.guests[1].vmc.release(conn);
    pair.run();
    let bytes = Pair::pattern(0, 1 << 18);
    let mut sent = 0;
    while sent < bytes.len() {
        sent += pair.write(0, &bytes[sent..]).expect("fine");
        pair.run();
    }
    pair.finish(0);
    pair.run();
    assert!(pair.is_closed(0));
    assert_eq!(pair.guests[0].vmc.unconsumed(pair.conn(0)), 0);
}

#[test]
fn the_key_of_a_forgotten_connection_is_invalid() {
    let mut pair = Pair::linked();
    let old = pair.conn(0);
    pair.reconnect();
    assert_eq!(pair.conn(0).index(), old.index());
    let mut tcp = Socket::new(&pair.tcp, 0, pair.clock.get());
    let victim = &mut pair.guests[0].vmc;
    assert_eq!(victim.write(old, &mut tcp, b"x"), Err(StreamEnd::Reset));
    victim.forget(old);
    assert_eq!(pair.pump(0, 0, 9).len(), 9);
}

#[test]
fn a_connection_that_is_forgotten_is_reset_at_the_other_end() {
    for gone in [0, 1] {
        let mut pair = Pair::linked();
        pair.pump(0, 0, 10);
        assert_eq!(pair.write(0, b"unread"), Ok(6));
        let conn = pair.conn(gone);
        pair.guests[gone].vmc.forget(conn);
        pair.run();
        let left = pair.conn(1 - gone);
        let failed = pair.take_outputs(1 - gone).contains(&Output::Failed(left));
        assert!(failed || pair.read(1 - gone, 1) == Err(StreamEnd::Reset));
        pair.run();
        pair.reconnect();
        assert!(pair.pump(0, 0, 100) == Pair::pattern(0, 100));
        let link = pair.link(0);
        assert_eq!(link.rings_granted, 1, "used again");
    }
}
