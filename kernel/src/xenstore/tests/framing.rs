//! Messages assembled from pieces, and the forms of payloads.

use alloc::{string::String, vec::Vec};

use proptest::prelude::*;

use crate::xenstore::{
    ProtocolError,
    wire::{Decoder, HEADER_BYTES, Header, Message, PAYLOAD_MAX, split_strings},
};

fn message() -> impl Strategy<Value = Message> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), PAYLOAD_MAX - 1..=PAYLOAD_MAX),
    ];
    (any::<[u32; 3]>(), payload).prop_map(|([kind, request_id, transaction], payload)| {
        let header = Header {
            kind,
            request_id,
            transaction,
            length: payload.len() as u32,
        };
        Message { header, payload }
    })
}

proptest! {
    #[test]
    fn messages_survive_any_cut(
        messages in prop::collection::vec(message(), 0..6),
        pieces in prop::collection::vec(1_usize..300, 1..20),
    ) {
        let mut stream = Vec::new();
        for message in &messages {
            stream.extend_from_slice(&message.header.encode());
            stream.extend_from_slice(&message.payload);
        }
        let mut decoder = Decoder::default();
        let mut decoded = Vec::new();
        let mut rest = stream.as_slice();
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (mut now, later) = rest.split_at((*piece).min(rest.len()));
            rest = later;
            while let Some(message) = decoder.feed(&mut now).expect("well formed") {
                decoded.push(message);
            }
            prop_assert!(now.is_empty());
        }
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn headers_survive_the_wire(bytes in any::<[u8; HEADER_BYTES]>()) {
        prop_assert_eq!(Header::decode(&bytes).encode(), bytes);
    }

    #[test]
    fn split_strings_undoes_joining(strings in prop::collection::vec("[^\0]{0,9}", 0..9)) {
        let joined: String = strings.iter().flat_map(|text| [text.as_str(), "\0"]).collect();
        prop_assert_eq!(split_strings(joined.as_bytes()).expect("text"), strings);
    }
}

#[test]
fn a_payload_over_the_limit_ends_the_stream() {
    let header = Header {
        kind: 2,
        request_id: 1,
        transaction: 0,
        length: PAYLOAD_MAX as u32 + 1,
    };
    let bytes = header.encode();
    let outcome = Decoder::default().feed(&mut &bytes[..]);
    assert_eq!(outcome.err(), Some(ProtocolError::Oversized));
}

#[test]
fn strings_must_end_with_nul_and_be_text() {
    assert_eq!(split_strings(b"a\0b"), Err(ProtocolError::BadReply));
    assert_eq!(split_strings(b"\xff\0"), Err(ProtocolError::BadReply));
    assert_eq!(split_strings(b"\0").expect("one empty string"), [""]);
}
