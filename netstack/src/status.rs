//! The console command `status`.

use kernel::{PAGE_SIZE, console, event, grant, lifecycle, mem};

use crate::network::Network;

impl Network {
    /// Answers what is typed on the console, for ever: `status` logs what the network has counted
    /// and how much memory is free.
    pub async fn answer_console(&self) {
        loop {
            match console::read_line().await.trim() {
                "status" => self.log_status(),
                other => log::info!("console: {other:?} is no command; status is one"),
            }
        }
    }

    fn log_status(&self) {
        let statistics = self.statistics();
        log::info!("status: link {}", statistics.link);
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
            frames.total,
        );
        log::info!(
            "status: memory {} KiB free of {} KiB, {} pages quarantined",
            frames.free * PAGE_SIZE / 1024,
            frames.total * PAGE_SIZE / 1024,
            grant::quarantined_pages(),
        );
    }
}
