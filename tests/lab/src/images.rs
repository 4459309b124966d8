//! Builds what goes into dom0: the agent, and the guests' images.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::log::say;
use crate::process::{self, Stream};
use crate::{paths, tools};

/// A cold build of all dependencies on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);

const STRIP_LIMIT: Duration = Duration::from_secs(60);

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the agent as a static program, so that it runs on dom0's older C library.
///
/// # Errors
/// When cargo fails.
pub(crate) fn agent() -> Result<PathBuf> {
    let mut command = cargo();
    // A target folder of its own: other flags would have cargo build everything else anew.
    command
        .args(["--package", "agent", "--bin", "agent", "--release"])
        .args(["--target", TARGET, "--config"])
        .arg(format!(
            "target.{TARGET}.rustflags=[\"-C\",\"target-feature=+crt-static\"]"
        ))
        .arg("--target-dir")
        .arg(paths::lab().join("build"));
    build("agent", &mut command)
}

/// Builds the image of the appliance in `package`.
///
/// # Errors
/// When cargo fails.
pub(crate) fn image(package: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args([
        "--config",
        "linker/image.toml",
        "--package",
        package,
        "--profile",
        "image",
    ]);
    build(package, &mut command)
}

/// Copies the image at `path` into `folder`, without its symbols: dom0 and Xen have no use for
/// them. A file that is not ELF (a bzImage) is taken as it is.
///
/// # Errors
/// When the file cannot be read or copied.
pub(crate) fn stripped(path: &Path, name: &str, folder: &Path) -> Result<PathBuf> {
    let target = folder.join(name);
    let context = || format!("cannot copy {}", path.display());
    let mut magic = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .with_context(context)?;
    if magic == *b"\x7fELF" {
        let mut command = tools::command("objcopy");
        command.arg("--strip-all").arg(path).arg(&target);
        process::run(&mut command, STRIP_LIMIT, |_, _| {}).with_context(context)?;
    } else {
        fs::copy(path, &target).with_context(context)?;
    }
    Ok(target)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .args(["build", "--message-format", "json-render-diagnostics"])
        .current_dir(paths::workspace());
    command
}

/// Runs cargo and returns the program it names.
fn build(what: &str, command: &mut Command) -> Result<PathBuf> {
    say!("building {what}");
    let begin = Instant::now();
    let mut program = None;
    process::run(command, BUILD_LIMIT, |stream, line| match stream {
        Stream::Out => program = executable(line, what).or(program.take()),
        Stream::Err if line.trim_start().starts_with("Compiling") => {}
        Stream::Err => say!("  {line}"),
    })
    .with_context(|| format!("cannot build {what}"))?;
    match program {
        Some(path) => {
            if begin.elapsed() > Duration::from_secs(2) {
                say!("built {what} in {:.1} s", begin.elapsed().as_secs_f32());
            }
            Ok(path)
        }
        None => bail!("cargo names no program for {what}"),
    }
}

/// The program of the target `name`, if this line of cargo's messages names it.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] == "compiler-artifact" && message["target"]["name"] == name {
        message["executable"].as_str().map(PathBuf::from)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::executable;

    #[test]
    fn cargo_names_the_program() {
        let line =
            r#"{"reason":"compiler-artifact","target":{"name":"relay"},"executable":"/t/relay"}"#;
        assert_eq!(
            executable(line, "relay").as_deref(),
            Some(Path::new("/t/relay"))
        );
        assert_eq!(executable(line, "echo"), None);
        let library =
            r#"{"reason":"compiler-artifact","target":{"name":"relay"},"executable":null}"#;
        assert_eq!(executable(library, "relay"), None);
        assert_eq!(executable("not json", "relay"), None);
    }
}
