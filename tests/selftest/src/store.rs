//! xenstore, against the real xenstored. A guest may write below `data`.

use crate::{Bench, Outcome, ensure};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use kernel::task;
use kernel::xenstore::StoreError;

fn text(error: impl Display) -> String {
    format!("{error}")
}

pub(crate) async fn a_value_is_read_back(bench: Bench) -> Outcome {
    let store = bench.store;
    for value in ["", "x", "many words, \u{fc}ml\u{e4}ut\n", &"y".repeat(2000)] {
        store.write("data/value", value).await.map_err(text)?;
        let read = store.read("data/value").await.map_err(text)?;
        ensure!(read == value, "{read:?} for {value:?}");
    }
    let names = store.list("data").await.map_err(text)?;
    ensure!(names.iter().any(|name| name == "value"), "{names:?}");
    store.remove("data/value").await.map_err(text)?;
    let gone = store.read("data/value").await;
    ensure!(gone == Err(StoreError::NotFound), "{gone:?}");
    Ok(())
}

pub(crate) async fn watches_fire(bench: Bench) -> Outcome {
    let store = bench.store;
    let mut watch = store.watch("data/watched").await.map_err(text)?;
    // Each watch fires once when it is set.
    watch.next().await.map_err(text)?;
    for value in ["1", "2", "3"] {
        store
            .write("data/watched/below", value)
            .await
            .map_err(text)?;
        let path = watch.next().await.map_err(text)?;
        ensure!(path.ends_with("data/watched/below"), "{path}");
    }
    drop(watch);
    store.remove("data/watched").await.map_err(text)
}

pub(crate) async fn a_transaction_is_all_or_nothing(bench: Bench) -> Outcome {
    let store = bench.store;
    store.write("data/counter", "0").await.map_err(text)?;
    // Both read and write the same node, so one of them has to retry.
    let add = |store: kernel::xenstore::Xenstore| {
        task::spawn(async move {
            for _ in 0..5 {
                store
                    .transaction(async |transaction| {
                        let counter = transaction.read("data/counter").await?;
                        let counter: u32 = counter.parse().unwrap_or(u32::MAX);
                        let next = format!("{}", counter.wrapping_add(1));
                        transaction.write("data/counter", &*next).await
                    })
                    .await?;
            }
            Ok::<(), StoreError>(())
        })
    };
    let (one, other) = (add(store.clone()), add(store.clone()));
    one.await.map_err(text)?;
    other.await.map_err(text)?;
    let counter = store.read("data/counter").await.map_err(text)?;
    ensure!(counter == "10", "{counter}");
    Ok(())
}

pub(crate) async fn many_requests_in_flight(bench: Bench) -> Outcome {
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let store = bench.store.clone();
            task::spawn(async move {
                let path = format!("data/many/{number}");
                store.write(&path, &*format!("{number}")).await?;
                store.read(&path).await
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        let value = task.await.map_err(text)?;
        ensure!(value == format!("{number}"), "{value} for {number}");
    }
    bench.store.remove("data/many").await.map_err(text)
}

pub(crate) async fn errors_are_told_apart(bench: Bench) -> Outcome {
    let store = bench.store;
    let missing = store.read("data/no/such/node").await;
    ensure!(missing == Err(StoreError::NotFound), "{missing:?}");
    let denied = store.write("/local/domain/0/name", "x").await;
    ensure!(denied == Err(StoreError::Denied), "{denied:?}");
    let long = store.write("data/long", &*"z".repeat(5000)).await;
    ensure!(long == Err(StoreError::TooLong), "{long:?}");
    Ok(())
}

pub(crate) async fn permissions_are_read_back(bench: Bench) -> Outcome {
    let store = bench.store;
    store.write("data/guarded", "x").await.map_err(text)?;
    let mut permissions = store.permissions("data/guarded").await.map_err(text)?;
    ensure!(
        permissions.iter().any(|entry| entry.domid == bench.domid),
        "{permissions:?}"
    );
    permissions.push(kernel::xenstore::Permission {
        domid: 0,
        access: kernel::xenstore::Access::Read,
    });
    store
        .set_permissions("data/guarded", &permissions)
        .await
        .map_err(text)?;
    let read = store.permissions("data/guarded").await.map_err(text)?;
    ensure!(read == permissions, "{read:?}");
    Ok(())
}

pub(crate) async fn the_uuid_is_that_of_the_toolstack(bench: Bench) -> Outcome {
    let uuid = bench
        .store
        .uuid()
        .await
        .map_err(|error| format!("{error}"))?;
    ensure!(uuid != [0; 16], "it is zero");
    let again = bench
        .store
        .uuid()
        .await
        .map_err(|error| format!("{error}"))?;
    ensure!(uuid == again, "{uuid:?} became {again:?}");
    Ok(())
}
