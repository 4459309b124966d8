//! Transactions: reads and writes that take effect together or not at all.

use alloc::rc::Rc;
use core::ops::Deref;

use super::{
    client::Xenstore,
    error::StoreError,
    session::parse_transaction,
    tree::{Tree, acknowledgement},
    wire::Operation,
};

/// How many times [`Xenstore::transaction`] tries before it gives up because of
/// conflicts.
const MAX_ATTEMPTS: usize = 32;

/// A transaction in progress. Its operations are those of [`Tree`]. Dropping it
/// discards its writes.
pub struct Transaction {
    tree: Tree,
    ended: bool,
}

impl Deref for Transaction {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl Transaction {
    /// Commits the transaction, which makes its writes visible.
    ///
    /// # Errors
    /// [`StoreError::Again`] if something else changed what was read or written
    /// here; then nothing took effect.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.tree.check_generation()?;
        let reply = self.tree.connection.request(
            Operation::TransactionEnd,
            self.tree.transaction,
            &[b"T\0"],
        )?;
        // Queued: from here on the session makes sure that the transaction
        // ends.
        self.ended = true;
        acknowledgement(&reply.await?)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended && self.tree.check_generation().is_ok() {
            self.tree.connection.request_forgotten(
                Operation::TransactionEnd,
                self.tree.transaction,
                &[b"F\0"],
            );
        }
    }
}

impl Xenstore {
    /// Begins a transaction. Most callers want [`Xenstore::transaction`], which
    /// also repeats it after a conflict.
    ///
    /// # Errors
    /// [`StoreError::Quota`]: a domain may have at most ten transactions.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let reply = self
            .connection
            .request(Operation::TransactionStart, 0, &[b"\0"])?
            .await?;
        Ok(Transaction {
            tree: Tree {
                connection: Rc::clone(&self.connection),
                transaction: parse_transaction(&reply)?,
                generation: self.connection.generation(),
            },
            ended: false,
        })
    }

    /// Runs `work` in a transaction and commits it; after a conflict with
    /// another change, starts again from the beginning. So `work` may run
    /// several times.
    ///
    /// # Errors
    /// The error of `work`, in which case nothing took effect;
    /// [`StoreError::Again`] after 32 conflicts in a row.
    pub async fn transaction<T>(
        &self,
        mut work: impl AsyncFnMut(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let transaction = self.begin().await?;
            let outcome = match work(&transaction).await {
                Ok(value) => transaction.commit().await.map(|()| value),
                Err(error) => Err(error),
            };
            match outcome {
                Err(StoreError::Again) => {}
                outcome => return outcome,
            }
        }
        Err(StoreError::Again)
    }
}
