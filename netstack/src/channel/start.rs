//! The channel of a guest, from its options to its task.

use alloc::rc::Rc;
use core::future::Future;

use vmc::{Platform, Uuid, Vmc};

use super::ChannelOptions;
use super::drive::drive;
use super::part::Part;
use super::platform::WakeSources;
use crate::stack::Shared;

/// What a stack with a channel needs run beside it.
pub(crate) struct Started<P: Platform, F> {
    /// The channel's part in a suspend, to be registered after the network's: so it settles
    /// before the network, and what leaves a link goes on over TCP.
    pub(crate) part: Rc<Part<P>>,
    /// The channel's task, to be spawned; it never completes.
    pub(crate) task: F,
}

/// Gives the stack the channel of the guest `uuid`; `None`, and no channel, with `vmc=off`.
pub(crate) fn start<P: Platform, S: WakeSources<P>>(
    shared: &Shared<P>,
    platform: P,
    sources: S,
    uuid: Uuid,
    options: &ChannelOptions,
) -> Option<Started<P, impl Future<Output = ()> + use<P, S>>> {
    let mode = options.mode()?;
    let config = options.config(uuid);
    let vmc = Vmc::new(platform, config);
    shared.with(|stack| stack.set_channel(vmc, options.networks.clone()));
    Some(Started {
        part: Rc::new(Part::new(shared.clone(), mode)),
        task: drive(shared.clone(), sources),
    })
}
