//! The channel of a guest, from its identity to its task.

use alloc::rc::Rc;

use kernel::xenstore::Xenstore;
use kernel::{lifecycle, task};
use vmc::{Uuid, Vmc};

use super::drive::drive;
use super::part::Part;
use super::{ChannelOptions, World};
use crate::network::NetError;
use crate::stack::Shared;

/// Gives the stack its channel, unless the command line says `vmc=off`.
///
/// # Errors
/// xenstore does not say who this guest is.
pub(crate) async fn start(
    store: &Xenstore,
    shared: &Shared,
    options: &ChannelOptions,
) -> Result<(), NetError> {
    if !options.is_on() {
        return Ok(());
    }
    let uuid = store.uuid().await.map_err(NetError::Identity)?;
    let vmc = Vmc::new(World::new(), options.config(Uuid(uuid)));
    shared.with(|stack| stack.set_channel(vmc));
    lifecycle::register(Rc::new(Part {
        shared: shared.clone(),
        mode: options.mode(),
    }));
    task::spawn(drive(shared.clone())).detach();
    Ok(())
}
