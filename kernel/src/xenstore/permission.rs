//! Permissions of a node (docs/misc/xenstore.txt, `GET_PERMS`).

use alloc::{format, string::String, vec::Vec};

use super::{error::ProtocolError, wire};
use crate::domain::DomId;

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `n`: nothing.
    None,
    /// `r`: read it.
    Read,
    /// `w`: write it.
    Write,
    /// `b`: read and write it.
    Both,
}

/// One entry of a node's permissions. The first one names the owner, who may
/// always do everything, and gives as access what domains that are not named
/// may do; each further one is the access of the domain it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The domain.
    pub domid: DomId,
    /// What it may do, or, in the first entry, what the others may do.
    pub access: Access,
}

impl Permission {
    /// The form on the wire, with its NUL.
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

    /// All entries of a reply's payload.
    pub(super) fn decode_all(payload: &[u8]) -> Result<Vec<Self>, ProtocolError> {
        wire::split_strings(payload)?
            .into_iter()
            .map(|text| Self::decode(text).ok_or(ProtocolError::BadReply))
            .collect()
    }
}
