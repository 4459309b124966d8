//! Parsers for the output of apt's programs.

/// A file that apt can download.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Download {
    /// Its name in the archives.
    pub(crate) file: String,
    /// Its size.
    pub(crate) bytes: u64,
}

/// Parses the lines `'uri' file bytes hash` of `--print-uris`.
pub(crate) fn parse_uris(text: &str) -> Vec<Download> {
    text.lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some(Download {
                file: words.next()?.to_owned(),
                bytes: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

/// Returns the first dependency whose name begins with `prefix` in the output of
/// `apt-cache depends`.
pub(crate) fn dependency<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
}

/// Returns the size in bytes in a line `Get:1 uri suite package arch version [71.4 MB]` of apt-get,
/// or 0 if it cannot be read.
pub(crate) fn size_in(line: &str) -> u64 {
    let parse = || {
        let (_, size) = line.rsplit_once('[')?;
        let (number, unit) = size.split_once(']')?.0.split_once(' ')?;
        let scale = match unit {
            "kB" => 1e3,
            "MB" => 1e6,
            _ => 1.0,
        };
        let number: f64 = number.replace(',', "").parse().ok()?;
        Some((number * scale) as u64)
    };
    parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Download, dependency, parse_uris, size_in};

    #[test]
    fn uris_name_files_and_sizes() {
        let text = "Reading package lists...\n\
            'http://m.invalid/pool/a.deb' a_1%3a2_amd64.deb 1234 SHA256:00ff\n\
            'http://m.invalid/pool/b.deb' b_1_amd64.deb not-a-number SHA256:00\n";
        assert_eq!(
            parse_uris(text),
            [Download {
                file: "a_1%3a2_amd64.deb".to_owned(),
                bytes: 1234
            }]
        );
    }

    #[test]
    fn a_metapackage_names_its_kernel() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-1-amd64\n  Suggests: x\n";
        assert_eq!(
            dependency(text, "linux-image-"),
            Some("linux-image-6.1.0-1-amd64")
        );
        assert_eq!(dependency(text, "linux-headers-"), None);
    }

    #[test]
    fn progress_lines_carry_sizes() {
        assert_eq!(
            size_in("Get:1 http://m.invalid x amd64 1 [71.4 MB]"),
            71_400_000
        );
        assert_eq!(
            size_in("Get:1 http://m.invalid x amd64 1 [8,066 kB]"),
            8_066_000
        );
        assert_eq!(size_in("Get:1 [odd"), 0);
    }
}
