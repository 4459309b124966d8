//! Seeded mail bodies, written to files that smtp-source and swaks can send.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::process::scratch_file;

/// The header that names a mail, so that the receiver can look up its body.
pub const ID_HEADER: &str = "X-Lab-Mail";

/// The characters of text bodies: base64's, which are plain ASCII.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters per line of a text body (RFC 5322, 2.1.1 recommends at most 78).
const LINE_LETTERS: usize = 76;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// A file that is removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A file that does not exist yet.
    pub fn new(purpose: &str) -> Self {
        Self(scratch_file(purpose))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns its path as an argument for a program.
    pub fn text(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The file may never have been written.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A mail or an attachment in a file.
#[derive(Debug)]
pub struct Content {
    /// The file.
    pub file: Scratch,
    /// The name in [`ID_HEADER`].
    pub id: String,
    /// The hash of the body (of a mail) or of the whole file (of an attachment).
    pub hash: Hash,
}

/// Writes a mail of about `bytes` bytes of text lines for `smtp-source -F`. Some lines begin with
/// dots, to test dot-stuffing (RFC 5321, 4.5.2) on every hop.
pub fn text_mail(id: &str, bytes: usize, seed: u64) -> Result<Content> {
    let file = Scratch::new("mail");
    let mut out = create(&file)?;
    write!(out, "Subject: lab\n{ID_HEADER}: {id}\n\n").context("headers")?;
    let mut hasher = Sha256::new();
    let mut written = 0;
    let mut lines = Lines::new(seed);
    while written < bytes {
        let line = lines.next_line();
        hasher.update(line);
        out.write_all(line).context("body")?;
        written += line.len();
    }
    out.flush().context("body")?;
    Ok(Content {
        file,
        id: id.to_owned(),
        hash: hasher.finalize().into(),
    })
}

/// Writes a file of `bytes` random bytes, to be attached to a mail.
pub fn attachment(id: &str, bytes: usize, seed: u64) -> Result<Content> {
    let file = Scratch::new("attachment");
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    let mut out = create(&file)?;
    out.write_all(&content).context("attachment")?;
    out.flush().context("attachment")?;
    Ok(Content {
        file,
        id: id.to_owned(),
        hash: hash(&content),
    })
}

/// Returns the SHA-256 hash of `bytes`.
pub fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Lines of random letters that end with line feeds.
pub struct Lines {
    random: fastrand::Rng,
    line: [u8; LINE_LETTERS + 1],
    short: Vec<u8>,
}

impl Lines {
    /// The lines of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            line: [b'\n'; LINE_LETTERS + 1],
            short: Vec::new(),
        }
    }

    /// Returns the next line. One in 64 is special: only dots, dots first, empty, or short.
    pub fn next_line(&mut self) -> &[u8] {
        let letters = &mut self.line[..LINE_LETTERS];
        self.random.fill(letters);
        let choice = usize::from(letters[0] >> 2);
        for letter in letters.iter_mut() {
            *letter = LETTERS[usize::from(*letter & 63)];
        }
        if choice != 0 {
            return &self.line;
        }
        self.short.clear();
        match self.random.u8(0..5) {
            0 => self.short.extend(b".\n"),
            1 => self.short.extend(b"..\n"),
            2 => {
                self.short.push(b'.');
                self.short.extend(&self.line[1..]);
            }
            3 => self.short.push(b'\n'),
            _ => self.short.extend(b"x.\n"),
        }
        &self.short
    }
}

fn create(file: &Scratch) -> Result<BufWriter<File>> {
    let path = file.path();
    let file = File::create(path).with_context(|| path.display().to_string())?;
    Ok(BufWriter::with_capacity(64 * 1024, file))
}

#[cfg(test)]
mod tests {
    use super::{attachment, hash, text_mail};
    use std::fs;

    #[test]
    fn a_text_mail_holds_what_its_hash_says() {
        let mail = text_mail("m1", 20_000, 5).expect("written");
        let text = fs::read_to_string(mail.file.path()).expect("plain ASCII");
        let (head, body) = text.split_once("\n\n").expect("an empty line");
        assert!(head.contains("X-Lab-Mail: m1"));
        assert_eq!(hash(body.as_bytes()), mail.hash);
        assert!((20_000..20_078).contains(&body.len()));
        assert!(body.ends_with('\n'));
        assert!(body.lines().any(|line| line.starts_with('.')));
        let again = text_mail("m2", 20_000, 5).expect("written");
        assert_eq!(again.hash, mail.hash);
    }

    #[test]
    fn files_go_with_their_contents() {
        let file = attachment("a", 1000, 1).expect("written");
        let path = file.file.path().to_owned();
        assert_eq!(hash(&fs::read(&path).expect("there")), file.hash);
        drop(file);
        assert!(!path.exists());
    }
}
