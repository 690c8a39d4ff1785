//! The workers' side of the door.

use crate::ask::ask;
use crate::lead::Standing;
use crate::pace::Pace;
use crate::shell::Message;
use mr_core::{FRAMEWORK_VERSION, JobCode, StoreShare, StoreUsage, WorkerId};
use mr_proto::bounds::NAME_BYTES_MAX;
use mr_proto::v1::workers_server::Workers;
use mr_proto::{WireError, convert, v1};
use mr_scheduler::Poll;
use mr_storage::pace;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status};

/// More kernel families than any processor has.
const FAMILIES_MAX: usize = 64;
/// More jobs than anyone writes for one program.
const JOBS_MAX: usize = 1024;
/// More stores than a worker asks within a minute.
const STORES_MAX: usize = 256;
/// What the coordinator weighs when a store's rate is shared out: an ordinary worker. It lists, commits and cleans up
/// while workers ask little.
const OWN_SLOTS: u32 = 4;

/// More than it takes to tell what is known.
const AT_ONCE: Duration = Duration::from_millis(200);

pub struct WorkersService {
    shell: mpsc::Sender<Message>,
    standing: watch::Receiver<Standing>,
    started: Instant,
    pace: Mutex<Pace>,
}

impl WorkersService {
    pub fn new(shell: mpsc::Sender<Message>, standing: watch::Receiver<Standing>, lease_ms: u64) -> Self {
        let pace = Mutex::new(Pace::new(Duration::from_millis(lease_ms)));
        Self { shell, standing, started: Instant::now(), pace }
    }

    /// Takes in how stores answer a worker, and how they answer the coordinator itself, which keeps to its share too.
    fn hear(&self, process: &str, slots: u32, usage: &[StoreUsage]) {
        let own = pace::usage();
        let now = self.started.elapsed();
        let mut pace = self.pace();
        pace.hear(now, process, slots, usage);
        pace.hear(now, pace::process(), OWN_SLOTS, &own);
        pace::obey(&pace.shares(now, pace::process()));
    }

    fn shares(&self, process: &str) -> Vec<StoreShare> {
        self.pace().shares(self.started.elapsed(), process)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().expect("nothing panics while it is held")
    }
}

#[tonic::async_trait]
impl Workers for WorkersService {
    async fn poll(&self, request: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        check_leads(&self.standing)?;
        let mut message = request.into_inner();
        check_version("worker", &message.framework_version)?;
        let peak_rss_bytes = message.peak_rss_bytes;
        let refuse = |error: WireError| Status::invalid_argument(error.to_string());
        let (process, usage) = read_stores(&mut message).map_err(refuse)?;
        let slots = message.slots;
        let instance = read_instance(&mut message).map_err(refuse)?;
        let (poll, progress) = read(message).map_err(refuse)?;
        self.hear(&process, slots, &usage);
        let message = |reply| Message::Poll { poll, progress, peak_rss_bytes, instance, reply };
        let answer = ask(&self.shell, message).await.ok_or_else(stopping)?;
        Ok(Response::new(v1::PollResponse {
            orders: answer.orders.into_iter().map(convert::order_to).collect(),
            stop: answer.stop.into_iter().map(convert::attempt_to).collect(),
            lease_ms: answer.lease_ms,
            stores: self.shares(&process).into_iter().map(convert::store_share_to).collect(),
            leave: answer.leave,
            in_doubt: *self.standing.borrow() == Standing::InDoubt,
        }))
    }
}

fn read_stores(message: &mut v1::PollRequest) -> Result<(String, Vec<StoreUsage>), WireError> {
    let (process, stores) = (std::mem::take(&mut message.process), std::mem::take(&mut message.stores));
    if process.len() > NAME_BYTES_MAX {
        return Err(WireError::OutOfRange("poll.process"));
    }
    if stores.len() > STORES_MAX {
        return Err(WireError::OutOfRange("poll.stores"));
    }
    // Whoever does not say shares with nobody.
    let process = if process.is_empty() { message.worker.clone() } else { process };
    Ok((process, stores.into_iter().map(convert::store_usage_from).collect::<Result<_, _>>()?))
}

fn read_instance(message: &mut v1::PollRequest) -> Result<Option<String>, WireError> {
    let instance = std::mem::take(&mut message.instance);
    if instance.len() > NAME_BYTES_MAX {
        return Err(WireError::OutOfRange("poll.instance"));
    }
    Ok(Some(instance).filter(|instance| !instance.is_empty()))
}

fn read(message: v1::PollRequest) -> Result<(Poll, Vec<mr_core::AttemptProgress>), WireError> {
    if message.worker.is_empty() || message.worker.len() > NAME_BYTES_MAX {
        return Err(WireError::OutOfRange("poll.worker"));
    }
    if message.slots == 0 || message.capacity < message.slots {
        return Err(WireError::OutOfRange("poll.slots"));
    }
    let families: BTreeSet<&String> = message.kernel_families.iter().collect();
    let distinct = families.len() == message.kernel_families.len();
    let named = families.iter().all(|family| (1..=NAME_BYTES_MAX).contains(&family.len()));
    if !distinct || !named || !(1..=FAMILIES_MAX).contains(&families.len()) {
        return Err(WireError::OutOfRange("poll.kernel_families"));
    }
    let jobs = read_jobs(message.jobs)?;
    let progress = message.held.into_iter().map(convert::progress_from).collect::<Result<Vec<_>, _>>()?;
    let poll = Poll {
        worker: WorkerId(message.worker),
        seq: message.seq,
        slots: message.slots,
        capacity: message.capacity,
        families: message.kernel_families,
        jobs,
        draining: message.draining,
        lingers: message.lingers,
        held: progress.iter().map(|progress| progress.attempt.clone()).collect(),
        results: message.results.into_iter().map(convert::result_from).collect::<Result<_, _>>()?,
    };
    Ok((poll, progress))
}

fn read_jobs(jobs: Vec<v1::JobCode>) -> Result<BTreeSet<JobCode>, WireError> {
    let count = jobs.len();
    if count > JOBS_MAX {
        return Err(WireError::OutOfRange("poll.jobs"));
    }
    let jobs = jobs.into_iter().map(convert::job_code_from).collect::<Result<BTreeSet<_>, _>>()?;
    if jobs.len() == count { Ok(jobs) } else { Err(WireError::OutOfRange("poll.jobs")) }
}

/// What workers of another version make need not be the same, nor mean the same when they say it; nor do plans.
pub fn check_version(who: &str, version: &str) -> Result<(), Status> {
    if version == FRAMEWORK_VERSION {
        return Ok(());
    }
    let version = if (1..=64).contains(&version.len()) { version } else { "unknown" };
    Err(Status::failed_precondition(format!(
        "this {who} is of version {version} and the coordinator of version {FRAMEWORK_VERSION}: start both with one version"
    )))
}

/// One that stands by has nothing to say: whoever calls asks the other one.
pub fn check_leads(standing: &watch::Receiver<Standing>) -> Result<(), Status> {
    match *standing.borrow() {
        Standing::Leads | Standing::InDoubt => Ok(()),
        Standing::StandsBy => Err(Status::unavailable("this coordinator stands by: another one is at work")),
    }
}

/// In doubt only what can be told at once is told.
pub async fn unless_in_doubt<T>(
    standing: &watch::Receiver<Standing>,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let mut standing = standing.clone();
    let doubt = async {
        let doubt = standing.wait_for(|standing| *standing == Standing::InDoubt).await.map(drop);
        tokio::time::sleep(AT_ONCE).await;
        doubt
    };
    tokio::select! {
        told = work => told,
        doubt = doubt => Err(match doubt {
            Ok(()) => in_doubt(),
            Err(_) => stopping(),
        }),
    }
}

pub fn in_doubt() -> Status {
    Status::unavailable("it does not reach its state, or can't write there")
}

pub fn stopping() -> Status {
    Status::unavailable("the coordinator is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll() -> v1::PollRequest {
        v1::PollRequest {
            worker: "w1".into(),
            slots: 1,
            capacity: 1,
            kernel_families: vec!["none".into()],
            ..Default::default()
        }
    }

    fn jobs_of(jobs: Vec<v1::JobCode>) -> Result<BTreeSet<JobCode>, WireError> {
        read(v1::PollRequest { jobs, ..poll() }).map(|(poll, _)| poll.jobs)
    }

    #[test]
    fn a_worker_names_its_kernels_once_each_and_within_bounds() {
        let families = |kernel_families: &[&str]| {
            let kernel_families = kernel_families.iter().map(|family| (*family).to_owned()).collect();
            read(v1::PollRequest { kernel_families, ..poll() }).map(|(poll, _)| poll.families.len())
        };
        let (long, longer) = ("x".repeat(NAME_BYTES_MAX), "x".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(families(&["f32/avx2", &long]), Ok(2));
        let many: Vec<_> = (0..=FAMILIES_MAX).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(families(&many[1..]), Ok(FAMILIES_MAX));
        for wrong in [&[][..], &[""], &["a", "a"], &["a", &longer], &many] {
            assert_eq!(families(wrong), Err(WireError::OutOfRange("poll.kernel_families")));
        }
    }

    #[test]
    fn a_worker_announces_jobs_once_each_and_within_bounds() {
        let job = |name: &str, version| v1::JobCode { name: name.into(), version };
        let many = |count| (0..count).map(|version| job("x", version)).collect::<Vec<_>>();
        let expected = [JobCode::new("x", 1), JobCode::new("x", 2), JobCode::new("y", 1)];
        assert_eq!(jobs_of(vec![job("y", 1), job("x", 2), job("x", 1)]), Ok(expected.into()));
        assert_eq!(jobs_of(Vec::new()), Ok(BTreeSet::new()));
        assert_eq!(jobs_of(many(JOBS_MAX as u32)).map(|jobs| jobs.len()), Ok(JOBS_MAX));
        assert_eq!(jobs_of(many(JOBS_MAX as u32 + 1)), Err(WireError::OutOfRange("poll.jobs")));
        assert_eq!(jobs_of(vec![job("x", 1), job("x", 1)]), Err(WireError::OutOfRange("poll.jobs")));
        assert!(jobs_of(vec![job(&"x".repeat(256), 1)]).is_ok());
        for name in ["", &"x".repeat(257)] {
            assert_eq!(jobs_of(vec![job(name, 1)]), Err(WireError::OutOfRange("job_code.name")));
        }
    }

    #[test]
    fn a_worker_is_of_the_coordinators_version() {
        assert!(check_version("worker", FRAMEWORK_VERSION).is_ok());
        let told = |version: &str| check_version("worker", version).unwrap_err().message().to_owned();
        let other = format!("{FRAMEWORK_VERSION}.1");
        assert!(told(&other).starts_with(&format!("this worker is of version {other} and the coordinator of version")));
        for none in ["", &"9".repeat(65)] {
            assert!(told(none).starts_with("this worker is of version unknown and"));
        }
    }
}
