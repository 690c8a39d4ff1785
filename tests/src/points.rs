//! Points in the life of a cluster, told by what it asks the store: at each a process is killed or stopped, exactly before
//! or exactly after the store has done what it asked.

use crate::Signal;
use crate::meddle::{After, Before, Meddler, Operation, Seen};
use crate::process::{Running, send};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What is asked of the store. States lie in folders that begin with `state`, outputs in others that begin with `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// An entry of the journal, the first of each coordinator's among them, with which it takes over.
    Journal,
    /// That there is somebody at work.
    Leader,
    Listing,
    /// The first file of a job in an output.
    Marker,
    Part,
    RunFile,
    /// The entry of the table's log, which commits.
    Entry,
    /// That the mark of success goes, before what is old is swept.
    Unmark,
    OldPart,
    /// A copy of a run's file beside the parts.
    Beside,
    Success,
    ListingGone,
    /// What a task has made.
    Work,
}

impl Asks {
    pub fn is(self, seen: &Seen) -> bool {
        use Operation::{Complete, Copy, Delete, Put};
        let Some((folder, key)) = seen.key.split_once('/') else { return false };
        let writes = matches!(seen.operation, Put | Copy | Complete);
        let deletes = seen.operation == Delete;
        let run_file = key.strip_prefix("_runs/").and_then(|rest| rest.split_once('/')).map(|(_, path)| path);
        let in_state = folder.starts_with("state")
            && match self {
                Asks::Journal => writes && key.strip_prefix("journal/").is_some_and(|name| name.parse::<u64>().is_ok()),
                Asks::Leader => writes && key == "journal/leader",
                Asks::Listing => writes && key.starts_with("jobs/"),
                Asks::ListingGone => deletes && key.starts_with("jobs/"),
                Asks::Work => writes && key.starts_with("work/"),
                _ => false,
            };
        let in_output = folder.starts_with("out")
            && match self {
                Asks::Marker => writes && run_file == Some("job.json"),
                Asks::Part => writes && key.starts_with("part-"),
                Asks::RunFile => writes && run_file.is_some_and(|path| path != "job.json"),
                Asks::Entry => writes && key.starts_with("_delta_log/"),
                Asks::Unmark => deletes && key == "_SUCCESS",
                Asks::OldPart => deletes && key.starts_with("part-"),
                Asks::Beside => seen.operation == Copy && key.starts_with('_') && run_file.is_none(),
                Asks::Success => writes && key == "_SUCCESS",
                _ => false,
            };
        in_state || in_output
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// Whoever asks this for the `nth` time, counted from one over all processes that are known, gets that signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub when: When,
    pub nth: u32,
    pub asks: Asks,
    pub signal: Signal,
}

impl Point {
    pub fn kill(when: When, nth: u32, asks: Asks) -> Self {
        Self { when, nth, asks, signal: Signal::Kill }
    }

    pub fn stop(when: When, nth: u32, asks: Asks) -> Self {
        Self { when, nth, asks, signal: Signal::Stop }
    }
}

impl Point {
    pub fn kills(&self) -> bool {
        self.signal == Signal::Kill
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { when, nth, asks, signal } = self;
        write!(f, "{signal:?} {when:?} {asks:?} {nth}")
    }
}

/// A point that was reached.
#[derive(Clone, Debug)]
pub struct Struck {
    pub point: Point,
    /// Who was signalled.
    pub client: String,
}

#[derive(Debug)]
pub struct Points {
    known: Mutex<BTreeMap<String, u32>>,
    still: Mutex<BTreeSet<String>>,
    armed: Mutex<Vec<(Point, u32)>>,
    seen: Mutex<Vec<Seen>>,
    struck: Sender<Struck>,
    heard: Mutex<Receiver<Struck>>,
}

impl Default for Points {
    fn default() -> Self {
        let (struck, heard) = channel();
        Self {
            known: Mutex::default(),
            still: Mutex::default(),
            armed: Mutex::default(),
            seen: Mutex::default(),
            struck,
            heard: heard.into(),
        }
    }
}

impl Points {
    /// Starts a process that goes to the store under this name.
    pub fn introduce(&self, client: &str, start: impl FnOnce() -> Running) -> Running {
        // Its first request waits until it is known.
        let mut known = self.known.lock().expect("nobody panics while it is held");
        let running = start();
        known.insert(client.to_owned(), running.id());
        running
    }

    /// Whether there is such a process, which was not killed.
    pub fn knows(&self, client: &str) -> bool {
        self.known.lock().expect("nobody panics while it is held").contains_key(client)
    }

    /// Points that were not reached before are reached no more.
    pub fn arm(&self, points: &[Point]) {
        self.known.lock().expect("nobody panics while it is held").clear();
        self.still.lock().expect("nobody panics while it is held").clear();
        self.seen.lock().expect("nobody panics while it is held").clear();
        *self.armed.lock().expect("nobody panics while it is held") = points.iter().map(|point| (*point, 0)).collect();
        while self.struck().is_some() {}
    }

    /// The next that was reached and nobody has heard of.
    pub fn struck(&self) -> Option<Struck> {
        self.heard.lock().expect("nobody panics while it is held").try_recv().ok()
    }

    /// Those that were not reached yet.
    pub fn left(&self) -> Vec<Point> {
        self.armed.lock().expect("nobody panics while it is held").iter().map(|(point, _)| *point).collect()
    }

    /// All requests of those that are known, since points were armed.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panics while it is held").clone()
    }

    /// How often one who is not `client` has asked this.
    pub fn others_asked(&self, client: &str, asks: Asks) -> usize {
        let seen = self.seen.lock().expect("nobody panics while it is held");
        seen.iter().filter(|seen| seen.client != client && asks.is(seen)).count()
    }

    /// Whether a point is reached. Whoever asked has had its signal then.
    fn reach(&self, seen: &Seen, when: When) -> Option<Signal> {
        let mut known = self.known.lock().expect("nobody panics while it is held");
        // What a dead one asked may still be done, and what one asked that stands still.
        let process = *known.get(&seen.client)?;
        let mut still = self.still.lock().expect("nobody panics while it is held");
        if still.contains(&seen.client) {
            return None;
        }
        let mut armed = self.armed.lock().expect("nobody panics while it is held");
        let mut reached = None;
        armed.retain_mut(|(point, count)| {
            if point.when != when || !point.asks.is(seen) {
                return true;
            }
            *count += 1;
            let now = *count >= point.nth && reached.is_none();
            if now {
                reached = Some(*point);
            }
            !now
        });
        let point = reached?;
        send(process, point.signal);
        match point.signal {
            Signal::Kill => _ = known.remove(&seen.client),
            Signal::Stop => _ = still.insert(seen.client.clone()),
            Signal::Term | Signal::Int | Signal::Continue => {}
        }
        _ = self.struck.send(Struck { point, client: seen.client.clone() });
        Some(point.signal)
    }
}

impl Meddler for Points {
    fn before(&self, seen: &Seen) -> Before {
        if !seen.client.is_empty() {
            self.seen.lock().expect("nobody panics while it is held").push(seen.clone());
        }
        match self.reach(seen, When::Before) {
            Some(Signal::Kill) => Before::Never,
            Some(Signal::Term | Signal::Int | Signal::Stop | Signal::Continue) | None => Before::Apply,
        }
    }

    fn after(&self, seen: &Seen) -> After {
        match self.reach(seen, When::After) {
            Some(Signal::Kill) => After::Never,
            Some(Signal::Term | Signal::Int | Signal::Stop | Signal::Continue) | None => After::Answer,
        }
    }
}
