//! A little language for telling the scheduler a story and reading what it did.
//!
//! ```text
//! submit a [job=NAME.VERSION] [attempts=N] [share=X] [wish=F,F]                    list a 3 [features]     list a fails    list a wrong
//! poll w1 [2 | 2+1] [family=F,F] [jobs=NAME.VERSION,..] [draining] [deaf] [old] [lingers]          its answer is lost when deaf; old: an old message
//! done w1 a/0/0#1 [records=N] [rows=N] [quarantined=N | changed=N] [family=F] [probed]     fail w1 a/0/0#1 CLASS [blames=KEY] [lost=a/0/0#1,a/0/1#1]
//! wait 15s    sleep 15s    restart    back 5s    cancel a    broken a    committed a    uncommitted a [lost=a/2/0#1] [round=N]    shorten    show a    sums a    takers a    books a    ask w1    mark ANYTHING    drops w1 a/0/0#1
//! found a/0/0[,a/1/0] [records=N] [family=F]
//! ```
//!
//! Splits have ten objects each. A plain job writes its rows in one stage; `features` is the three stages of the main
//! job. Workers do as they are told at once.
//! Time that is waited passes with a tick at each deadline, time that is slept with one at its end.

use mr_core::{
    AttemptId, AttemptResult, Failure, FailureClass, FileRef, JobCode, JobId, JobPhase, KernelWish, Limits,
    QuarantineSource, Quarantined, TaskId, TaskKind, TaskOutput, WorkerId,
};
use mr_scheduler::{Command, Config, Event, Fact, Lack, Poll, Scheduler, Step, sim::graphs};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const SPLIT_OBJECTS: u32 = 10;

const BEGINNING: u64 = 1000;
/// What is submitted, and what workers have, unless the story says otherwise.
const CODE: &str = "toy.1";

/// Tells the story and compares what came of it, line by line.
#[track_caller]
pub fn check(story: &str, expected: &str) {
    check_with(Config::default(), story, expected);
}

#[track_caller]
pub fn check_with(config: Config, story: &str, expected: &str) {
    let mut stage = Stage::new(config);
    for line in story.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
        stage.play(line);
        stage.scheduler.audit().unwrap_or_else(|why| panic!("after `{line}`: {why}"));
    }
    let lines = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let (told, expected) = (stage.told.join("\n"), lines(expected));
    assert!(told == expected, "\nstory: {story}\ncame to:\n{told}\nnot to:\n{expected}\n");
}

struct Stage {
    config: Config,
    scheduler: Scheduler,
    epoch: u64,
    facts: Vec<Fact>,
    now: u64,
    workers: BTreeMap<String, Worker>,
    phases: BTreeMap<JobId, JobPhase>,
    /// How many polls were answered, and the newest of each worker.
    answered: u32,
    heard: BTreeMap<String, u64>,
    /// Of the last commit that was asked for.
    round: u32,
    told: Vec<String>,
}

#[derive(Clone, Default)]
struct Worker {
    seq: u64,
    slots: u32,
    capacity: u32,
    families: Vec<String>,
    jobs: Vec<JobCode>,
    draining: bool,
    deaf: bool,
    lingers: bool,
    held: Vec<AttemptId>,
    results: Vec<AttemptResult>,
}

impl Stage {
    fn new(config: Config) -> Self {
        let (workers, phases) = Default::default();
        let scheduler = Scheduler::new(config.clone(), 1);
        Self {
            config,
            scheduler,
            epoch: 1,
            facts: Vec::new(),
            now: BEGINNING,
            workers,
            phases,
            answered: 0,
            heard: BTreeMap::new(),
            round: 0,
            told: Vec::new(),
        }
    }

    fn play(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let given = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str| given(name).map(|value| value.parse::<u64>().unwrap());
        let job = || JobId::parse(words[1]).unwrap();
        match words[0] {
            "submit" => {
                let limits = Limits {
                    attempts_max: number("attempts").unwrap_or(4) as u32,
                    quarantine_share_max: given("share").map_or(0.5, |share| share.parse().unwrap()),
                    ..Limits::default()
                };
                let arithmetics = given("wish").map_or(Vec::new(), list);
                let kernels = KernelWish { arithmetics, why: "it wishes so".into() };
                let code = code(given("job").unwrap_or(CODE));
                self.tell(Event::Submit { job: job(), code, limits, kernels });
            }
            "list" if words[2] == "fails" => {
                self.tell(Event::PrepareFailed { job: job(), failure: Failure::refused("there is no such folder") });
            }
            "list" if words[2] == "wrong" => {
                self.tell(Event::Prepared {
                    job: job(),
                    graph: graphs::plain(3),
                    split_objects: vec![SPLIT_OBJECTS; 2].into(),
                });
            }
            "list" => {
                let splits = words[2].parse().unwrap();
                let graph =
                    if words.contains(&"features") { graphs::features(splits, 4, 4) } else { graphs::plain(splits) };
                self.tell(Event::Prepared {
                    job: job(),
                    graph,
                    split_objects: vec![SPLIT_OBJECTS; splits as usize].into(),
                });
            }
            "poll" => {
                let worker = self.workers.entry(words[1].to_owned()).or_insert_with(|| Worker {
                    families: list("avx"),
                    jobs: vec![code(CODE)],
                    ..Worker::default()
                });
                if let Some((slots, ahead)) = words.get(2).and_then(|room| room.split_once('+')) {
                    worker.slots = slots.parse().unwrap();
                    worker.capacity = worker.slots + ahead.parse::<u32>().unwrap();
                } else if let Some(slots) = words.get(2).and_then(|room| room.parse().ok()) {
                    (worker.slots, worker.capacity) = (slots, slots);
                }
                if let Some(family) = given("family") {
                    worker.families = list(family);
                }
                if let Some(jobs) = given("jobs") {
                    worker.jobs = jobs.split(',').map(code).collect();
                }
                worker.draining |= words.contains(&"draining");
                worker.lingers = words.contains(&"lingers");
                worker.deaf = words.contains(&"deaf");
                worker.seq += u64::from(!words.contains(&"old"));
                self.poll(words[1]);
            }
            "done" | "fail" => {
                let attempt = attempt(words[2]);
                let outcome = match words[0] {
                    "done" if words.contains(&"probed") => Ok(TaskOutput { probed: true, ..TaskOutput::default() }),
                    "done" => Ok(self.output(&attempt, &number)),
                    _ => {
                        let blames = given("blames").map(|key| Box::new(verdict(key, QuarantineSource::Environment)));
                        let lost = given("lost").map_or(Vec::new(), list);
                        Err(Failure { blames, lost, ..Failure::new(class(words[3]), "it broke") })
                    }
                };
                let worker = self.workers.get_mut(words[1]).expect("polled before");
                worker.held.retain(|held| *held != attempt);
                let kernel_family = given("family").unwrap_or(&worker.families[0]).to_owned();
                worker.results.push(AttemptResult { attempt, kernel_family, outcome, asked: Default::default() });
                worker.seq += 1;
                self.poll(words[1]);
            }
            "found" => {
                let attempts: Vec<_> = words[1].split(',').map(|task| attempt(&format!("{task}#0"))).collect();
                let output = |of: &AttemptId| (of.task.stage, of.task.index, Arc::new(self.output(of, &number)));
                let outputs = attempts.iter().map(output).collect();
                let job = attempts[0].task.job.clone();
                self.tell(Event::Found { job, family: given("family").unwrap_or("avx").into(), outputs });
            }
            // Its end was told to somebody else.
            "drops" => {
                let attempt = attempt(words[2]);
                let worker = self.workers.get_mut(words[1]).expect("polled before");
                worker.held.retain(|held| *held != attempt);
                worker.seq += 1;
            }
            "wait" => {
                let until = self.now + seconds(words[1]);
                while let Some(at) = self.scheduler.next_deadline().filter(|at| *at <= until) {
                    self.now = self.now.max(at);
                    self.tell(Event::Tick);
                    assert!(self.scheduler.next_deadline().is_none_or(|next| next > at), "the tick did nothing");
                }
                self.now = until;
            }
            "sleep" => {
                self.now += seconds(words[1]);
                self.tell(Event::Tick);
            }
            "restart" => {
                self.epoch += 1;
                self.scheduler = Scheduler::recover(self.config.clone(), self.epoch, &self.facts).unwrap();
                let step = self.scheduler.resume(self.now);
                self.decided(step);
            }
            "back" => self.now -= seconds(words[1]),
            "cancel" => self.tell(Event::Cancel { job: job() }),
            "broken" => self.tell(Event::Broken { job: job(), failure: Failure::permanent("it can't be") }),
            "committed" | "uncommitted" => {
                let round = number("round").map_or(self.round, |round| round as u32);
                let lost = given("lost").map_or(Vec::new(), list);
                let failure = Failure { lost, ..Failure::permanent("the table has changed") };
                let outcome = if words[0] == "committed" { Ok(()) } else { Err(failure) };
                self.tell(Event::CommitEnded { job: job(), round, outcome });
            }
            "shorten" => self.facts = self.scheduler.facts(),
            "mark" => self.told.push(words[1..].join(" ")),
            "show" => self.show(&job()),
            "sums" => self.sums(&job()),
            "takers" => {
                let load = self.scheduler.loads().find(|load| *load.id == job()).expect("it has not ended");
                let takers = self.scheduler.workers().filter(|worker| load.takes(worker));
                let takers = takers.map(|worker| worker.id.0.clone()).collect::<Vec<_>>().join(" ");
                self.told.push(format!("{} is for {takers}", job()));
            }
            "books" => {
                let load = self.scheduler.loads().find(|load| *load.id == job()).expect("it has not ended");
                self.told.push(format!("{}'s books are {}", job(), if load.books_open { "open" } else { "closed" }));
            }
            "ask" => {
                let answer = self.scheduler.answer(&WorkerId(words[1].into()), &self.workers[words[1]].held);
                self.told.push(format!("{} is known: {}", words[1], answer.known));
            }
            other => panic!("`{other}` is no word of this language"),
        }
    }

    fn poll(&mut self, name: &str) {
        let worker = self.workers[name].clone();
        let (answered, expects) = (self.answered, !worker.results.is_empty() || worker.draining);
        let news = worker.seq > self.heard.get(name).copied().unwrap_or(0);
        self.heard.insert(name.to_owned(), worker.seq);
        self.tell(Event::Poll(Poll {
            worker: WorkerId(name.into()),
            seq: worker.seq,
            slots: worker.slots,
            capacity: worker.capacity,
            families: worker.families,
            jobs: worker.jobs.into_iter().collect(),
            draining: worker.draining,
            held: worker.held,
            lingers: worker.lingers,
            results: worker.results,
        }));
        // Whoever has told something may forget it now, and whoever leaves is not kept.
        assert!(self.answered > answered || !expects || !news, "{name} was kept waiting");
    }

    fn tell(&mut self, event: Event) {
        let step = self.scheduler.handle(self.now, event);
        self.decided(step);
    }

    fn decided(&mut self, step: Step) {
        self.facts.extend(step.facts);
        if step.doubted {
            self.told.push("it is doubted".to_owned());
        }
        let mut phases = BTreeMap::new();
        for view in self.scheduler.jobs() {
            if self.phases.get(view.id) != Some(&view.phase) {
                let why = view.failure.map_or(String::new(), |failure| format!(", {:?}: {failure}", failure.class));
                self.told.push(format!("{} is {:?}{why}", view.id, view.phase).to_lowercase());
            }
            phases.insert(view.id.clone(), view.phase);
        }
        for forgotten in self.phases.keys().filter(|job| !phases.contains_key(job)) {
            self.told.push(format!("{forgotten} is forgotten"));
        }
        self.phases = phases;
        for command in step.commands {
            match command {
                Command::Answer { worker } => self.answer(&worker),
                Command::Look { .. } => {} // there is nothing to be found here
                Command::Prepare { job } => self.told.push(format!("prepare {job}")),
                Command::Commit { job, round } => {
                    self.round = round;
                    self.told.push(format!("commit {job}"));
                }
                Command::CleanUp { job } => self.told.push(format!("clean up {job}")),
            }
        }
    }

    fn answer(&mut self, id: &WorkerId) {
        self.answered += 1;
        let worker = self.workers.get_mut(&id.0).expect("answers go to workers that polled");
        if worker.deaf {
            return;
        }
        let answer = self.scheduler.answer(id, &worker.held);
        worker.results.clear();
        worker.held.retain(|held| !answer.stop.contains(held));
        worker.held.extend(answer.orders.clone());
        self.told.extend(answer.stop.iter().map(|attempt| format!("{id} stops {}", short(attempt))));
        let how = |attempt: &AttemptId| match (
            self.scheduler.probe(attempt),
            self.scheduler.condemned(&attempt.task).len(),
        ) {
            (Some(part), _) => format!(", a probe of {}..{}", part.start, part.end),
            (None, 0) => String::new(),
            (None, condemned) => format!(" without {condemned}"),
        };
        let orders = answer.orders.iter().map(|attempt| format!("{id} runs {}{}", short(attempt), how(attempt)));
        self.told.extend(orders);
    }

    fn output(&self, attempt: &AttemptId, number: &dyn Fn(&str) -> Option<u64>) -> TaskOutput {
        let task = &attempt.task;
        let graph = self.scheduler.job(&task.job).and_then(|view| view.graph.cloned());
        let node =
            graph.and_then(|graph| graph.stages.get(task.stage as usize)?.tasks.get(task.index as usize).cloned());
        let records = number("records").unwrap_or_else(|| match node {
            Some(node) if node.kind == TaskKind::MapKept => {
                let id = |&(stage, index): &(u32, u32)| TaskId { job: task.job.clone(), stage, index };
                node.reads.iter().filter_map(|read| self.scheduler.output(&id(read))).map(|o| o.rows).sum()
            }
            Some(_) | None => u64::from(SPLIT_OBJECTS),
        });
        let refused = number("quarantined").unwrap_or(0) + number("changed").unwrap_or(0);
        let source = match number("changed") {
            Some(_) => QuarantineSource::Environment,
            None => QuarantineSource::Content,
        };
        let quarantined = |n| verdict(&format!("{}-{n}.jpg", task.index), source);
        let rows = number("rows").unwrap_or_else(|| records.saturating_sub(refused));
        TaskOutput {
            records,
            rows,
            kept: Some(FileRef { key: short(attempt), bytes: rows, crc32: 0 }),
            quarantined: (0..refused).map(quarantined).collect(),
            ..TaskOutput::default()
        }
    }

    /// What each stage has come to, and when, in seconds since the story began.
    fn sums(&mut self, job: &JobId) {
        let view = self.scheduler.job(job).expect("submitted before");
        let seconds =
            |at: Option<u64>| at.map_or("-".to_owned(), |at| format!("{} s", (at - BEGINNING) as f64 / 1000.0));
        for stage in &view.stages {
            let of = stage.records_total.map_or("?".to_owned(), |total| total.to_string());
            let (from, to) = (seconds(stage.started_at), seconds(stage.ended_at));
            let (name, records, rows) = (&stage.name, stage.records, stage.rows);
            self.told.push(format!("{job}: {name} {records} of {of} records, {rows} rows, {from} to {to}"));
        }
    }

    fn show(&mut self, job: &JobId) {
        let view = self.scheduler.job(job).expect("submitted before");
        let stages = view.stages.iter().map(|s| format!(" {} {}+{}/{}", s.name, s.done, s.running, s.total));
        let stages: String = stages.collect();
        let books = view.books;
        let waits = match view.lack {
            Some(Lack::Code(code)) => format!(", waits for {code}"),
            Some(Lack::Family(family)) => format!(", waits for {family}"),
            Some(Lack::Kernels) => ", waits for kernels".to_owned(),
            None => String::new(),
        };
        let away = match view.workers_turned_away {
            0 => String::new(),
            workers => format!(", turns {workers} away"),
        };
        self.told.push(format!(
            "{job}:{stages}, {} = {} + {}, family {}{waits}{away}",
            books.listed,
            books.embedded,
            books.quarantined,
            view.family.unwrap_or("open")
        ));
    }
}

fn verdict(key: &str, source: QuarantineSource) -> Quarantined {
    Quarantined {
        key: key.into(),
        etag: "e".into(),
        bytes: 1,
        stage: "embed".into(),
        class: "undecodable".into(),
        message: "no marker".into(),
        source,
        attempts: 1,
    }
}

fn seconds(text: &str) -> u64 {
    (text.strip_suffix('s').unwrap().parse::<f64>().unwrap() * 1000.0) as u64
}

fn class(word: &str) -> FailureClass {
    match word {
        "application" => FailureClass::Application,
        "permanent" => FailureClass::Permanent,
        "refused" => FailureClass::Refused,
        "transient" => FailureClass::Transient,
        "memory" => FailureClass::OutOfMemory,
        "lost" => FailureClass::WorkerLost,
        other => panic!("`{other}` is no class"),
    }
}

/// Without the epoch if it is the first.
fn short(attempt: &AttemptId) -> String {
    let AttemptId { task, epoch, number } = attempt;
    if *epoch == 1 { format!("{task}#{number}") } else { attempt.to_string() }
}

/// `a/0/1#2`, or `a/0/1#3.2` for epoch 3.
fn attempt(text: &str) -> AttemptId {
    let (task, number) = text.split_once('#').unwrap();
    let parts: Vec<_> = task.split('/').collect();
    let [job, stage, index] = parts[..] else { panic!("`{text}` is no attempt") };
    let task = TaskId { job: JobId::parse(job).unwrap(), stage: stage.parse().unwrap(), index: index.parse().unwrap() };
    let (epoch, number) = number.split_once('.').unwrap_or(("1", number));
    AttemptId { task, epoch: epoch.parse().unwrap(), number: number.parse().unwrap() }
}

fn code(word: &str) -> JobCode {
    let (name, version) = word.split_once('.').unwrap();
    JobCode::new(name, version.parse().unwrap())
}

fn list(words: &str) -> Vec<String> {
    words.split(',').map(str::to_owned).collect()
}
