//! The last archive of dom0's root: what changes from run to run.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use labkit::protocol::{IMAGE_FOLDER, JOB_PATH, Job};

use crate::archive::Archive;
use crate::base::Base;

const INIT: &str = include_str!("../dom0/init");

/// The agent's path in dom0.
const AGENT_PATH: &str = "/lab/agent";

/// The path of a script that init runs instead of a shell.
const COMMAND_PATH: &str = "/lab/command";

/// What one run adds to dom0's root.
#[derive(Default)]
pub(crate) struct Overlay {
    /// The agent, if there is a job.
    pub(crate) agent: Option<PathBuf>,
    /// The agent's job. Without one, init opens a shell.
    pub(crate) job: Option<Job>,
    /// A script to run instead of the shell.
    pub(crate) command: Option<String>,
    /// Guest images as (name, file).
    pub(crate) images: Vec<(String, PathBuf)>,
    /// Other files for the folder of the images, as (name, file).
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Whether to add the Linux domU's kernel and root.
    pub(crate) linux_domu: bool,
    /// The archive of libvirt, if the run uses it.
    pub(crate) libvirt: Option<PathBuf>,
}

impl Overlay {
    /// Writes dom0's whole root to `target`: the base's archive, libvirt's and this one.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or written.
    pub(crate) fn write(&self, base: &Base, target: &Path) -> Result<()> {
        let mut out = BufWriter::new(
            File::create(target).with_context(|| format!("cannot make {}", target.display()))?,
        );
        for layer in [Some(base.initramfs()), self.libvirt.clone()]
            .into_iter()
            .flatten()
        {
            let mut layer =
                File::open(&layer).with_context(|| format!("cannot read {}", layer.display()))?;
            io::copy(&mut layer, &mut out)?;
        }
        let mut archive = Archive::new(out);
        archive.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
        if let Some(agent) = &self.agent {
            archive.copy(Path::new(AGENT_PATH), agent)?;
        }
        if let Some(job) = &self.job {
            archive.file(Path::new(JOB_PATH), 0o644, &serde_json::to_vec(job)?)?;
        }
        if let Some(command) = &self.command {
            archive.file(Path::new(COMMAND_PATH), 0o755, command.as_bytes())?;
        }
        let folder = Path::new(IMAGE_FOLDER);
        archive.folder(folder)?;
        for (name, file) in self.images.iter().chain(&self.files) {
            archive.copy(&folder.join(name), file)?;
        }
        if self.linux_domu {
            archive.copy(&folder.join("linux/vmlinuz"), &base.kernel())?;
            archive.copy(&folder.join("linux/initrd"), &base.domu_initrd())?;
        }
        archive
            .finish()?
            .into_inner()
            .context("cannot write dom0's root")?;
        Ok(())
    }
}
