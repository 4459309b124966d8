//! Errors of xenstore requests.

use core::fmt;

use heapless::String;

/// Why a xenstore request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The node does not exist (`ENOENT`).
    NotFound,
    /// The node's permissions do not allow it (`EACCES`, `EPERM`).
    Denied,
    /// The transaction conflicts with another change (`EAGAIN`) and has to be repeated.
    Again,
    /// Something exists already, such as a watch with the same path and token (`EEXIST`).
    Exists,
    /// xenstored refuses the path or argument as malformed (`EINVAL`), or it contains a NUL.
    Invalid,
    /// This domain has used up one of its quotas in xenstored (`ENOSPC`, `EDQUOT`).
    Quota,
    /// The request or its reply exceeds 4096 bytes (`E2BIG`), or the path is longer than xenstore
    /// allows.
    TooLong,
    /// xenstored did not answer within the request's deadline.
    Timeout,
    /// This guest has too many requests or watches at once.
    Busy,
    /// The value is not UTF-8 text.
    NotText,
    /// xenstored broke the protocol.
    Protocol(ProtocolError),
    /// Another error of xenstored, by the name of its errno.
    Other(ErrnoName),
}

/// How xenstored broke the protocol (`xen/include/public/io/xs_wire.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The indices of a ring are further apart than the ring is long. The connection is unusable
    /// from here on.
    RingCorrupt,
    /// A message announces more than 4096 bytes of payload, so the start of the next one is
    /// unknown. The connection is unusable from here on.
    Oversized,
    /// The reply's type is neither the request's nor an error.
    WrongType,
    /// The reply's payload is malformed for its type.
    BadReply,
}

/// The name of an errno as xenstored sends it, for instance `EROFS`; truncated to 15 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrnoName(String<15>);

impl StoreError {
    /// Decodes an `XS_ERROR` reply, whose payload is the name of an errno and a NUL
    /// (docs/misc/xenstore.txt). Anything else is a malformed reply.
    pub(super) fn from_reply(payload: &[u8]) -> Self {
        let name = payload.strip_suffix(b"\0").unwrap_or(payload);
        match name {
            b"ENOENT" => Self::NotFound,
            b"EACCES" | b"EPERM" => Self::Denied,
            b"EAGAIN" => Self::Again,
            b"EEXIST" => Self::Exists,
            b"EINVAL" => Self::Invalid,
            b"ENOSPC" | b"EDQUOT" | b"EQUOTA" => Self::Quota,
            b"E2BIG" => Self::TooLong,
            _ if name.starts_with(b"E") && name.iter().all(u8::is_ascii_alphanumeric) => {
                let mut cut = String::new();
                for byte in name {
                    // Full: the rest of the name is truncated, as documented.
                    if cut.push(char::from(*byte)).is_err() {
                        break;
                    }
                }
                Self::Other(ErrnoName(cut))
            }
            _ => Self::Protocol(ProtocolError::BadReply),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("xenstore node not found"),
            Self::Denied => f.write_str("xenstore permission denied"),
            Self::Again => f.write_str("xenstore transaction must be repeated"),
            Self::Exists => f.write_str("xenstore item exists already"),
            Self::Invalid => f.write_str("xenstore path or argument is malformed"),
            Self::Quota => f.write_str("this domain's xenstore quota is used up"),
            Self::TooLong => f.write_str("xenstore path, value or listing is too long"),
            Self::Timeout => f.write_str("xenstored did not answer in time"),
            Self::Busy => f.write_str("too many xenstore requests or watches at once"),
            Self::NotText => f.write_str("xenstore value is not UTF-8 text"),
            Self::Protocol(error) => write!(f, "xenstored broke the protocol: {error}"),
            Self::Other(name) => write!(f, "xenstored answered {name}"),
        }
    }
}

impl core::error::Error for StoreError {}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RingCorrupt => "impossible ring indices",
            Self::Oversized => "message longer than 4096 bytes",
            Self::WrongType => "reply of another type than its request",
            Self::BadReply => "malformed reply",
        })
    }
}

impl core::error::Error for ProtocolError {}

impl From<ProtocolError> for StoreError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl ErrnoName {
    /// Returns the name, for instance `EROFS`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrnoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
