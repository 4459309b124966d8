//! The console commands `status` and `trace`.

use kernel::{PAGE_SIZE, bug, console, event, grant, hypercall, lifecycle, mem, trace};

use crate::network::Network;

impl Network {
    /// Answers the commands typed on the console; never completes. `status` logs what the network
    /// has counted and how much memory is free, `trace` the latest events of the guest's life.
    pub async fn answer_console(&self) {
        self.answer_console_with(|| {}).await;
    }

    /// Answers as [`Self::answer_console`] does; `report` logs what the appliance has counted, as
    /// a part of the answer to `status`.
    pub async fn answer_console_with(&self, report: impl Fn()) {
        loop {
            match console::read_line().await.trim() {
                "status" => self.log_status(&report),
                "trace" => log_trace(),
                other => log::info!(
                    "console: {other:?} is no command; the commands are status and trace"
                ),
            }
        }
    }

    fn log_status(&self, report: &impl Fn()) {
        let statistics = self.statistics();
        log::info!("status: link {}", statistics.link);
        self.log_condition();
        log::info!(
            "status: tcp accepted {} connected {} backlog full {} linger resets {}; {} sockets \
             with {} KiB",
            statistics.accepted,
            statistics.connected,
            statistics.backlog_full,
            statistics.linger_resets,
            statistics.sockets,
            statistics.socket_bytes / 1024,
        );
        let frames = mem::frames::usage();
        let suspends = lifecycle::counts();
        log::info!(
            "status: lifecycle {} suspends, {} cancelled; grants {} ports {} frames free {} of {} \
             resident {}",
            suspends.suspends,
            suspends.cancelled,
            grant::in_use(),
            event::in_use(),
            frames.free,
            frames.total,
            frames.resident,
        );
        log::info!("status: calls {}", hypercall::counts());
        let (major, minor) = hypercall::xen_version();
        log::info!("status: {} guest on Xen {major}.{minor}", kernel::kind());
        // Of a release build, which goes on; one with debug assertions has panicked.
        log::info!(
            "status: kernel bugs {}, the latest: {}",
            bug::count(),
            bug::latest().unwrap_or("none")
        );
        report();
        log::info!(
            "status: memory {} KiB free of {} KiB, {} pages quarantined",
            frames.free * PAGE_SIZE / 1024,
            frames.total * PAGE_SIZE / 1024,
            grant::quarantined_pages(),
        );
        self.log_channel();
    }
}

/// Logs the trace ring, oldest event first.
fn log_trace() {
    let (count, entries) = trace::entries();
    log::info!("trace: {count} events, the last {}", entries.len());
    for (at, event) in entries {
        let micros = at.as_nanos() / 1000;
        log::info!(
            "trace: {:5}.{:06} {event}",
            micros / 1_000_000,
            micros % 1_000_000
        );
    }
}
