//! Start-up: from the first instruction in Rust to the appliance's `main`.

use crate::cmdline::CommandLine;
use crate::event::{EventChannel, Origin};
use crate::page::PAGE_SIZE;
use crate::platform::{self, Handover};
use crate::power::{self, Reason};
use crate::shared::SharedMemory;
use crate::shutdown::{self, Stopping};
use crate::task::Role;
use crate::xenstore::Xenstore;
use crate::{
    console, grant, hypercall, lifecycle, logger, mem, suspend, target, task, time, upkeep,
};
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt::Display;
use core::future::Future;
use core::ptr::NonNull;
use log::LevelFilter;

/// What the kernel passes to an appliance.
pub struct Guest {
    /// The options that the kernel has not taken itself.
    pub command_line: CommandLine,
    /// The domain's xenstore.
    pub xenstore: Xenstore,
    /// The toolstack's request that the guest stop, which the kernel serves.
    pub stopping: Stopping,
}

/// Brings up the guest and runs `main` until the domain ends.
///
/// # Safety
/// `boot` calls this once, before anything else, with the address of
/// start_info and the kind of guest.
pub unsafe fn start<F, E>(start_info: usize, kind: u32, main: fn(Guest) -> F) -> !
where
    F: Future<Output = Result<(), E>> + 'static,
    E: Display + 'static,
{
    // SAFETY: the caller's promise.
    let handover = unsafe { platform::enter(kind, start_info) };
    // The console comes first: it needs nothing else, and shows whatever goes
    // wrong.
    console::init(ring_page(handover.console), handover.ports.console);
    // SAFETY: this runs once, after `enter`.
    unsafe { platform::init() };
    let booted = time::now();
    logger::init(LevelFilter::Info);

    let usage = mem::frames::usage();
    let (major, minor) = hypercall::xen_version();
    log::info!(
        "causeway {} as {} guest on Xen {major}.{minor}, {} KiB of {} KiB resident",
        env!("CARGO_PKG_VERSION"),
        platform::kind(),
        usage.resident * PAGE_SIZE / 1024,
        usage.total * PAGE_SIZE / 1024,
    );
    let console_channel = channel(handover.ports.console, Origin::Console);
    let store_channel = channel(handover.ports.store, Origin::Store);
    let store_page = ring_page(handover.store);
    // They resume in this order: first what the other parts print on and grant
    // pages with.
    lifecycle::register(Rc::new(console::Output));
    lifecycle::register(Rc::new(grant::GrantTable));
    mem::frames::set_gate(suspend::may_change_memory);
    let outcome = async move {
        task::spawn(console::serve(console_channel)).detach();
        let command_line = match options(handover) {
            Ok(command_line) => command_line,
            Err(error) => fail(&error),
        };
        task::spawn(upkeep::serve()).detach();
        let xenstore = Xenstore::start(Box::new(store_page), store_channel);
        task::spawn_as(Role::Lifecycle, suspend::serve(xenstore.clone())).detach();
        log::debug!(
            "kernel: up after {:?}",
            time::now().saturating_duration_since(booted)
        );
        let stopping = Stopping::default();
        let requests = stopping.clone().serve(xenstore.clone());
        task::spawn_as(Role::Lifecycle, requests).detach();
        task::spawn(shutdown::serve_sysrq(xenstore.clone())).detach();
        task::spawn(target::serve(xenstore.clone())).detach();
        let guest = Guest {
            command_line,
            xenstore,
            stopping,
        };
        match main(guest).await {
            Ok(()) => {
                suspend::end().await;
                power::stop(Reason::Poweroff)
            }
            Err(error) => fail(&error),
        }
    };
    task::spawn(outcome).detach();
    task::run(|now| {
        platform::look_for_nmi();
        suspend::look(now);
        upkeep::look(now);
    })
}

/// Parses the command line and takes the kernel's own options.
fn options(handover: Handover) -> Result<CommandLine, crate::cmdline::OptionError> {
    let mut command_line = CommandLine::parse(handover.command_line.unwrap_or("\u{fffd}"))?;
    let level =
        command_line.take_parsed::<LevelFilter>("log", "off, error, warn, info, debug or trace")?;
    log::set_max_level(level.unwrap_or(LevelFilter::Info));
    upkeep::options(&mut command_line)?;
    Ok(command_line)
}

/// Prints the error and ends the domain as crashed.
fn fail(error: &dyn Display) -> ! {
    console::print(format_args!("error: {error}\n"));
    power::stop(Reason::Crash)
}

/// Returns the page of a ring made by the domain builder.
fn ring_page(address: usize) -> SharedMemory {
    let base = NonNull::new(address as *mut u8).expect("a ring is never at 0");
    // SAFETY: the page is mapped at this address for ever, and the frame pool leaves it
    // out (`platform`).
    unsafe { SharedMemory::new(base, PAGE_SIZE) }
}

/// Adopts the event channel of such a ring.
fn channel(port: u32, origin: Origin) -> EventChannel {
    EventChannel::adopt(port, origin).expect("the first channels find room")
}
