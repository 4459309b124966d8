//! Permissions of a node (docs/misc/xenstore.txt, `GET_PERMS`).

use alloc::{format, string::String, vec::Vec};

use super::{error::ProtocolError, wire};
use crate::domain::DomId;

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `n`: no access.
    None,
    /// `r`: read.
    Read,
    /// `w`: write.
    Write,
    /// `b`: read and write.
    Both,
}

/// One entry of a node's permissions. The first entry names the owner, which
/// always has full access, and gives the access of all domains that no entry
/// names; each further entry gives the access of the domain it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The domain.
    pub domid: DomId,
    /// The domain's access, or, in the first entry, that of the domains not
    /// named.
    pub access: Access,
}

impl Permission {
    /// Encodes the entry as on the wire, with its NUL.
    pub(super) fn encode(self) -> String {
        let letter = match self.access {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::Both => 'b',
        };
        format!("{letter}{}\0", self.domid)
    }

    fn decode(text: &str) -> Option<Self> {
        let mut characters = text.chars();
        let access = match characters.next()? {
            'n' => Access::None,
            'r' => Access::Read,
            'w' => Access::Write,
            'b' => Access::Both,
            _ => return None,
        };
        let domid = characters.as_str().parse().ok()?;
        Some(Self { domid, access })
    }

    /// Decodes all entries of a reply's payload.
    pub(super) fn decode_all(payload: &[u8]) -> Result<Vec<Self>, ProtocolError> {
        wire::split_strings(payload)?
            .into_iter()
            .map(|text| Self::decode(text).ok_or(ProtocolError::BadReply))
            .collect()
    }
}
