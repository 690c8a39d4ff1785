//! Programs as processes: started, listened to, signalled, and gone when the test ends, however it ends.

use crate::Scratch;
use crate::scratch::say;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Of a log, when a test fails.
const TAIL_LINES: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    Int,
    Kill,
    /// It stands still until it is continued.
    Stop,
    Continue,
}

/// A process that goes on. Both its streams go to files, so that nothing it says makes it wait.
pub struct Running {
    line: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    started: Instant,
    peak_rss_bytes: u64,
    ended: bool,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// As one would type it.
    pub line: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub seconds: f64,
    /// As the system saw it, up to a moment before the end.
    pub peak_rss_bytes: u64,
}

impl Running {
    pub fn start(mut command: Command, scratch: &Scratch) -> Self {
        let program = PathBuf::from(command.get_program());
        let name = program.file_name().expect("a program has a name").to_string_lossy().into_owned();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        let line = format!("{name} {}", args.join(" "));
        let log = scratch.log(&name);
        let (stdout, stderr) = (log.with_extension("out"), log.with_extension("err"));
        let file = |path: &PathBuf| Stdio::from(fs::File::create(path).expect("there is room for a log"));
        command.stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("starting {line}: {error}"));
        Self { line, child, stdout, stderr, started: Instant::now(), peak_rss_bytes: 0, ended: false }
    }

    /// What it has said on stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// What it has said on stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Waits for a whole line on stdout, with which our servers say that they are ready.
    pub fn first_line(&mut self) -> String {
        self.until("say where it is", |process| {
            let said = process.stdout();
            said.split_once('\n').map(|(line, _)| line.to_owned())
        })
    }

    /// Waits for something to come true of it. Its end before that, and a minute, fail the test.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                self.ended = true;
                panic!("{}: ended with {status} and did not {what}\n{}", self.line, self.stderr());
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{}: does not {what}\n{}", self.line, self.stderr());
            sleep(LOOK);
        }
    }

    /// The id of the job that a submitter has submitted, once it says so.
    pub fn submitted(&mut self) -> String {
        self.until("submit its job", |submitter| {
            let said = submitter.stderr();
            let line =
                said.split_inclusive('\n').find_map(|line| line.strip_prefix("submitted job ")?.strip_suffix('\n'));
            line.map(str::to_owned)
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Whether it has ended, which [`wait`](Self::wait) tells more about.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }

    /// Waits for its end. No program of ours may panic, whatever else a test is about.
    pub fn wait(mut self, limit: Duration) -> Ended {
        let began = Instant::now();
        let status = loop {
            self.peak_rss_bytes = self.peak_rss_bytes.max(resident_bytes_peak(self.child.id()));
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                self.ended = true;
                break status;
            }
            assert!(began.elapsed() < limit, "{}: goes on after {limit:?}\n{}", self.line, self.stderr());
            sleep(LOOK);
        };
        let ended = Ended {
            line: self.line.clone(),
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
            seconds: self.started.elapsed().as_secs_f64(),
            peak_rss_bytes: self.peak_rss_bytes,
        };
        assert!(!ended.stderr.contains("panicked at"), "{ended}");
        ended
    }

    /// Asks it to end, which has to take less than ten seconds and go well.
    pub fn terminate(self) -> Ended {
        self.signal(Signal::Term);
        let began = Instant::now();
        let ended = self.wait(Duration::from_secs(10));
        assert_eq!(ended.status.code(), Some(0), "{ended}");
        say(&format!("  {} ended {:.2} s after SIGTERM", ended.line, began.elapsed().as_secs_f64()));
        ended
    }

    /// Takes it away without a word.
    pub fn kill(self) -> Ended {
        self.signal(Signal::Kill);
        self.wait(Duration::from_secs(10))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // It may have ended by itself meanwhile.
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            say(&format!("{} said last:\n{}", self.line, tail(&self.stderr())));
        }
    }
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails the test unless it ended well.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code(), Some(0), "{self}");
        self
    }

    /// Fails the test unless it ended with this code and said all of that on stderr.
    #[track_caller]
    pub fn stopped(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        for words in said {
            assert!(self.stderr.contains(words), "{words:?} was not said by {self}");
        }
        self
    }

    pub fn last_line(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON on stdout ({error}): {self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let signal = self.status.signal().map_or(String::new(), |signal| format!(" (signal {signal})"));
        let (stdout, stderr) = (tail(&self.stdout), tail(&self.stderr));
        write!(f, "{}: {}{signal}\nstdout:\n{stdout}\nstderr:\n{stderr}", self.line, self.status)
    }
}

/// Allows this process as many open files as it may have, and says how many that is.
pub fn allow_many_files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("it may be raised to that");
    maximum.unwrap_or(u64::MAX)
}

/// To a process that was not waited for yet, so that its number is nobody else's.
pub fn send(process: u32, signal: Signal) {
    let name = match signal {
        Signal::Term => "TERM",
        Signal::Int => "INT",
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
    };
    // The shell's own kill: a bare system may have no other.
    let line = format!("kill -s {name} {process}");
    let told = Command::new("sh").args(["-c", &line]).status().expect("there is a shell");
    assert!(told.success(), "{line}: {told}");
}

/// Waits for something to come true, longer than a coordinator waits for stragglers.
#[track_caller]
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{what}: not in time");
        sleep(LOOK);
    }
}

fn resident_bytes_peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.map_or(0, |kilobytes: u64| kilobytes * 1024)
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
