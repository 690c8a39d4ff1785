//! The workers' side of the door.

use crate::shell::Message;
use mr_core::WorkerId;
use mr_proto::v1::workers_server::Workers;
use mr_proto::{WireError, convert, v1};
use mr_scheduler::Poll;
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status};

/// More kernel families than any processor has.
const FAMILIES_MAX: usize = 64;

pub struct WorkersService {
    pub shell: mpsc::Sender<Message>,
    pub leads: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Workers for WorkersService {
    async fn poll(&self, request: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        check_leads(&self.leads)?;
        let message = request.into_inner();
        let peak_rss_bytes = message.peak_rss_bytes;
        let (poll, progress) = read(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (reply, answer) = oneshot::channel();
        let message = Message::Poll { poll, progress, peak_rss_bytes, reply };
        self.shell.send(message).await.map_err(|_| stopping())?;
        let answer = answer.await.map_err(|_| stopping())?;
        Ok(Response::new(v1::PollResponse {
            orders: answer.orders.into_iter().map(convert::order_to).collect(),
            stop: answer.stop.into_iter().map(convert::attempt_to).collect(),
            lease_ms: answer.lease_ms,
        }))
    }
}

fn read(message: v1::PollRequest) -> Result<(Poll, Vec<mr_core::AttemptProgress>), WireError> {
    if message.worker.is_empty() || message.worker.len() > 256 {
        return Err(WireError::OutOfRange("poll.worker"));
    }
    if message.slots == 0 || message.capacity < message.slots {
        return Err(WireError::OutOfRange("poll.slots"));
    }
    let families: BTreeSet<&String> = message.kernel_families.iter().collect();
    let distinct = families.len() == message.kernel_families.len();
    if !distinct || !(1..=FAMILIES_MAX).contains(&families.len()) || families.iter().any(|family| family.is_empty()) {
        return Err(WireError::OutOfRange("poll.kernel_families"));
    }
    let progress = message.held.into_iter().map(convert::progress_from).collect::<Result<Vec<_>, _>>()?;
    let poll = Poll {
        worker: WorkerId(message.worker),
        seq: message.seq,
        slots: message.slots,
        capacity: message.capacity,
        families: message.kernel_families,
        draining: message.draining,
        held: progress.iter().map(|progress| progress.attempt.clone()).collect(),
        results: message.results.into_iter().map(convert::result_from).collect::<Result<_, _>>()?,
    };
    Ok((poll, progress))
}

/// One that stands by has nothing to say: whoever calls asks the other one.
pub fn check_leads(leads: &watch::Receiver<bool>) -> Result<(), Status> {
    let standing = || Status::unavailable("this coordinator stands by: another one is at work");
    if *leads.borrow() { Ok(()) } else { Err(standing()) }
}

pub fn stopping() -> Status {
    Status::unavailable("the coordinator is stopping")
}
