//! xenstored's side of the protocol. Like the real one it sleeps until it is
//! notified, so a notification that the client forgets shows as a hang.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use xen_sys::abi;

use super::{
    page::Page,
    tree::{Errno, Tree},
};
use crate::{
    domain::DomId,
    xenstore::{
        permission::{Access, Permission},
        wire::{self, Decoder, HEADER_BYTES, Header, Message},
    },
};

/// The domid of the guest under test.
pub(crate) const GUEST: DomId = 7;

/// The fake xenstored.
pub(crate) struct Server {
    page: Page,
    tree: Tree,
    decoder: Decoder,
    outbox: Vec<u8>,
    transactions: BTreeMap<u32, (u64, Tree, Vec<String>)>,
    last_transaction: u32,
    /// The number of changes of the tree.
    generation: u64,
    watches: Vec<(String, String)>,
    /// Most bytes moved each way in one step.
    pub(crate) chunk: usize,
    /// Whether it takes requests but answers none.
    pub(crate) silent: bool,
    /// The type of requests that it takes but does not answer.
    pub(crate) silent_on: Option<u32>,
    /// How many further commits meet a conflict.
    pub(crate) conflicts: usize,
    /// What dom0 writes to cause such a conflict.
    pub(crate) conflicting_write: Option<(&'static str, &'static str)>,
    pub(crate) notified: bool,
    /// Requests served, by type.
    pub(crate) served: Vec<u32>,
}

impl Server {
    pub(super) fn new(page: Page) -> Self {
        let mut tree = Tree::default();
        let guest = Permission {
            domid: GUEST,
            access: Access::None,
        };
        tree.plant(&absolute("."), b"", vec![guest]);
        Self {
            page,
            tree,
            decoder: Decoder::default(),
            outbox: Vec::new(),
            transactions: BTreeMap::new(),
            last_transaction: 0,
            generation: 0,
            watches: Vec::new(),
            chunk: usize::MAX,
            silent: false,
            silent_on: None,
            conflicts: 0,
            conflicting_write: None,
            notified: false,
            served: Vec::new(),
        }
    }

    /// Writes as dom0; the guest owns the node.
    pub(crate) fn put(&mut self, path: &str, value: &str) {
        self.put_owned_by(GUEST, path, value);
    }

    /// Writes, as dom0, a node that all may read and `owner` may write.
    pub(crate) fn put_owned_by(&mut self, owner: DomId, path: &str, value: &str) {
        let path = absolute(path);
        let owner = Permission {
            domid: owner,
            access: Access::Read,
        };
        self.tree.plant(&path, value.as_bytes(), vec![owner]);
        self.changed(&path);
    }

    /// Makes a node unreadable for the guest, as one of another domain is.
    pub(crate) fn hide(&mut self, path: &str) {
        let path = absolute(path);
        let owner = Permission {
            domid: 0,
            access: Access::None,
        };
        self.tree.plant(&path, b"", vec![owner]);
        self.changed(&path);
    }

    /// Removes a node as dom0.
    pub(crate) fn remove(&mut self, path: &str) {
        let path = absolute(path);
        self.tree.remove(0, &path).expect("dom0 may remove it");
        self.changed(&path);
    }

    /// Returns the value of a node, as dom0 sees it.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        core::str::from_utf8(self.tree.peek(&absolute(path))?).ok()
    }

    /// Returns the number of watches.
    pub(crate) fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// Returns the number of open transactions.
    pub(crate) fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// Queues arbitrary bytes for the guest.
    pub(crate) fn inject(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
        self.notified = true;
    }

    /// Takes one step, if there is reason to be awake; returns whether anything
    /// moved.
    pub(crate) fn step(&mut self) -> bool {
        if !self.notified {
            return false;
        }
        let requests = self.page.take_requests(self.chunk);
        let mut rest = requests.as_slice();
        while let Some(message) = self.decoder.feed(&mut rest).expect("the guest's framing") {
            self.served.push(message.header.kind);
            if !self.silent && self.silent_on != Some(message.header.kind) {
                self.serve(&message);
            }
        }
        let sent = self.page.put_responses(&self.outbox, self.chunk);
        self.outbox.drain(..sent);
        // It sleeps on a full ring, as the real one does.
        let blocked = !self.outbox.is_empty() && self.page.is_full_of_responses();
        let moved = !requests.is_empty() || sent > 0;
        self.notified = moved && !blocked;
        moved
    }

    fn serve(&mut self, message: &Message) {
        let (kind, payload) = match self.answer(message.header, &message.payload) {
            Ok(payload) => (message.header.kind, payload),
            Err(errno) => (abi::XS_ERROR, format!("{errno}\0").into_bytes()),
        };
        let header = message.header;
        self.reply(kind, header.request_id, header.transaction, &payload);
        if kind == abi::XS_WATCH {
            // A new watch fires at once.
            if let Some((path, token)) = self.watches.last().cloned() {
                self.event(&path, &token);
            }
        }
    }

    fn reply(&mut self, kind: u32, request_id: u32, transaction: u32, payload: &[u8]) {
        let header = Header {
            kind,
            request_id,
            transaction,
            length: payload.len() as u32,
        };
        self.inject(&header.encode());
        self.inject(payload);
    }

    fn event(&mut self, path: &str, token: &str) {
        let payload = format!("{path}\0{token}\0");
        self.reply(abi::XS_WATCH_EVENT, 0, 0, payload.as_bytes());
    }

    fn answer(&mut self, header: Header, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        let ok = b"OK\0".to_vec();
        match header.kind {
            abi::XS_TRANSACTION_START => {
                self.last_transaction += 1;
                let opened = (self.generation, self.tree.clone(), Vec::new());
                self.transactions.insert(self.last_transaction, opened);
                return Ok(format!("{}\0", self.last_transaction).into_bytes());
            }
            abi::XS_TRANSACTION_END => return self.end(header.transaction, payload).map(|()| ok),
            _ => {}
        }
        let end = payload.iter().position(|byte| *byte == 0).ok_or("EINVAL")?;
        let (given, rest) = (&payload[..end], &payload[end + 1..]);
        let given = core::str::from_utf8(given).map_err(|_| "EINVAL")?;
        let path = absolute(given);
        match header.kind {
            abi::XS_WATCH => {
                self.watches.push((given.into(), token(rest)?));
                return Ok(ok);
            }
            abi::XS_UNWATCH => {
                let watch = (given.into(), token(rest)?);
                let at = self.watches.iter().position(|set| *set == watch);
                self.watches.remove(at.ok_or("ENOENT")?);
                return Ok(ok);
            }
            _ => {}
        }
        let mut changes = Vec::new();
        let tree = match header.transaction {
            0 => &mut self.tree,
            id => &mut self.transactions.get_mut(&id).ok_or("ENOENT")?.1,
        };
        let answer = match header.kind {
            abi::XS_READ => tree.read(GUEST, &path)?,
            abi::XS_DIRECTORY => {
                let names = tree.list(GUEST, &path)?;
                names
                    .into_iter()
                    .flat_map(|name| [name, "\0"])
                    .collect::<String>()
                    .into_bytes()
            }
            abi::XS_GET_PERMS => {
                let entries = tree.permissions(GUEST, &path)?;
                entries
                    .into_iter()
                    .map(Permission::encode)
                    .collect::<String>()
                    .into_bytes()
            }
            abi::XS_SET_PERMS => {
                let entries = Permission::decode_all(rest).map_err(|_| "EINVAL")?;
                tree.set_permissions(GUEST, &path, entries)?;
                changes.push(path);
                ok
            }
            abi::XS_WRITE => {
                tree.write(GUEST, &path, rest)?;
                changes.push(path);
                ok
            }
            abi::XS_RM => {
                tree.remove(GUEST, &path)?;
                changes.push(path);
                ok
            }
            _ => return Err("ENOSYS"),
        };
        for path in changes {
            match self.transactions.get_mut(&header.transaction) {
                Some((_, _, changes)) => changes.push(path),
                None => self.changed(&path),
            }
        }
        if answer.len() > wire::PAYLOAD_MAX {
            return Err("E2BIG");
        }
        Ok(answer)
    }

    fn end(&mut self, id: u32, payload: &[u8]) -> Result<(), Errno> {
        let (generation, tree, changes) = self.transactions.remove(&id).ok_or("ENOENT")?;
        if payload != b"T\0" {
            return Ok(());
        }
        if self.conflicts > 0 {
            self.conflicts -= 1;
            if let Some((path, value)) = self.conflicting_write {
                self.put(path, value);
            }
            return Err("EAGAIN");
        }
        if generation != self.generation {
            return Err("EAGAIN");
        }
        self.tree = tree;
        for path in changes {
            self.changed(&path);
        }
        Ok(())
    }

    /// Sends the events of a change.
    fn changed(&mut self, path: &str) {
        self.generation += 1;
        for (watched, token) in self.watches.clone() {
            let full = absolute(&watched);
            if path == full || path.starts_with(&format!("{full}/")) {
                let below = &path[full.len()..];
                self.event(&format!("{watched}{below}"), &token);
            } else if full.starts_with(&format!("{path}/")) {
                self.event(&watched, &token);
            }
        }
    }
}

/// Returns the token behind the path of a `WATCH` or `UNWATCH`.
fn token(rest: &[u8]) -> Result<String, Errno> {
    let token = rest.strip_suffix(b"\0").ok_or("EINVAL")?;
    String::from_utf8(token.to_vec()).map_err(|_| "EINVAL")
}

/// Returns the path from the root; `.` is the guest's own directory.
fn absolute(path: &str) -> String {
    match path {
        _ if path.starts_with('/') => path.into(),
        "." => format!("/local/domain/{GUEST}"),
        _ => format!("/local/domain/{GUEST}/{path}"),
    }
}

/// Encodes a header, for tests that make messages themselves.
pub(crate) fn raw_message(kind: u32, request_id: u32, length: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        request_id,
        transaction: 0,
        length,
    };
    let mut message = Vec::with_capacity(HEADER_BYTES + payload.len());
    message.extend_from_slice(&header.encode());
    message.extend_from_slice(payload);
    message
}
