//! The operations on xenstore's tree, which are the same inside and outside a transaction.

use alloc::{borrow::ToOwned, rc::Rc, string::String, vec::Vec};

use super::{
    connection::Connection,
    error::{ProtocolError, StoreError},
    permission::Permission,
    requests::Reply,
    wire::{self, Operation},
};
use crate::domain::Generation;

/// A view of xenstore's tree: through [`Xenstore`](super::Xenstore) as it is, through
/// [`Transaction`](super::Transaction) as it was when the transaction began.
///
/// Paths start with `/`, or are relative to this domain's own directory, `/local/domain/<domid>`,
/// which itself has no relative name. Every operation may fail with any [`StoreError`]; the items
/// below list only specific causes.
#[derive(Clone)]
pub struct Tree {
    pub(super) connection: Rc<Connection>,
    /// The transaction's id, 0 for none.
    pub(super) transaction: u32,
    /// The generation in which the transaction began.
    pub(super) generation: Generation,
}

impl Tree {
    /// Reads the value of a node as text.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`StoreError::NotText`] if the value is
    /// not UTF-8.
    pub async fn read(&self, path: &str) -> Result<String, StoreError> {
        String::from_utf8(self.read_bytes(path).await?).map_err(|_| StoreError::NotText)
    }

    /// Reads the value of a node.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn read_bytes(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.request(Operation::Read, path, &[b"\0"]).await
    }

    /// Sets the value of a node, and creates the node and its parents if they do not exist. Path
    /// and value share a message and may have 4095 bytes together; xenstored's usual quota for a
    /// node is 2048 bytes.
    ///
    /// # Errors
    /// [`StoreError::Denied`], [`StoreError::TooLong`], [`StoreError::Quota`].
    pub async fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.acknowledged(Operation::Write, path, &[b"\0", value.as_ref()])
            .await
    }

    /// Removes a node and everything below it. The node need not exist, but its parent must.
    ///
    /// # Errors
    /// [`StoreError::Denied`], [`StoreError::NotFound`].
    pub async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.acknowledged(Operation::Remove, path, &[b"\0"]).await
    }

    /// Lists the names of a node's children, without their path.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`StoreError::TooLong`] if the names
    /// exceed 4096 bytes.
    pub async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let payload = self.request(Operation::Directory, path, &[b"\0"]).await?;
        let names = wire::split_strings(&payload)?;
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// Reads a node's permissions; the first entry is the owner's.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn permissions(&self, path: &str) -> Result<Vec<Permission>, StoreError> {
        let payload = self
            .request(Operation::GetPermissions, path, &[b"\0"])
            .await?;
        Ok(Permission::decode_all(&payload)?)
    }

    /// Replaces a node's permissions; see [`Permission`] for the order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`StoreError::Invalid`] for an empty list.
    pub async fn set_permissions(
        &self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        if permissions.is_empty() {
            return Err(StoreError::Invalid);
        }
        let encoded: String = permissions.iter().map(|entry| entry.encode()).collect();
        self.acknowledged(
            Operation::SetPermissions,
            path,
            &[b"\0", encoded.as_bytes()],
        )
        .await
    }

    /// Fails if the transaction ended with a former domain.
    pub(super) fn check_generation(&self) -> Result<(), StoreError> {
        if self.transaction != 0 && self.generation != self.connection.generation() {
            return Err(StoreError::Again);
        }
        Ok(())
    }

    /// Makes a request on a path; `rest` follows the path in the payload.
    async fn request(&self, operation: Operation, path: &str, rest: &[&[u8]]) -> Reply {
        wire::check_path(path)?;
        self.check_generation()?;
        let mut parts = [path.as_bytes(), b"", b""];
        for (part, given) in parts[1..].iter_mut().zip(rest) {
            *part = given;
        }
        self.connection
            .request(operation, self.transaction, &parts)?
            .await
    }

    async fn acknowledged(
        &self,
        operation: Operation,
        path: &str,
        rest: &[&[u8]],
    ) -> Result<(), StoreError> {
        acknowledgement(&self.request(operation, path, rest).await?)
    }
}

/// Checks the reply `OK` to a request without a result.
pub(super) fn acknowledgement(payload: &[u8]) -> Result<(), StoreError> {
    if payload == b"OK\0" {
        Ok(())
    } else {
        Err(ProtocolError::BadReply.into())
    }
}
