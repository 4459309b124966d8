//! dom0's root as an archive: the unpacked packages without documentation, busybox for every
//! program that no package contains, the kernel modules, accounts.

use std::ffi::OsStr;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::modules::Modules;
use crate::archive::Archive;
use crate::log::say;
use crate::process;

const BUSYBOX: &str = "/usr/bin/busybox";

const PROGRAM_FOLDERS: &[&str] = &["usr/bin", "usr/sbin"];

/// Paths that are left out: the archive is unpacked under emulation at every boot, so each megabyte
/// costs time. A `*` at the end of a name stands for a version.
const LEFT_OUT: &[&str] = &[
    "/boot",
    "/usr/bin/python3.*",
    "/usr/lib/debug",
    "/usr/lib/python3*",
    "/usr/lib/systemd",
    "/usr/lib/udev",
    "/usr/lib/x86_64-linux-gnu/gconv",
    "/usr/lib/x86_64-linux-gnu/systemd",
    "/usr/lib/xen-*/boot",
    "/usr/share/bash-completion",
    "/usr/share/doc",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/zoneinfo",
    // Added as links below.
    "/var/lock",
    "/var/run",
];

/// Paths that are left out below perl's folders: headers, and East Asian character sets.
const LEFT_OUT_OF_PERL: &[&str] = &[
    "CORE",
    "auto/Encode/CN",
    "auto/Encode/JP",
    "auto/Encode/KR",
    "auto/Encode/TW",
    "auto/Unicode/Collate",
    "Unicode/Collate",
];

const FOLDERS: &[&str] = &[
    "/dev",
    "/lab",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",
    "/var/empty",
    "/var/lib/xen",
    "/var/log/xen/console",
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\n\
         postfix:x:100:100::/var/empty:/bin/false\n\
         dnsmasq:x:101:65534::/var/empty:/bin/false\n\
         tcpdump:x:102:102::/var/empty:/bin/false\n\
         nobody:x:65534:65534::/var/empty:/bin/false\n",
    ),
    (
        "/etc/group",
        "root:x:0:\npostfix:x:100:\npostdrop:x:103:\ntcpdump:x:102:\nnogroup:x:65534:\n",
    ),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
    ("/etc/hostname", "dom0\n"),
];

/// Writes the archive of dom0's root to `target`.
///
/// # Errors
/// Returns an error if a file cannot be read or the archive cannot be written.
pub(crate) fn write(root: &Path, modules: &Modules, target: &Path) -> Result<()> {
    say!("packing dom0's root");
    let mut archive = Archive::new(BufWriter::new(File::create(target)?));
    archive.device(Path::new("/dev/console"), 5, 1)?;
    archive.tree(root, &is_kept)?;
    archive.tree(&modules.root, &|_| true)?;
    for folder in FOLDERS {
        archive.folder(Path::new(folder))?;
    }
    for (path, content) in FILES {
        archive.file(Path::new(path), 0o644, content.as_bytes())?;
    }
    // xl and xenconsoled use one of the two names, xenstored the other.
    archive.link(Path::new("/var/run"), Path::new("/run"))?;
    archive.link(Path::new("/var/lock"), Path::new("/run"))?;
    // Debian's busybox shell would prefer its own applets to the real programs in PATH.
    archive.link(Path::new("/usr/bin/sh"), Path::new("bash"))?;
    for applet in applets(root)? {
        archive.link(&Path::new("/usr/bin").join(applet), Path::new(BUSYBOX))?;
    }
    archive
        .finish()?
        .into_inner()
        .context("cannot write dom0's root")?;
    Ok(())
}

/// Returns whether the packages' file or folder at `path` goes into dom0.
pub(super) fn is_kept(path: &Path) -> bool {
    let left_out = is_among(path, LEFT_OUT);
    let perl = path.iter().any(|part| part == "perl");
    let left_out_of_perl = perl && LEFT_OUT_OF_PERL.iter().any(|left| path.ends_with(left));
    !left_out && !left_out_of_perl
}

/// Returns whether one of `patterns` names `path`.
pub(super) fn is_among(path: &Path, patterns: &[&str]) -> bool {
    let mut patterns = patterns.iter();
    patterns.any(|pattern| matches(path, Path::new(pattern)))
}

/// Returns whether `pattern` names `path`.
fn matches(path: &Path, pattern: &Path) -> bool {
    let same = |(name, pattern): (&OsStr, &OsStr)| {
        let name = name.as_encoded_bytes();
        match pattern.as_encoded_bytes().strip_suffix(b"*") {
            Some(start) => name.starts_with(start),
            None => name == pattern.as_encoded_bytes(),
        }
    };
    path.iter().count() == pattern.iter().count() && path.iter().zip(pattern).all(same)
}

/// Returns busybox's programs that no package contains.
fn applets(root: &Path) -> Result<Vec<String>> {
    let list = process::output(
        Command::new(root.join("usr/bin/busybox")).arg("--list"),
        Duration::from_secs(20),
    )?;
    Ok(list
        .lines()
        .filter(|&applet| applet != "sh")
        .filter(|applet| {
            PROGRAM_FOLDERS
                .iter()
                .all(|folder| root.join(folder).join(applet).symlink_metadata().is_err())
        })
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_kept;

    #[test]
    fn ballast_stays_behind() {
        let kept = |path: &str| is_kept(Path::new(path));
        assert!(kept("/usr/share"));
        assert!(!kept("/usr/share/doc"));
        assert!(kept("/usr/lib/xen-4.20"));
        assert!(!kept("/usr/lib/xen-4.20/boot"));
        assert!(kept("/usr/lib/xen-4.20/lib/boot"));
        assert!(kept("/usr/lib/x86_64-linux-gnu/perl/5.32.1/auto/Encode"));
        assert!(!kept(
            "/usr/lib/x86_64-linux-gnu/perl/5.32.1/auto/Encode/JP"
        ));
        assert!(kept("/etc/CORE"));
    }
}
