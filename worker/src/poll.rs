//! The loop of a worker: one poll at a time, given up and asked anew whenever there is something to say.

use crate::attempts::{Attempts, Room};
use crate::gauge::Gauge;
use crate::heap::bound_heaps;
use crate::memory::Memory;
use crate::{Coordinators, Leave, Settings, decode_budget_bytes, peak_rss_bytes, reason};
use mr_core::{AttemptResult, FRAMEWORK_VERSION, Failure};
use mr_mapreduce::{Host, HostSettings, Registry};
use mr_proto::v1::workers_client::WorkersClient;
use mr_proto::{MESSAGE_BYTES_MAX, convert, v1};
use mr_storage::{BackOff, chance, pace};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Between polls that fail. A fleet that lost its coordinator comes back spread out.
const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(4));
/// Until the coordinator says how long a lease is.
pub const LEASE: Duration = Duration::from_secs(15);
/// For how many leases' time a worker that hears nothing goes on with what it has: a coordinator that comes back, or
/// another that takes over, takes it up again. After that its tasks have long been given to others.
pub const CUT_OFF_LEASES: u32 = 4;
/// How often the log says again that the coordinator is not to be reached.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// What stays unused for so long is let go: a worker may be idle for days.
const REST_AFTER: Duration = Duration::from_secs(60);
const HANDED_BACK: &str = "it was handed back, as its worker leaves";
/// How long a drained worker tries to be heard before it leaves anyway: its leases then expire by themselves.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why [`run`] came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was told to, and what it had was done or handed back.
    Drained,
    /// It was told to, and the coordinator could not be reached to take the leases back.
    Unheard,
    /// No coordinator has been heard for as long as it may be alone.
    Alone,
    /// The coordinator takes no such worker, and says why: asking again would change nothing.
    Refused(String),
}

/// Works until it is told to leave, ends what runs if there is time, and hands the rest back; or until it is refused.
pub async fn run(
    settings: Settings,
    registry: Registry,
    coordinators: impl Into<Coordinators>,
    leave: impl Into<Leave>,
) -> Stopped {
    bound_heaps(settings.slots);
    let decode_budget = settings.decode_budget_bytes.unwrap_or_else(|| decode_budget_bytes(settings.memory_bytes));
    let host = Arc::new(Host::new(
        registry,
        HostSettings {
            slots: settings.slots,
            scratch: settings.scratch.clone(),
            decode_budget_bytes: decode_budget,
            work_outlives: settings.work_outlives,
        },
    ));
    let (name, families) = (name(&settings), host.registry().kernel_families().to_vec());
    let jobs = host.registry().codes().map(convert::job_code_to).collect();
    let memory = Memory::new(Gauge::new(settings.memory_bytes));
    let worker = Worker {
        name,
        families,
        jobs,
        settings,
        coordinators: coordinators.into(),
        seq: 0,
        contact: Contact::default(),
        memory,
        said_short: None,
        host: host.clone(),
    };
    let tally = worker.settings.tally.clone();
    worker.run(Attempts::new(host, tally), leave.into()).await
}

struct Worker {
    name: String,
    families: Vec<String>,
    jobs: Vec<v1::JobCode>,
    settings: Settings,
    host: Arc<Host>,
    coordinators: Coordinators,
    seq: u64,
    contact: Contact,
    memory: Memory,
    /// When the log last said that nothing could be done about it.
    said_short: Option<Instant>,
}

impl Worker {
    /// A coordinator that is away for a while changes nothing for attempts that run: what they end with is told when it is
    /// back, and it is the coordinator that decides whether it is still of use. One that stays away ends them.
    async fn run(mut self, mut attempts: Attempts, leave: Leave) -> Stopped {
        let mut failed = 0;
        let mut lease = LEASE;
        let mut sent_on: Option<Instant> = None;
        // Coordinators that want none of this worker. One that was replaced without knowing may be of another version than the
        // one that leads.
        let mut refused = BTreeSet::new();
        let mut leaves = false;
        loop {
            if let (false, Some(by)) = (leaves, leave.by()) {
                leaves = true;
                keep_running(&mut attempts, by);
            }
            if leaves && attempts.is_done() {
                break;
            }
            let (poll, carried) = self.poll(&attempts, leaves);
            let (at, mut client) = self.client();
            let answer = tokio::select! {
                biased;
                () = leave.over() => break,
                () = leave.told(), if !leaves => continue,
                // Something to say: the poll is dropped, and what its answer might have brought comes with the next.
                () = attempts.ended() => continue,
                story = self.memory.is_short(), if self.watches(&attempts) => {
                    self.make_room(&mut attempts, &story);
                    continue;
                }
                answer = client.poll(poll) => answer.map(tonic::Response::into_inner),
                // The coordinator answers well within this time; an answer that takes longer is lost.
                () = tokio::time::sleep(lease / 2) => Err(Status::deadline_exceeded("there was no answer")),
            };
            match answer {
                Ok(answer) => {
                    self.contact.heard();
                    failed = 0;
                    refused.clear();
                    lease = Duration::from_millis(answer.lease_ms.max(1000));
                    self.settings.tally.heard(lease);
                    attempts.heard(&carried);
                    // It may have been replaced without knowing. If not, the next one stands by and sends us back.
                    if answer.in_doubt && sent_on.is_none_or(|before| before.elapsed() > lease) {
                        sent_on = Some(Instant::now());
                        self.coordinators.turn(at);
                    }
                    if answer.leave && !leaves {
                        tracing::info!("the coordinator has it leave");
                        leave.within(self.settings.drain);
                    }
                    take(answer, &mut attempts);
                    self.host.rest(REST_AFTER);
                    // Whoever leaves is answered at once, for its last word to be heard. It has something to say when more has ended.
                    if leaves && attempts.only_runs() {
                        tokio::select! {
                            () = leave.over() => break,
                            () = attempts.ended() => {}
                            story = self.memory.is_short(), if self.watches(&attempts) => self.make_room(&mut attempts, &story),
                            () = tokio::time::sleep(lease / 4) => {}
                        }
                    }
                }
                Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::PermissionDenied) => {
                    refused.insert(at);
                    if refused.len() >= self.coordinators.count() {
                        attempts.stop_all();
                        return Stopped::Refused(status.message().to_owned());
                    }
                    self.coordinators.turn(at);
                }
                Err(status) => {
                    self.settings.tally.poll_failed();
                    self.contact.failed(&self.coordinators.name(at), &status);
                    self.coordinators.turn(at);
                    if self.contact.silence() > lease * CUT_OFF_LEASES && attempts.stop_all() {
                        tracing::warn!("nothing was heard for {CUT_OFF_LEASES} leases: what was running is given up");
                    }
                    if self.settings.alone_max.is_some_and(|most| self.contact.silence() > most) {
                        return Stopped::Alone;
                    }
                    failed += 1;
                    tokio::select! {
                        () = leave.over() => break,
                        () = leave.told(), if !leaves => {}
                        story = self.memory.is_short(), if self.watches(&attempts) => self.make_room(&mut attempts, &story),
                        () = tokio::time::sleep(pause(failed, lease, chance())) => {}
                    }
                }
            }
        }
        self.drain(attempts).await
    }

    /// Whether room could be made if memory were short.
    fn watches(&self, attempts: &Attempts) -> bool {
        !attempts.is_empty() && !attempts.makes_room()
    }

    fn make_room(&mut self, attempts: &mut Attempts, story: &str) {
        let room = attempts.make_room();
        let left = match room {
            Room::Waiting { .. } | Room::None => None,
            Room::Begun { left } => Some(u32::try_from(left).unwrap_or(u32::MAX)),
        };
        self.memory.narrow(self.settings.slots, left, Instant::now().into());
        match room {
            Room::Waiting { count } => tracing::warn!("memory is short: {story}; {count} tasks that wait are given up"),
            Room::Begun { left } => tracing::warn!("memory is short: {story}; one task is given up, {left} go on"),
            Room::None if self.said_short.is_none_or(|said| said.elapsed() > SAY_AGAIN) => {
                self.said_short = Some(Instant::now());
                tracing::warn!("memory is short: {story}; the only task goes on");
            }
            Room::None => {}
        }
    }

    async fn drain(mut self, mut attempts: Attempts) -> Stopped {
        attempts.hand_back(HANDED_BACK);
        let farewell = async {
            loop {
                let (poll, carried) = self.poll(&attempts, true);
                let (at, mut client) = self.client();
                match client.poll(poll).await {
                    Ok(_) => {
                        attempts.heard(&carried);
                        if attempts.results().is_empty() {
                            return;
                        }
                    }
                    Err(_) => {
                        self.coordinators.turn(at);
                        tokio::time::sleep(BACK_OFF.after(1, chance())).await;
                    }
                }
            }
        };
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(()) => Stopped::Drained,
            Err(_) => Stopped::Unheard,
        }
    }

    /// Of the coordinator that is to be asked next.
    fn client(&self) -> (usize, WorkersClient<Channel>) {
        let (at, channel) = self.coordinators.pick();
        let client = WorkersClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        (at, client)
    }

    fn poll(&mut self, attempts: &Attempts, draining: bool) -> (v1::PollRequest, Vec<AttemptResult>) {
        self.seq += 1;
        let results = attempts.results();
        let mut held = attempts.held();
        if draining {
            // What a worker that leaves does not hold is given to others, though it is told with the next message.
            held.extend(attempts.told_later(&results));
        }
        let (slots, ahead) = self.memory.room(self.settings.slots, self.settings.ahead, Instant::now().into());
        self.settings.tally.polls(slots, held.len());
        let poll = v1::PollRequest {
            worker: self.name.clone(),
            seq: self.seq,
            slots,
            capacity: slots + ahead,
            kernel_families: self.families.clone(),
            jobs: self.jobs.clone(),
            framework_version: FRAMEWORK_VERSION.to_owned(),
            instance: self.settings.instance.clone().unwrap_or_default(),
            draining,
            lingers: attempts.is_empty() && self.host.at_work() > 0,
            held: held.into_iter().map(convert::progress_to).collect(),
            results: results.iter().cloned().map(convert::result_to).collect(),
            peak_rss_bytes: peak_rss_bytes(),
            process: pace::process().to_owned(),
            stores: pace::usage().into_iter().map(convert::store_usage_to).collect(),
        };
        (poll, results)
    }
}

/// A coordinator that hears us and can't answer, as its store is out of reach, must not take us for lost: what a lost
/// worker had counts against it in the end. So polls come several times a lease even so.
fn pause(failed: u32, lease: Duration, chance: f64) -> Duration {
    BACK_OFF.after(failed, chance).min(lease / 4)
}

/// What waits is handed back, and what runs goes on until then.
fn keep_running(attempts: &mut Attempts, by: tokio::time::Instant) {
    let running = attempts.keep_running(HANDED_BACK);
    let left = by.saturating_duration_since(tokio::time::Instant::now());
    if running > 0 && !left.is_zero() {
        let left = left.as_secs_f64().ceil();
        tracing::info!(running, "it leaves: what runs has {left} s to end, and what waits is handed back");
    }
}

fn take(answer: v1::PollResponse, attempts: &mut Attempts) {
    let shares = answer.stores.into_iter().map(convert::store_share_from).collect::<Result<Vec<_>, _>>();
    match shares {
        Ok(shares) => pace::obey(&shares),
        Err(error) => tracing::error!("what stores may be asked: {error}"),
    }
    for attempt in answer.stop {
        match convert::attempt_from(attempt) {
            Ok(attempt) => attempts.stop(&attempt),
            Err(error) => tracing::error!("an attempt to stop: {error}"),
        }
    }
    for order in answer.orders {
        let attempt = order.attempt.clone();
        match (convert::order_from(order), attempt.map(convert::attempt_from)) {
            (Ok(order), _) => attempts.start(order),
            (Err(error), Some(Ok(attempt))) => {
                let story = format!("the order can't be read, use the same binaries: {error}");
                attempts.refuse(attempt, Failure::permanent(story));
            }
            (Err(error), _) => tracing::error!("an order that does not even say for what: {error}"),
        }
    }
}

/// What the log says of the way to the coordinator: that it is lost, now and then that it still is, and that it is back.
#[derive(Default)]
struct Contact {
    lost: Option<Lost>,
}

struct Lost {
    since: Instant,
    said: Instant,
}

impl Contact {
    fn heard(&mut self) {
        if let Some(lost) = self.lost.take() {
            tracing::info!("the coordinator is back after {:.1} s", lost.since.elapsed().as_secs_f64());
        }
    }

    /// For how long nothing has been heard.
    fn silence(&self) -> Duration {
        self.lost.as_ref().map_or(Duration::ZERO, |lost| lost.since.elapsed())
    }

    fn failed(&mut self, name: &str, status: &Status) {
        let now = Instant::now();
        let lost = self.lost.get_or_insert(Lost { since: now, said: now });
        if lost.since == now || lost.said.elapsed() > SAY_AGAIN {
            lost.said = now;
            tracing::warn!("{name} can't be reached, trying again: {}", reason(status));
        }
    }
}

/// Unlike every other worker's, those of the same host included: two processes must never share leases.
fn name(settings: &Settings) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let salt = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), now.as_nanos());
    format!("{}-{}-{:08x}", settings.host, std::process::id(), salt as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_that_are_not_answered_are_made_well_within_a_lease() {
        let lease = Duration::from_secs(2);
        for failed in 1..20 {
            // A poll is waited for half a lease.
            assert!(lease / 2 + pause(failed, lease, 1.0) < lease, "{failed}");
        }
        assert_eq!(pause(1, lease, 1.0), Duration::from_millis(100));
        assert_eq!(pause(20, Duration::from_secs(60), 1.0), Duration::from_secs(4));
    }
}
