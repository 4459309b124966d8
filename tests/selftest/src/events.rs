//! Event channels, looped back to this guest through Xen.

use crate::{Bench, Outcome, ensure};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use kernel::event::{ChannelStatus, EventChannel, EventError};
use kernel::{task, time};

/// Makes a channel with both ends in this guest.
fn pair(bench: &Bench) -> Result<(EventChannel, EventChannel), alloc::string::String> {
    let one = EventChannel::alloc_unbound(bench.domid).map_err(|error| format!("{error}"))?;
    let port = one.port().map_err(|error| format!("{error}"))?;
    let other =
        EventChannel::bind_interdomain(bench.domid, port).map_err(|error| format!("{error}"))?;
    // Binding raises an event, so that no notification is missed.
    for end in [&one, &other] {
        end.take_pending().map_err(|error| format!("{error}"))?;
    }
    Ok((one, other))
}

pub(crate) async fn a_loop_through_xen_wakes_the_waiter(bench: Bench) -> Outcome {
    let (one, other) = pair(&bench)?;
    let answer = task::spawn(async move {
        for _ in 0..100 {
            other.wait().await?;
            other.notify()?;
        }
        Ok::<(), EventError>(())
    });
    let ask = async {
        for _ in 0..100 {
            one.notify()?;
            one.wait().await?;
        }
        answer.await
    };
    ask.await.map_err(|error| format!("{error}"))
}

pub(crate) async fn a_notification_without_a_waiter_is_kept(bench: Bench) -> Outcome {
    let (one, other) = pair(&bench)?;
    for _ in 0..2 {
        one.notify().map_err(|error| format!("{error}"))?;
    }
    time::sleep(Duration::from_millis(1)).await;
    ensure!(other.take_pending() == Ok(true), "it was lost");
    ensure!(other.take_pending() == Ok(false), "it was not taken");
    Ok(())
}

pub(crate) async fn a_closed_end_is_seen(bench: Bench) -> Outcome {
    let (one, other) = pair(&bench)?;
    let status = |channel: &EventChannel| channel.status().map_err(|error| format!("{error}"));
    ensure!(
        status(&one)? == ChannelStatus::Connected,
        "{:?}",
        status(&one)?
    );
    drop(other);
    ensure!(
        status(&one)? == ChannelStatus::Unbound,
        "{:?}",
        status(&one)?
    );
    one.notify().map_err(|error| format!("{error}"))
}

pub(crate) async fn the_channel_limit_is_an_error(bench: Bench) -> Outcome {
    let mut channels = Vec::new();
    let error = loop {
        match EventChannel::alloc_unbound(bench.domid) {
            Ok(channel) => channels.push(channel),
            Err(error) => break error,
        }
        ensure!(
            channels.len() <= kernel::event::MAX_CHANNELS,
            "there is none"
        );
    };
    ensure!(error == EventError::TooMany, "{error}");
    // The guest still sleeps and wakes while it waits on all of them.
    let waits: Vec<_> = channels
        .into_iter()
        .map(|channel| task::spawn(async move { channel.wait().await }))
        .collect();
    time::sleep(Duration::from_millis(2)).await;
    drop(waits);
    time::sleep(Duration::from_millis(1)).await;
    pair(&bench).map(drop)
}
