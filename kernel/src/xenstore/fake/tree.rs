//! The fake xenstored's nodes, with owner and permissions.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use crate::{
    domain::DomId,
    xenstore::permission::{Access, Permission},
};

/// The name of an errno.
pub(super) type Errno = &'static str;

#[derive(Clone)]
struct Node {
    value: Vec<u8>,
    permissions: Vec<Permission>,
}

/// All nodes by absolute path.
#[derive(Clone, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Writes as dom0 and gives the node these permissions. Missing parents
    /// become dom0's, for all to read.
    pub(super) fn plant(&mut self, path: &str, value: &[u8], permissions: Vec<Permission>) {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.nodes.contains_key(parent)
        {
            let everyone = Permission {
                domid: 0,
                access: Access::Read,
            };
            self.plant(parent, b"", vec![everyone]);
        }
        let node = Node {
            value: value.to_vec(),
            permissions,
        };
        self.nodes.insert(path.to_string(), node);
    }

    pub(super) fn peek(&self, path: &str) -> Option<&[u8]> {
        self.nodes.get(path).map(|node| node.value.as_slice())
    }

    pub(super) fn read(&self, who: DomId, path: &str) -> Result<Vec<u8>, Errno> {
        self.allowed(who, path, Access::Read)?;
        Ok(self.nodes[path].value.clone())
    }

    pub(super) fn write(&mut self, who: DomId, path: &str, value: &[u8]) -> Result<(), Errno> {
        match self.allowed(who, path, Access::Write) {
            Ok(()) => {
                if let Some(node) = self.nodes.get_mut(path) {
                    node.value = value.to_vec();
                }
                Ok(())
            }
            Err("ENOENT") => {
                let (parent, _) = path.rsplit_once('/').ok_or("EINVAL")?;
                if parent.is_empty() {
                    return Err("EACCES");
                }
                if !self.nodes.contains_key(parent) {
                    self.write(who, parent, b"")?;
                }
                self.allowed(who, parent, Access::Write)?;
                let owner = Permission {
                    domid: who,
                    access: Access::None,
                };
                self.plant(path, value, vec![owner]);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn remove(&mut self, who: DomId, path: &str) -> Result<(), Errno> {
        let (parent, _) = path.rsplit_once('/').ok_or("EINVAL")?;
        if !self.nodes.contains_key(parent) {
            return Err("ENOENT");
        }
        if self.nodes.contains_key(path) {
            self.allowed(who, path, Access::Write)?;
        }
        let below = alloc::format!("{path}/");
        self.nodes
            .retain(|node, _| node != path && !node.starts_with(&below));
        Ok(())
    }

    pub(super) fn list(&self, who: DomId, path: &str) -> Result<Vec<&str>, Errno> {
        self.allowed(who, path, Access::Read)?;
        let below = alloc::format!("{path}/");
        Ok(self
            .nodes
            .keys()
            .filter_map(|node| node.strip_prefix(&below))
            .filter(|name| !name.contains('/'))
            .collect())
    }

    pub(super) fn permissions(&self, who: DomId, path: &str) -> Result<Vec<Permission>, Errno> {
        self.allowed(who, path, Access::Read)?;
        Ok(self.nodes[path].permissions.clone())
    }

    pub(super) fn set_permissions(
        &mut self,
        who: DomId,
        path: &str,
        permissions: Vec<Permission>,
    ) -> Result<(), Errno> {
        let node = self.nodes.get_mut(path).ok_or("ENOENT")?;
        if node.permissions[0].domid != who {
            return Err("EACCES");
        }
        node.permissions = permissions;
        Ok(())
    }

    fn allowed(&self, who: DomId, path: &str, wanted: Access) -> Result<(), Errno> {
        let permissions = &self.nodes.get(path).ok_or("ENOENT")?.permissions;
        let access = permissions[1..]
            .iter()
            .find(|entry| entry.domid == who)
            .unwrap_or(&permissions[0])
            .access;
        // dom0 may do everything.
        let owner = who == 0 || permissions[0].domid == who;
        if owner || access == wanted || access == Access::Both {
            Ok(())
        } else {
            Err("EACCES")
        }
    }
}
