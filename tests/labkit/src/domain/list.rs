//! The output of `xl list`.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One row of `xl list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The domain's name.
    pub name: String,
    /// Its domid.
    pub id: u32,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// The letters r, b, p, s, c, d of xl(1), with a dash for each that does not apply.
    pub flags: String,
    /// The CPU time it has used, in seconds, with one decimal.
    pub cpu_s: f64,
}

impl Entry {
    /// Whether the domain has crashed and is kept.
    pub fn crashed(&self) -> bool {
        self.flags.contains('c')
    }

    /// Whether the domain has ended, for whatever reason, and is kept.
    pub fn ended(&self) -> bool {
        self.flags.contains(['s', 'c', 'd'])
    }
}

/// Parses the output of `xl list`, whose columns are name, ID, Mem, VCPUs, State and Time(s).
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    text.lines()
        .filter(|line| !line.starts_with("Name ") && !line.trim().is_empty())
        .map(|line| entry(line).with_context(|| format!("a row of xl list: {line:?}")))
        .collect()
}

fn entry(line: &str) -> Result<Entry> {
    // From the right, because a name may hold blanks.
    let mut columns = line.split_whitespace().rev();
    let mut next = || columns.next().context("a column is missing");
    let cpu_s = next()?.parse()?;
    let flags = next()?.to_owned();
    next()?;
    let memory_mib = next()?.parse()?;
    let id = next()?.parse()?;
    let mut name: Vec<&str> = columns.collect();
    name.reverse();
    Ok(Entry {
        name: name.join(" "),
        id,
        memory_mib,
        flags,
        cpu_s,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    const LIST: &str = "\
Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0   768     1     r-----      21.4
echo-2                                       3     8     1     -b----       0.0
(null)                                       4     0     1     --p--d       1.5
relay-3                                      5    16     1     ---sc-       0.3
";

    #[test]
    fn rows_are_understood() {
        let entries = parse(LIST).expect("as xl prints it");
        assert_eq!(entries.len(), 4);
        assert_eq!((entries[1].name.as_str(), entries[1].id), ("echo-2", 3));
        assert_eq!((entries[1].memory_mib, entries[1].cpu_s), (8, 0.0));
        assert!(!entries[1].ended() && !entries[1].crashed());
        assert!(entries[2].ended() && !entries[2].crashed());
        assert!(entries[3].crashed() && entries[3].ended());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse("echo 3 8").is_err());
        assert!(parse("echo x 8 1 r----- 0.1").is_err());
    }
}
