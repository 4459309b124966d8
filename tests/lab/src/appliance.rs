//! The appliance of docs/appliance.md, built as a reader of that page would build it: from its
//! text, in a folder outside the checkout.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::log::say;
use crate::overlay::Overlay;
use crate::process::{self, Stream};
use crate::{images, paths};

/// The page, from the checkout's root.
const PAGE: &str = "docs/appliance.md";

/// What the page calls the image. Its domain's file has the same name with `.cfg`, and what is
/// typed in dom0 is put beside them with `.sh`.
const NAME: &str = "hello";

/// Where the page says that the image is, seen from the appliance's folder.
const IMAGE: &str = "target/x86_64-unknown-linux-gnu/release/hello";

/// Everything that the image depends on, on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);

/// Variables that would change how cargo builds, or where to.
const FOREIGN: &[&str] = &[
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTFLAGS",
];

/// What the page tells its reader to write and to type.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    /// Commands that make the folder and enter it.
    folder: String,
    /// Files as (path in the folder, content).
    files: Vec<(String, String)>,
    /// Commands that build the image, in the folder.
    build: String,
    /// Commands for dom0.
    run: String,
}

impl Page {
    /// Reads the page. A section whose heading is a code span is a file, its first code block the
    /// content. In the other sections, blocks marked `sh` are commands.
    fn read(text: &str) -> Result<Self> {
        let mut page = Self::default();
        for section in text.split("\n## ").skip(1) {
            let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
            let name = heading
                .strip_prefix('`')
                .and_then(|rest| rest.strip_suffix('`'));
            let into = match (name, heading) {
                (Some(name), _) => {
                    let block = blocks(body).next();
                    let (_, content) = block.with_context(|| format!("{name} has no content"))?;
                    page.files.push((name.to_owned(), content));
                    continue;
                }
                (None, "The folder") => &mut page.folder,
                (None, "Build") => &mut page.build,
                (None, "Run it") => &mut page.run,
                _ => continue,
            };
            for (_, commands) in blocks(body).filter(|(language, _)| language == "sh") {
                into.push_str(&commands);
            }
        }
        let missing = [&page.folder, &page.build, &page.run];
        if missing.iter().any(|commands| commands.is_empty()) || page.files.is_empty() {
            bail!("{PAGE} lacks one of its parts: {page:?}");
        }
        Ok(page)
    }
}

/// The code blocks of a section as (language, content).
fn blocks(text: &str) -> impl Iterator<Item = (String, String)> {
    // Fences come in pairs, so every second part is a block.
    text.split("```").skip(1).step_by(2).map(|block| {
        let (language, content) = block.split_once('\n').unwrap_or((block, ""));
        (language.to_owned(), content.to_owned())
    })
}

/// Follows the page and puts into dom0 what it needs; the files are made in `scratch`.
///
/// # Errors
/// The page is incomplete, a file cannot be written, or a command fails.
pub(crate) fn add(overlay: &mut Overlay, scratch: &Path) -> Result<()> {
    let text = fs::read_to_string(paths::workspace().join(PAGE)).context(PAGE)?;
    let page = Page::read(&text)?;
    let outside = tempfile::tempdir().context("no temporary folder")?;
    let outside = outside.path();
    if outside.starts_with(paths::workspace()) {
        bail!(
            "{} is inside the checkout: set TMPDIR to a folder outside",
            outside.display()
        );
    }
    symlink(paths::workspace(), outside.join("causeway")).context("a link to the checkout")?;
    say!("following {PAGE} in {}", outside.display());

    let mut last = None;
    let enter = format!("{}pwd\n", page.folder);
    shell(&enter, outside, |line| last = Some(PathBuf::from(line)))?;
    let folder = last.context("the page makes no folder")?;
    for (name, content) in &page.files {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    shell(&page.build, &folder, |line| say!("  {line}"))?;

    let image = images::stripped(&folder.join(IMAGE), NAME, scratch)?;
    overlay.images.push((NAME.to_owned(), image));
    let config = format!("{NAME}.cfg");
    let commands = format!("{NAME}.sh");
    fs::copy(folder.join(&config), scratch.join(&config)).context("the domain's file")?;
    fs::write(scratch.join(&commands), &page.run).context("the commands for dom0")?;
    let files = [config, commands].map(|name| (name.clone(), scratch.join(name)));
    overlay.files.extend(files);
    Ok(())
}

/// Runs commands of the page in `folder`; the first that fails ends them.
fn shell(commands: &str, folder: &Path, mut on_line: impl FnMut(&str)) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", commands]).current_dir(folder);
    for variable in FOREIGN {
        shell.env_remove(variable);
    }
    process::run(&mut shell, BUILD_LIMIT, |stream, line| match stream {
        Stream::Out => on_line(line),
        Stream::Err if line.trim_start().starts_with("Compiling") => {}
        Stream::Err => say!("  {line}"),
    })
    .with_context(|| format!("{PAGE}: {commands}"))
}

#[cfg(test)]
mod tests {
    use super::{IMAGE, NAME, Page};

    const TEXT: &str = include_str!("../../../docs/appliance.md");

    #[test]
    fn the_page_has_all_its_parts() {
        let page = Page::read(TEXT).expect("complete");
        let names: Vec<_> = page.files.iter().map(|(name, _)| name.as_str()).collect();
        let config = format!("{NAME}.cfg");
        let expected = [
            "Cargo.toml",
            "build.rs",
            ".cargo/config.toml",
            "src/main.rs",
            &config,
        ];
        assert_eq!(names, expected);
        assert!(
            page.files
                .iter()
                .all(|(_, content)| content.ends_with('\n'))
        );
        assert!(
            page.folder.ends_with(&format!("cd {NAME}\n")),
            "{}",
            page.folder
        );
        assert!(
            page.build.starts_with("cargo build --release\n"),
            "{}",
            page.build
        );
        assert!(page.run.starts_with("xl create "), "{}", page.run);
        assert!(TEXT.contains(&format!("The image is `{IMAGE}`")));
    }

    #[test]
    fn a_page_without_a_part_is_refused() {
        for part in ["## The folder\n", "## Build\n", "## Run it\n"] {
            assert!(
                Page::read(&TEXT.replace(part, "## Other\n")).is_err(),
                "{part}"
            );
        }
    }
}
