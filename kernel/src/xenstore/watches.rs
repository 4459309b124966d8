//! The table of watches: the watched paths, and the paths that have fired.

use alloc::{
    collections::{BTreeMap, VecDeque},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::task::Waker;

/// Most watches at once. xenstored's own quota for a domain is 128.
const MAX_WATCHES: usize = 64;
/// Most fired paths kept per watch. Further ones collapse into the watched
/// path.
const MAX_FIRED: usize = 16;

/// One watch.
struct Entry {
    path: String,
    /// Paths that have fired and were not taken, each once, in order.
    fired: VecDeque<String>,
    waker: Option<Waker>,
}

/// All watches by token. On the wire a token is this number in decimal.
#[derive(Default)]
pub(super) struct Watches {
    entries: BTreeMap<u32, Entry>,
    last_token: u32,
}

/// The outcome of a watch event.
pub(super) enum Fired {
    /// A watch took it; with the waker of the task that waits, if there is one.
    Taken(Option<Waker>),
    /// A watch took it, although its path is not below the watched one.
    Strayed(Option<Waker>),
    /// No watch has this token: the event is late for a dropped watch, or
    /// bogus.
    Unknown,
}

impl Watches {
    /// Adds a watch and returns its token, or `None` if the table is full.
    pub(super) fn add(&mut self, path: &str) -> Option<u32> {
        if self.entries.len() >= MAX_WATCHES {
            return None;
        }
        loop {
            self.last_token = self.last_token.wrapping_add(1);
            if !self.entries.contains_key(&self.last_token) {
                break;
            }
        }
        let entry = Entry {
            path: path.to_string(),
            fired: VecDeque::new(),
            waker: None,
        };
        self.entries.insert(self.last_token, entry);
        Some(self.last_token)
    }

    /// Removes a watch, and returns the waker of the task that waited for it.
    pub(super) fn remove(&mut self, token: u32) -> Option<Waker> {
        self.entries.remove(&token)?.waker
    }

    /// Records that `path` has fired the watch with this token.
    pub(super) fn fire(&mut self, token: &str, path: &str) -> Fired {
        let entry = token
            .parse()
            .ok()
            .and_then(|number: u32| self.entries.get_mut(&number));
        let Some(entry) = entry else {
            return Fired::Unknown;
        };
        let strayed = !is_at_or_below(path, &entry.path);
        // It only matters that something changed: a stray path counts as the
        // watched one, and so do all paths if there are too many.
        let path = if strayed { &entry.path } else { path };
        if !entry.fired.iter().any(|known| known == path) {
            if entry.fired.len() < MAX_FIRED {
                entry.fired.push_back(path.to_string());
            } else {
                entry.fired.clear();
                entry.fired.push_back(entry.path.clone());
            }
        }
        let waker = entry.waker.take();
        if strayed {
            Fired::Strayed(waker)
        } else {
            Fired::Taken(waker)
        }
    }

    /// Takes the oldest fired path.
    pub(super) fn take_fired(&mut self, token: u32) -> Option<String> {
        self.entries.get_mut(&token)?.fired.pop_front()
    }

    /// Returns the slot for the waker of the task that waits for this watch.
    pub(super) fn waker_slot(&mut self, token: u32) -> Option<&mut Option<Waker>> {
        Some(&mut self.entries.get_mut(&token)?.waker)
    }

    /// Returns the payloads of the `WATCH` requests of all watches.
    pub(super) fn payloads(&self) -> Vec<String> {
        self.entries
            .iter()
            .map(|(token, entry)| payload(&entry.path, *token))
            .collect()
    }

    /// Takes the wakers of all waiting tasks, to tell them that the connection
    /// is lost.
    pub(super) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.entries
            .values_mut()
            .filter_map(|entry| entry.waker.take())
    }
}

/// Makes the payload of `WATCH` and `UNWATCH`: path and token
/// (docs/misc/xenstore.txt).
pub(super) fn payload(path: &str, token: u32) -> String {
    format!("{path}\0{token}\0")
}

/// Returns whether `path` is `parent` or lies below it, in the sense of
/// xenstore.txt.
fn is_at_or_below(path: &str, parent: &str) -> bool {
    match path.strip_prefix(parent) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || parent == "/",
        None => false,
    }
}
