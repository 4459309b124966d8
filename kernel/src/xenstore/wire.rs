//! Message framing of `xen/include/public/io/xs_wire.h`: a header of 16 bytes
//! (`struct xsd_sockmsg`) and a payload of at most 4096.

use alloc::{rc::Rc, vec::Vec};

use xen_sys::abi;

use super::error::{ProtocolError, StoreError};

/// Size of a message's header in bytes.
pub(super) const HEADER_BYTES: usize = size_of::<abi::xsd_sockmsg>();
/// Greatest size of a message's payload in bytes. xenstored cuts the connection of a client that
/// sends more.
pub(super) const PAYLOAD_MAX: usize = abi::XENSTORE_PAYLOAD_MAX as usize;
/// Greatest length in bytes of a path that starts with `/`.
const ABSOLUTE_PATH_MAX: usize = abi::XENSTORE_ABS_PATH_MAX as usize;
/// Greatest length in bytes of a path relative to `/local/domain/<domid>`.
const RELATIVE_PATH_MAX: usize = abi::XENSTORE_REL_PATH_MAX as usize;

/// The requests that this client makes, with their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Operation {
    Directory = abi::XS_DIRECTORY,
    Read = abi::XS_READ,
    GetPermissions = abi::XS_GET_PERMS,
    Watch = abi::XS_WATCH,
    Unwatch = abi::XS_UNWATCH,
    TransactionStart = abi::XS_TRANSACTION_START,
    TransactionEnd = abi::XS_TRANSACTION_END,
    Write = abi::XS_WRITE,
    Remove = abi::XS_RM,
    SetPermissions = abi::XS_SET_PERMS,
}

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `XS_…`: the request's number, `XS_ERROR` or `XS_WATCH_EVENT`.
    pub kind: u32,
    /// Chosen by the client and copied into the reply; 0 in watch events.
    pub request_id: u32,
    /// The transaction to which the message belongs, 0 for none.
    pub transaction: u32,
    /// Size of the payload that follows, in bytes.
    pub length: u32,
}

impl Header {
    /// Encodes the header as it goes over the ring: x86 guests and xenstored are little-endian.
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields = [self.kind, self.request_id, self.transaction, self.length];
        for (slot, field) in bytes.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Decodes what [`Header::encode`] encodes; every bit pattern is a header.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let field = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            kind: field(0),
            request_id: field(4),
            transaction: field(8),
            length: field(12),
        }
    }
}

/// Encodes a request as it goes over the ring. `parts` are joined without separators: the caller
/// puts NULs where the operation needs them.
///
/// # Errors
/// [`StoreError::TooLong`] if the payload exceeds 4096 bytes.
pub(super) fn encode_request(
    operation: Operation,
    request_id: u32,
    transaction: u32,
    parts: &[&[u8]],
) -> Result<Rc<[u8]>, StoreError> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > PAYLOAD_MAX {
        return Err(StoreError::TooLong);
    }
    let header = Header {
        kind: operation as u32,
        request_id,
        transaction,
        length: u32::try_from(length).map_err(|_| StoreError::TooLong)?,
    };
    let mut message = Vec::with_capacity(HEADER_BYTES + length);
    message.extend_from_slice(&header.encode());
    for part in parts {
        message.extend_from_slice(part);
    }
    Ok(message.into())
}

/// Makes the `TRANSACTION_END` that discards what the given one commits.
pub(super) fn as_discard(end: &[u8]) -> Rc<[u8]> {
    let mut message = end.to_vec();
    if let Some(choice) = message.get_mut(HEADER_BYTES) {
        *choice = b'F';
    }
    message.into()
}

/// Rejects paths that must not reach the wire: a NUL would end the path early, and the length of
/// paths is limited. xenstored checks everything else.
///
/// # Errors
/// [`StoreError::Invalid`] or [`StoreError::TooLong`].
pub(super) fn check_path(path: &str) -> Result<(), StoreError> {
    let limit = if path.starts_with('/') {
        ABSOLUTE_PATH_MAX
    } else {
        RELATIVE_PATH_MAX
    };
    if path.is_empty() || path.contains('\0') {
        Err(StoreError::Invalid)
    } else if path.len() > limit {
        Err(StoreError::TooLong)
    } else {
        Ok(())
    }
}

/// A complete message from xenstored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub header: Header,
    pub payload: Vec<u8>,
}

/// Assembles messages from a stream of bytes split at any point. Holds at most one message.
#[derive(Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes bytes off the front of `input` up to the end of one message and returns the message,
    /// or takes all of them and returns `None`.
    ///
    /// # Errors
    /// [`ProtocolError::Oversized`], after which the stream cannot be followed any further.
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ProtocolError> {
        self.fill(input, HEADER_BYTES);
        let Some(header) = self.buffer.first_chunk().map(Header::decode) else {
            return Ok(None);
        };
        let length = header.length as usize;
        if length > PAYLOAD_MAX {
            return Err(ProtocolError::Oversized);
        }
        self.fill(input, HEADER_BYTES + length);
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        let payload = self.buffer.split_off(HEADER_BYTES);
        self.buffer.clear();
        Ok(Some(Message { header, payload }))
    }

    /// Moves bytes over until the buffer has `total` bytes or the input is used up.
    fn fill(&mut self, input: &mut &[u8], total: usize) {
        let missing = total.saturating_sub(self.buffer.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.buffer.extend_from_slice(taken);
        *input = rest;
    }
}

/// Splits a payload into its strings, each of which ends with a NUL.
///
/// # Errors
/// [`ProtocolError::BadReply`] if the last NUL is missing or a string is not UTF-8.
pub(super) fn split_strings(payload: &[u8]) -> Result<Vec<&str>, ProtocolError> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    payload
        .strip_suffix(b"\0")
        .ok_or(ProtocolError::BadReply)?
        .split(|byte| *byte == 0)
        .map(|text| core::str::from_utf8(text).map_err(|_| ProtocolError::BadReply))
        .collect()
}
