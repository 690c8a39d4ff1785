//! A program that is fed and heard at the same time.
//!
//! One thread writes to it, one reads what it prints, and one what it complains of, so that whatever it does first, nobody
//! waits for it who should listen.

use super::complaints::{self, Complaints};
use super::files::{Folder, Shipped};
use super::lines::Pieces;
use mr_core::{AttemptId, Failure, FailureClass};
use mr_mapreduce::Attempt;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces on their way to the program, and from it.
const FEEDS: usize = 2;
const HEARD: usize = 8;
/// How often it is looked whether anybody still waits.
const LOOK: Duration = Duration::from_millis(200);
/// A line is in memory as a whole.
const LINE_MAX: usize = 64 << 20;
/// What of its last words is told with a failure.
const TOLD: usize = 2 << 10;

/// What is run for each task of a stage.
pub struct Program {
    pub half: &'static str,
    pub command: Vec<String>,
    pub files: Shipped,
    /// How long it may do nothing.
    pub idle: Duration,
}

impl Program {
    /// As a failure names it.
    fn called(&self) -> String {
        format!("the program `{}` of [{}]", self.command.join(" "), self.half)
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::application(format!("{}: {why}", self.called()))
    }

    /// It would print the same again.
    pub fn wrong(&self, why: &str) -> Failure {
        Failure::permanent(format!("{}: {why}", self.called()))
    }

    pub fn no_tab(&self, line: &[u8]) -> Failure {
        let shown: String = String::from_utf8_lossy(line).chars().take(80).collect();
        self.wrong(&format!("it printed a line without a tab, where a key, a tab and a value are wanted: {shown:?}"))
    }

    fn start(&self, attempt: &Attempt) -> Result<Process, Failure> {
        let [name, arguments @ ..] = &self.command[..] else { return Err(self.failed("it has no name")) };
        let AttemptId { task, number, .. } = attempt.id();
        let folder = self.files.folder()?;
        let spawned = Command::new(folder.program(name))
            .args(arguments)
            .current_dir(folder.path())
            .env("MR_JOB_ID", task.job.as_str())
            .env("MR_STAGE", self.half)
            .env("MR_TASK", task.index.to_string())
            .env("MR_ATTEMPT", number.to_string())
            // So that what it starts goes with it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            // Other workers may have it.
            ErrorKind::NotFound => self.failed(&format!(
                "it is not on this worker: install `{name}` there, or what it is run by, or ship it with files = [...] under [{}]",
                self.half
            )),
            _ => self.failed(&format!("it can't be started: {error}")),
        })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(self.failed("it has no ends to hold it by"));
        };
        let (feed, fed) = mpsc::sync_channel(FEEDS);
        let (hear, events) = mpsc::sync_channel(HEARD);
        let told = hear.clone();
        thread::spawn(move || write(stdin, &fed, &told));
        thread::spawn(move || listen(stdout, &hear));
        let (complain, complaints) = mpsc::sync_channel(1);
        thread::spawn(move || complain.send(complaints::hear(stderr)));
        Ok(Process {
            called: self.called(),
            idle: self.idle,
            child,
            feed: Some(feed),
            events,
            on_the_way: 0,
            pieces: Pieces::default(),
            complaints,
            _folder: folder,
            is_stopped: attempt.watch(),
        })
    }
}

enum Event {
    /// A piece went to the program.
    Fed,
    Heard(Vec<u8>),
    /// It will print no more.
    Ended,
}

/// A program at work on a task.
pub struct Process {
    called: String,
    idle: Duration,
    child: Child,
    feed: Option<SyncSender<Vec<u8>>>,
    events: Receiver<Event>,
    /// Pieces that the program has not taken yet.
    on_the_way: usize,
    pieces: Pieces,
    complaints: Receiver<Complaints>,
    /// Where it runs.
    _folder: Folder,
    is_stopped: Box<dyn Fn() -> bool + Send>,
}

type Each<'a> = dyn FnMut(&[u8]) -> Result<(), Failure> + 'a;

impl Process {
    /// The process of this attempt, which is started the first time.
    pub fn running<'a>(
        process: &'a mut Option<Self>,
        program: &Program,
        attempt: &Attempt,
    ) -> Result<&'a mut Self, Failure> {
        match process {
            Some(process) => Ok(process),
            none => Ok(none.insert(program.start(attempt)?)),
        }
    }

    /// Gives it a piece, and calls `each` with the lines that it has printed meanwhile.
    ///
    /// # Errors
    /// The first of `each`, or that it does nothing.
    pub fn feed(&mut self, piece: Vec<u8>, each: &mut Each<'_>) -> Result<(), Failure> {
        while self.on_the_way >= FEEDS {
            self.hear(each)?;
        }
        if !piece.is_empty() {
            let feed = self.feed.as_ref().expect("it is fed until it is ended");
            self.on_the_way += 1;
            feed.send(piece).map_err(|_| self.failed("nothing goes to it any more"))?;
        }
        while let Ok(event) = self.events.try_recv() {
            self.take(event, each)?;
        }
        Ok(())
    }

    /// Tells it that there is no more, hears it to its end, and gives what it wrote to standard error.
    ///
    /// # Errors
    /// The first of `each`, that it does nothing, or how it ended.
    pub fn end(mut self, each: &mut Each<'_>) -> Result<Complaints, Failure> {
        self.feed = None;
        while self.hear(each)? {}
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.finish(each)?;
        let status = self.waited()?;
        // What it started and left behind would hold its ends open.
        self.kill_group();
        let complaints = self.complaints.recv_timeout(self.idle).unwrap_or_default();
        if status.success() {
            return Ok(complaints);
        }
        let last = complaints.last;
        let told = String::from_utf8_lossy(&last[last.len().saturating_sub(TOLD)..]);
        // A failure is one line.
        let told = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("it ended with exit code {code}"),
            (None, signal) => format!("it was ended by signal {}", signal.unwrap_or_default()),
        };
        Err(self.failed(&if told.is_empty() { how } else { format!("{how}: {told}") }))
    }

    /// It has closed what it prints to, and need not have ended.
    fn waited(&mut self) -> Result<ExitStatus, Failure> {
        let since = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => self.still_wanted(since)?,
                Err(error) => return Err(self.failed(&format!("it can't be waited for: {error}"))),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for it to do something. `false`: it will print no more.
    fn hear(&mut self, each: &mut Each<'_>) -> Result<bool, Failure> {
        let since = Instant::now();
        loop {
            match self.events.recv_timeout(LOOK) {
                Ok(event) => return self.take(event, each),
                Err(RecvTimeoutError::Timeout) => self.still_wanted(since)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
    }

    fn still_wanted(&self, since: Instant) -> Result<(), Failure> {
        if (self.is_stopped)() {
            return Err(stopped());
        }
        if since.elapsed() > self.idle {
            let seconds = self.idle.as_secs();
            return Err(self.failed(&format!("it has done nothing for params.{} = {seconds}", super::IDLE)));
        }
        Ok(())
    }

    fn take(&mut self, event: Event, each: &mut Each<'_>) -> Result<bool, Failure> {
        // One that prints without end is never waited for.
        if (self.is_stopped)() {
            return Err(stopped());
        }
        match event {
            Event::Fed => self.on_the_way -= 1,
            Event::Heard(piece) => {
                self.pieces.push(&piece, each)?;
                if self.pieces.begun() > LINE_MAX {
                    return Err(self.failed(&format!("it printed a line of more than {} MiB", LINE_MAX >> 20)));
                }
            }
            Event::Ended => return Ok(false),
        }
        Ok(true)
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::application(format!("{}: {why}", self.called))
    }
}

impl Process {
    /// Ends whatever of its group there is.
    fn kill_group(&self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Nobody may be left of it.
        _ = group.map(|group| kill_process_group(group, Signal::KILL));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        _ = self.child.wait();
    }
}

fn stopped() -> Failure {
    Failure::new(FailureClass::Cancelled, "the attempt was stopped")
}

/// A program that reads no more has its reasons, and its exit code will say whether they are good ones.
fn write(mut to: impl Write, fed: &Receiver<Vec<u8>>, told: &SyncSender<Event>) {
    let mut open = true;
    while let Ok(piece) = fed.recv() {
        open = open && to.write_all(&piece).is_ok();
        if told.send(Event::Fed).is_err() {
            return;
        }
    }
}

fn listen(mut from: impl Read, hear: &SyncSender<Event>) {
    loop {
        let mut piece = vec![0; super::FED];
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                piece.truncate(length);
                if hear.send(Event::Heard(piece)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    _ = hear.send(Event::Ended);
}
