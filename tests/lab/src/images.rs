//! Builds what goes into dom0: the agent and the guests' images.

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

/// The limit for a build from nothing on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);

const STRIP_LIMIT: Duration = Duration::from_secs(60);

/// How often a build says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the agent as a static program, which does not need the C library of dom0.
///
/// # Errors
/// Returns an error if cargo fails.
pub(crate) fn agent() -> Result<PathBuf> {
    let mut command = cargo();
    // A target folder of its own: with other flags cargo would build everything else anew.
    command
        .args(["--package", "agent", "--bin", "agent", "--release"])
        .args(["--target", TARGET, "--config"])
        .arg(format!(
            "target.{TARGET}.rustflags=[\"-C\",\"target-feature=+crt-static\"]"
        ))
        .arg("--target-dir")
        .arg(paths::lab().join("build"));
    match build(&["agent"], &mut command)?.as_slice() {
        [program] => Ok(program.clone()),
        programs => bail!("{} programs for the agent, not one", programs.len()),
    }
}

/// Builds the images of the appliances in `packages` and returns their files in the same order.
///
/// One call of cargo for all: the last step of each image takes one processor only.
///
/// # Errors
/// Returns an error if cargo fails.
pub(crate) fn images(packages: &[&str]) -> Result<Vec<PathBuf>> {
    if packages.is_empty() {
        // Without a package cargo would build those of the host.
        return Ok(Vec::new());
    }
    let mut command = cargo();
    command.args(["--config", "linker/image.toml", "--profile", "image"]);
    for package in packages {
        command.args(["--package", package]);
    }
    build(packages, &mut command)
}

/// Copies the image at `path` into `folder` without its symbols, which neither dom0 nor Xen needs.
/// A file that is not ELF (a bzImage) is copied unchanged.
///
/// # Errors
/// Returns an error if the file cannot be read or copied.
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

/// Runs cargo and returns the program of each target of `names`.
fn build(names: &[&str], command: &mut Command) -> Result<Vec<PathBuf>> {
    let what = names.join(", ");
    say!("building {what}");
    let begin = Instant::now();
    let mut said = begin;
    let mut compiled = 0_u32;
    let mut programs = vec![None; names.len()];
    process::run(command, BUILD_LIMIT, |stream, line| match stream {
        Stream::Out => {
            for (program, name) in programs.iter_mut().zip(names) {
                *program = executable(line, name).or(program.take());
            }
        }
        Stream::Err if line.trim_start().starts_with("Compiling") => {
            compiled += 1;
            if said.elapsed() > PROGRESS {
                said = Instant::now();
                say!("  {compiled}: {}", line.trim());
            }
        }
        Stream::Err => say!("  {line}"),
    })
    .with_context(|| format!("cannot build {what}"))?;
    if begin.elapsed() > Duration::from_secs(2) {
        say!("built {what} in {:.1} s", begin.elapsed().as_secs_f32());
    }
    let named = programs.into_iter().zip(names);
    named
        .map(|(program, name)| {
            program.with_context(|| format!("cargo names no program for {name}"))
        })
        .collect()
}

/// Returns the program of the target `name`, or `None` if this line of cargo's messages does not
/// name it.
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
