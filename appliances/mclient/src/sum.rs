//! What became of the mails.

use core::time::Duration;

/// Counts over all sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) sent: u32,
    pub(crate) failed: u32,
    /// The longest time that a mail took, from MAIL to the answer to its end.
    pub(crate) longest: Duration,
}
