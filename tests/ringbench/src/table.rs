//! What was measured, as a table and as a file.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::path::Path;

/// Repetitions of one figure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn push(&mut self, figure: f64) {
        let at = self.0.partition_point(|&other| other < figure);
        self.0.insert(at, figure);
    }

    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => self.0[middle],
            _ => self.0[middle - 1].midpoint(self.0[middle]),
        }
    }

    fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> Value {
        let round = |figure: f64| (figure * 1000.0).round() / 1000.0;
        json!({
            "count": self.0.len(),
            "max": round(self.most()),
            "median": round(self.median()),
            "min": round(self.least()),
        })
    }
}

/// The figures of one path with messages of one size.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) path: Path,
    pub(crate) message: usize,
    pub(crate) mb_s: Figures,
    /// Doorbells that the reader rang for a MiB.
    pub(crate) rung_per_mib: Figures,
}

/// Everything, in the order in which it is printed.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) capacity: usize,
    pub(crate) processors: usize,
    /// The machine's load average of a minute, before: a busy machine spoils the figures.
    pub(crate) load: f64,
    /// Nanoseconds of a word between the two processors and back, at best; one has none.
    pub(crate) round_trip_ns: Option<f64>,
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

    /// The goals: name, figure, what it must reach.
    pub(crate) fn goals(&self) -> Vec<(&'static str, f64, f64)> {
        let Some(&message) = self.messages().last() else {
            return Vec::new();
        };
        let ring = self.median(Path::RingProcesses, message);
        let bound = self.median(Path::Memcpy, message);
        let tcp = self.median(Path::LoopbackTcp, message);
        vec![
            ("of_memcpy_bound", ring / bound, 0.7),
            ("times_loopback_tcp", ring / tcp, 3.0),
        ]
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
        for (name, figure, goal) in self.goals() {
            let name = name.replace('_', " ");
            let verdict = if figure >= goal { "met" } else { "missed" };
            let _ = writeln!(
                text,
                "ring between processes, largest messages: {figure:.2} {name}, goal {goal}: {verdict}"
            );
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
        }
        let (mut passed, mut failed) = (0, 0);
        for (name, figure, goal) in self.goals() {
            all.insert(name.into(), figure.into());
            all.insert(format!("{name}_goal"), goal.into());
            *if figure >= goal {
                &mut passed
            } else {
                &mut failed
            } += 1;
        }
        all.insert("goals_met".into(), passed.into());
        all.insert("goals_missed".into(), failed.into());
        Value::Object(all)
    }

    /// Writes target/lab/ring/result.json and returns where that is.
    pub(crate) fn save(&self) -> Result<PathBuf> {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = package.ancestors().nth(2).context("no workspace")?;
        let file = workspace.join("target/lab/ring/result.json");
        std::fs::create_dir_all(file.parent().context("no folder")?)?;
        std::fs::write(&file, format!("{:#}\n", self.json()))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut figures = Figures::default();
        for figure in [5.0, 1.0, 9.0] {
            figures.push(figure);
        }
        assert!((figures.median() - 5.0).abs() < 1e-9);
        figures.push(2.0);
        assert!((figures.median() - 3.5).abs() < 1e-9);
        assert_eq!(figures.json()["max"], 9.0);
    }
}
