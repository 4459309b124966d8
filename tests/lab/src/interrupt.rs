//! Ctrl-C and termination: a flag that every wait checks, so that QEMU and other children end by
//! the ordinary clean-up.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Takes over SIGINT, SIGTERM and SIGHUP. A second signal of the same kind ends the program at
/// once.
pub(crate) fn init() -> Result<()> {
    let flag = FLAG.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))
            .context("cannot take over signals")?;
        signal_hook::flag::register(signal, Arc::clone(flag))
            .context("cannot take over signals")?;
    }
    Ok(())
}

/// Returns an error once a signal has come in.
pub(crate) fn check() -> Result<()> {
    match FLAG.get() {
        Some(flag) if flag.load(Ordering::Relaxed) => bail!("interrupted"),
        _ => Ok(()),
    }
}
