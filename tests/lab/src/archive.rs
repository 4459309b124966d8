//! cpio archives (newc) for the kernel to unpack: a root made of a folder and single files.
//!
//! Archives can be concatenated: the kernel skips the zeros between them, and a later file
//! replaces an earlier one of the same name.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{Builder, trailer};

const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// What archives are padded to, as by GNU cpio. The kernel needs them to begin at multiples of 4
/// bytes.
const BLOCK_BYTES: u64 = 512;

/// An archive that is being written.
pub(crate) struct Archive<W: Write> {
    out: Counted<W>,
    folders: BTreeSet<PathBuf>,
    inode: u32,
}

struct Counted<W: Write> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Archive<W> {
    /// Begins an archive, which is written to `out` as files are added.
    pub(crate) fn new(out: W) -> Archive<W> {
        Archive {
            out: Counted {
                inner: out,
                bytes: 0,
            },
            folders: BTreeSet::new(),
            inode: 0,
        }
    }

    /// Adds the folder at `path` and those above it, unless they have been added already.
    pub(crate) fn folder(&mut self, path: &Path) -> Result<()> {
        let mut above: Vec<_> = path
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty() && folder.parent().is_some())
            .collect();
        above.reverse();
        for folder in above {
            if self.folders.insert(folder.to_path_buf()) {
                self.entry(folder, FOLDER | 0o755, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file with `content` at `path`, with the permission bits `mode`.
    pub(crate) fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        self.folder_of(path)?;
        self.entry(path, REGULAR | mode & 0o7777, content)
    }

    /// Adds a symbolic link at `path` to `target`.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        self.folder_of(path)?;
        self.entry(path, LINK | 0o777, target.as_os_str().as_encoded_bytes())
    }

    /// Adds the character device `major`:`minor` at `path`.
    pub(crate) fn device(&mut self, path: &Path, major: u32, minor: u32) -> Result<()> {
        self.folder_of(path)?;
        let builder = self
            .builder(path, CHARACTER_DEVICE | 0o600)
            .rdev_major(major)
            .rdev_minor(minor);
        builder
            .write(&mut self.out, 0)
            .finish()
            .with_context(|| format!("cannot add {}", path.display()))?;
        Ok(())
    }

    /// Adds the host's file at `source` as `path`.
    pub(crate) fn copy(&mut self, path: &Path, source: &Path) -> Result<()> {
        let content =
            fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let mode = fs::metadata(source)?.permissions().mode();
        self.file(path, mode, &content)
    }

    /// Adds everything below `root` for which `keep` returns true. It is given paths as in the
    /// archive.
    pub(crate) fn tree(&mut self, root: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<()> {
        self.below(root, Path::new("/"), keep)
    }

    fn below(&mut self, root: &Path, path: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<()> {
        let here = root.join(path.strip_prefix("/").unwrap_or(path));
        let mut names = fs::read_dir(&here)
            .with_context(|| format!("cannot list {}", here.display()))?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let path = path.join(&name);
            let source = here.join(&name);
            if !keep(&path) {
                continue;
            }
            let metadata = fs::symlink_metadata(&source)?;
            if metadata.is_dir() {
                self.folder(&path)?;
                self.below(root, &path, keep)?;
            } else if metadata.is_symlink() {
                self.link(&path, &fs::read_link(&source)?)?;
            } else if metadata.is_file() {
                // Hard links become copies: the kernel would need them next to each other.
                self.file(&path, metadata.mode(), &fs::read(&source)?)?;
            }
        }
        Ok(())
    }

    /// Ends the archive, pads it so that another can follow, and returns its output.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.out = trailer(self.out).context("cannot end the archive")?;
        let rest = self.out.bytes.next_multiple_of(BLOCK_BYTES) - self.out.bytes;
        io::copy(&mut io::Read::take(io::repeat(0), rest), &mut self.out)?;
        self.out.flush()?;
        Ok(self.out.inner)
    }

    fn folder_of(&mut self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(folder) => self.folder(folder),
            None => Ok(()),
        }
    }

    fn builder(&mut self, path: &Path, mode: u32) -> Builder {
        self.inode += 1;
        let name = path.strip_prefix("/").unwrap_or(path);
        Builder::new(&name.to_string_lossy())
            .ino(self.inode)
            .mode(mode)
            .nlink(1)
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        let context = || format!("cannot add {}", path.display());
        let size = u32::try_from(content.len()).with_context(context)?;
        let mut writer = self.builder(path, mode).write(&mut self.out, size);
        writer.write_all(content).with_context(context)?;
        writer.finish().with_context(context)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::path::Path;

    use cpio::newc::Reader;

    use super::Archive;

    /// Returns the entries of an archive as name -> (mode, content).
    fn entries(mut bytes: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        loop {
            let mut reader = Reader::new(bytes).expect("an entry");
            if reader.entry().is_trailer() {
                return found;
            }
            let name = reader.entry().name().to_owned();
            let mode = reader.entry().mode();
            let mut content = Vec::new();
            reader.read_to_end(&mut content).expect("its content");
            assert!(
                found.insert(name.clone(), (mode, content)).is_none(),
                "{name} is there twice"
            );
            bytes = reader.finish().expect("the next entry");
        }
    }

    #[test]
    fn files_bring_their_folders_once() {
        let mut archive = Archive::new(Vec::new());
        archive
            .file(Path::new("/lab/images/a"), 0o100_644, b"A")
            .expect("in memory");
        archive
            .file(Path::new("/lab/images/b"), 0o755, b"")
            .expect("in memory");
        archive
            .link(Path::new("/bin/sh"), Path::new("busybox"))
            .expect("in memory");
        archive
            .device(Path::new("/dev/console"), 5, 1)
            .expect("in memory");
        let bytes = archive.finish().expect("in memory");
        assert_eq!(bytes.len() % 512, 0);
        let found = entries(&bytes);
        assert_eq!(found["lab/images"].0, 0o040_755);
        assert_eq!(found["lab/images/a"], (0o100_644, b"A".to_vec()));
        assert_eq!(found["bin/sh"], (0o120_777, b"busybox".to_vec()));
        assert_eq!(found["dev/console"].0, 0o020_600);
        assert_eq!(found.len(), 8);
    }

    #[test]
    fn a_tree_leaves_out_what_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
            std::fs::write(path, name).expect("written");
        };
        file("usr/share/doc/x");
        file("usr/bin/y");
        let mut archive = Archive::new(Vec::new());
        archive
            .tree(folder.path(), &|path| path != Path::new("/usr/share/doc"))
            .expect("read");
        let found = entries(&archive.finish().expect("in memory"));
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["usr", "usr/bin", "usr/bin/y", "usr/share"]
        );
    }
}
