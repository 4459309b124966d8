//! The results, as a table and as a file.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::figures::Figures;
use crate::path::Path;
use crate::stream::Sample;

/// Percentage of its time that a run may spend waiting for a processor. A word takes less than a
/// microsecond, a turn on a busy processor milliseconds.
const DISTURBED_PERCENT: f64 = 2.0;

/// One repetition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) sample: Sample,
    /// Number of times that the reader rang the doorbell.
    pub(crate) rung: Option<u64>,
    /// How long reader and writer waited for a processor, if this is counted and they do not share
    /// one anyway.
    pub(crate) waited_ns: Option<u64>,
}

impl Run {
    fn waited_percent(&self) -> Option<f64> {
        let waited = self.waited_ns? as f64 / 1e9;
        Some(100.0 * waited / self.sample.seconds)
    }

    /// Returns whether the run did not have its processors to itself.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.waited_percent()
            .is_some_and(|percent| percent > DISTURBED_PERCENT)
    }
}

/// The figures of one path with one message size.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) path: Path,
    pub(crate) message: usize,
    pub(crate) mb_s: Figures,
    /// Number of times that the reader rang the doorbell, per MiB.
    pub(crate) rung_per_mib: Figures,
    /// The share of the run's time that its two sides waited for a processor.
    pub(crate) waited_percent: Figures,
}

impl Row {
    pub(crate) fn keep(&mut self, run: &Run) {
        let bytes = run.sample.bytes as f64;
        self.mb_s.push(bytes / run.sample.seconds / 1e6);
        if let Some(rung) = run.rung {
            self.rung_per_mib
                .push(rung as f64 / bytes * f64::from(1 << 20));
        }
        if let Some(percent) = run.waited_percent() {
            self.waited_percent.push(percent);
        }
    }

    /// Returns whether a run had its processors to itself, as far as that is known.
    fn was_free(&self, run: usize) -> bool {
        let percent = self.waited_percent.0.get(run);
        percent.is_none_or(|&percent| percent <= DISTURBED_PERCENT)
    }

    fn disturbed(&self) -> usize {
        let percents = self.waited_percent.0.iter();
        percents
            .filter(|&&percent| percent > DISTURBED_PERCENT)
            .count()
    }
}

/// A goal for the ring between processes.
struct Goal {
    name: &'static str,
    /// The ratios of its speed to that of another path, turn by turn.
    figures: Figures,
    /// Those of the turns in which both had their processors to themselves.
    free: Figures,
    /// The least median of all turns; `None` if the ratio is only reported.
    limit: Option<f64>,
}

impl Goal {
    fn is_met(&self) -> Option<bool> {
        Some(self.figures.median() >= self.limit?)
    }

    fn verdict(&self) -> String {
        match self.limit.zip(self.is_met()) {
            Some((limit, true)) => format!("goal {limit}: met"),
            Some((limit, false)) => format!("goal {limit}: missed"),
            None => "no goal".into(),
        }
    }
}

/// All results, in the order in which they are printed.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) capacity: usize,
    pub(crate) processors: usize,
    /// The machine's one-minute load average before the runs: a busy machine spoils the figures.
    pub(crate) load: f64,
    /// Fewest nanoseconds that a word took to the other processor and back; `None` with one
    /// processor.
    pub(crate) round_trip_ns: Option<f64>,
    /// Runs that were repeated because they did not have their processors to themselves.
    pub(crate) run_again: u32,
    /// Hundredths of a second that the hypervisor gave to others during the runs.
    pub(crate) stolen_ticks: Option<u64>,
    pub(crate) run_ms: u64,
    pub(crate) wall_s: f64,
}

impl Table {
    fn row(&self, path: Path, message: usize) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.path == path && row.message == message)
    }

    fn median(&self, path: Path, message: usize) -> f64 {
        self.row(path, message)
            .map_or(f64::NAN, |row| row.mb_s.median())
    }

    fn messages(&self) -> Vec<usize> {
        let mut messages: Vec<_> = self.rows.iter().map(|row| row.message).collect();
        messages.sort_unstable();
        messages.dedup();
        messages
    }

    /// Returns the goals, evaluated with the largest messages.
    fn goals(&self) -> Vec<Goal> {
        let messages = self.messages();
        let of = |path| self.row(path, *messages.last()?);
        let ring = of(Path::RingProcesses);
        [
            ("of_memcpy_bound", Path::Memcpy, Some(0.7)),
            ("of_what_two_cpus_hand_over", Path::TwoProcessors, None),
            ("times_loopback_tcp", Path::LoopbackTcp, Some(3.0)),
        ]
        .into_iter()
        .filter_map(|(name, other, limit)| {
            let (ring, other) = ring.zip(of(other))?;
            let figures = ring.mb_s.times(&other.mb_s);
            let runs = figures.0.iter().enumerate();
            let free = runs.filter(|&(run, _)| ring.was_free(run) && other.was_free(run));
            let free = Figures(free.map(|(_, &figure)| figure).collect());
            Some(Goal {
                name,
                figures,
                free,
                limit,
            })
        })
        .collect()
    }

    /// Returns the number of runs that were kept although they did not have their processors to
    /// themselves.
    fn disturbed(&self) -> usize {
        self.rows.iter().map(Row::disturbed).sum()
    }

    /// Returns what spoils the figures, if anything does.
    fn warning(&self) -> Option<String> {
        let runs: usize = self.rows.iter().map(|row| row.mb_s.0.len()).sum();
        let disturbed = self.disturbed();
        if self.round_trip_ns.is_none() {
            return Some("there is one processor, which reader and writer share".into());
        }
        (disturbed > 0).then(|| {
            format!(
                "the two processors were not free: in {disturbed} of {runs} runs reader and writer \
                 waited for one more than {DISTURBED_PERCENT} % of the time"
            )
        })
    }

    pub(crate) fn print(&self) -> String {
        let mut text = format!(
            "wall-clock, {} processors (load before: {}), ring of {} KiB, {} runs of {} ms in turn\n\
             MB/s: median (least to most); in brackets, of the memcpy bound\n",
            self.processors,
            self.load,
            self.capacity / 1024,
            self.rows.first().map_or(0, |row| row.mb_s.0.len()),
            self.run_ms,
        );
        if let Some(nanos) = self.round_trip_ns {
            let _ = writeln!(
                text,
                "a word to the other processor and back, at best: {nanos:.0} ns"
            );
        }
        for message in self.messages() {
            let _ = writeln!(text, "messages of {message} bytes");
            let bound = self.median(Path::Memcpy, message);
            for path in Path::value_variants() {
                let Some(row) = self.row(*path, message) else {
                    continue;
                };
                let _ = writeln!(
                    text,
                    "  {:15} {:9.1} ({:7.1} to {:7.1})  [{:5.1} %]",
                    path.title(),
                    row.mb_s.median(),
                    row.mb_s.least(),
                    row.mb_s.most(),
                    100.0 * row.mb_s.median() / bound,
                );
            }
        }
        for goal in self.goals() {
            let all = &goal.figures;
            let _ = writeln!(
                text,
                "ring between processes, largest messages: {:.2} {} ({:.2} to {:.2}), {}; \
                 {:.2} in the {} turns of {} with free processors",
                all.median(),
                goal.name.replace('_', " "),
                all.least(),
                all.most(),
                goal.verdict(),
                goal.free.median(),
                goal.free.0.len(),
                all.0.len(),
            );
        }
        let _ = writeln!(
            text,
            "{} runs taken again, whose processors others had as well; {} ticks stolen by the hypervisor",
            self.run_again,
            self.stolen_ticks
                .map_or_else(|| "unknown".into(), |ticks| ticks.to_string()),
        );
        if let Some(warning) = self.warning() {
            let _ = writeln!(text, "WARNING: {warning}");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let mut all = Map::new();
        all.insert("complete".into(), true.into());
        all.insert("time_mode".into(), "wall-clock".into());
        all.insert("processors".into(), self.processors.into());
        all.insert("load_before".into(), self.load.into());
        if let Some(nanos) = self.round_trip_ns {
            all.insert("word_round_trip_ns".into(), nanos.into());
        }
        all.insert("ring_bytes".into(), self.capacity.into());
        all.insert("run_ms".into(), self.run_ms.into());
        all.insert("wall_s".into(), self.wall_s.into());
        for row in &self.rows {
            let path = row.path.to_possible_value();
            let path = path.map_or_else(String::new, |path| path.get_name().replace('-', "_"));
            let message = row.message;
            all.insert(format!("{path}_{message}_b_mb_s"), row.mb_s.json());
            if !row.rung_per_mib.0.is_empty() {
                let name = format!("{path}_{message}_b_reader_doorbells_per_mib");
                all.insert(name, row.rung_per_mib.json());
            }
            if !row.waited_percent.0.is_empty() {
                let name = format!("{path}_{message}_b_waited_percent");
                all.insert(name, row.waited_percent.json());
            }
        }
        let (mut passed, mut failed) = (0, 0);
        for goal in self.goals() {
            let name = goal.name;
            all.insert(name.into(), goal.figures.median().into());
            all.insert(format!("{name}_spread"), goal.figures.json());
            all.insert(format!("{name}_free"), goal.free.json());
            if let Some(limit) = goal.limit {
                all.insert(format!("{name}_goal"), limit.into());
            }
            match goal.is_met() {
                Some(true) => passed += 1,
                Some(false) => failed += 1,
                None => {}
            }
        }
        all.insert("runs_taken_again".into(), self.run_again.into());
        all.insert("runs_disturbed".into(), self.disturbed().into());
        all.insert("stolen_ticks".into(), json!(self.stolen_ticks));
        all.insert("warning".into(), json!(self.warning()));
        all.insert("goals_met".into(), passed.into());
        all.insert("goals_missed".into(), failed.into());
        Value::Object(all)
    }

    /// Writes target/lab/ring/result.json and returns its path.
    pub(crate) fn save(&self) -> Result<PathBuf> {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = package.ancestors().nth(2).context("no workspace")?;
        let file = workspace.join("target/lab/ring/result.json");
        std::fs::create_dir_all(file.parent().context("no folder")?)?;
        std::fs::write(&file, format!("{:#}\n", self.json()))?;
        Ok(file)
    }
}
