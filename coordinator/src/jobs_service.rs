//! The submitters' side of the door.

use crate::ask::ask;
use crate::blobs;
use crate::lead::Standing;
use crate::shell::{Message, NotTaken, OPEN_JOBS_MAX, Retried};
use crate::workers_service::{check_leads, check_version, in_doubt, stopping, unless_in_doubt};
use futures::stream::{self, Stream, StreamExt};
use mr_core::{JobId, JobStatus};
use mr_proto::v1::jobs_server::Jobs;
use mr_proto::v1::put_blob_request::Part;
use mr_proto::{WireError, bounds, convert, v1};
use mr_storage::DynStore;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status, Streaming};

/// How often those who watch hear of progress.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// Who watches for longer comes again, and shows again who it is.
const WATCH_MAX: Duration = Duration::from_secs(3600);
/// What bringing a blob may take.
const UPLOAD_MAX: Duration = Duration::from_secs(30 * 60);
/// What blobs that are brought at the same time may hold together, in MiB: as much as the largest.
pub const UPLOADS_MIB_MAX: usize = (blobs::BLOB_BYTES_MAX >> 20) as usize;

pub struct JobsService {
    pub shell: mpsc::Sender<Message>,
    pub state: DynStore,
    pub news: watch::Receiver<u64>,
    pub standing: watch::Receiver<Standing>,
    /// A permit for each MiB.
    pub uploads: Arc<Semaphore>,
}

impl JobsService {
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Status> {
        self.unless_in_doubt(async { ask(&self.shell, message).await.ok_or_else(stopping) }).await
    }

    /// Nothing is told before it is in the journal, so without its store a coordinator would keep its callers for as long
    /// as that lasts. They may ask elsewhere, and again without harm.
    async fn unless_in_doubt<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        unless_in_doubt(&self.standing, work).await
    }
}

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn missing_blobs(
        &self,
        request: Request<v1::MissingBlobsRequest>,
    ) -> Result<Response<v1::MissingBlobsResponse>, Status> {
        check_leads(&self.standing)?;
        let asked = request.into_inner().blobs;
        if asked.len() > blobs::ASKED_MAX {
            return Err(Status::invalid_argument(format!("no job has more than {} blobs", blobs::ASKED_MAX)));
        }
        let mut sha256 = Vec::new();
        for blob in asked {
            let blob = convert::blob_from(blob).map_err(invalid)?;
            blobs::check(&blob)?;
            // Who asks is not to wait for others' uploads: with no room now, its length has to do.
            let room = self.uploads.try_acquire_many(blobs::room(&blob));
            if self.unless_in_doubt(blobs::missing(&self.state, &blob, room.is_ok())).await? {
                sha256.push(blob.sha256);
            }
        }
        Ok(Response::new(v1::MissingBlobsResponse { sha256 }))
    }

    async fn put_blob(
        &self,
        request: Request<Streaming<v1::PutBlobRequest>>,
    ) -> Result<Response<v1::PutBlobResponse>, Status> {
        check_leads(&self.standing)?;
        let mut parts = request.into_inner();
        let Some(Part::Blob(blob)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(Status::invalid_argument("a blob's first message says which one it is"));
        };
        let blob = convert::blob_from(blob).map_err(invalid)?;
        blobs::check(&blob)?;
        // Each is held as a whole.
        let _room = self.uploads.acquire_many(blobs::room(&blob)).await.map_err(|_| stopping())?;
        let mut bytes = Vec::with_capacity(blob.bytes as usize);
        let until = Instant::now() + UPLOAD_MAX;
        let late = |_| Status::deadline_exceeded("the rest of the blob did not come in time");
        while let Some(message) = timeout_at(until, parts.message()).await.map_err(late)?? {
            let Some(Part::Chunk(chunk)) = message.part else {
                return Err(Status::invalid_argument("after its first message a blob is bytes"));
            };
            if bytes.len() as u64 + chunk.len() as u64 > blob.bytes {
                return Err(Status::invalid_argument("the blob is longer than it was said to be"));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.unless_in_doubt(blobs::store(&self.state, &blob, bytes.into())).await?;
        Ok(Response::new(v1::PutBlobResponse {}))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        check_leads(&self.standing)?;
        let v1::SubmitRequest { job_id, plan, prior_us, renews_quarantined, framework_version } = request.into_inner();
        check_version("submitter", &framework_version)?;
        let id = convert::job_id(&job_id).map_err(invalid)?;
        let plan = plan.ok_or_else(|| Status::invalid_argument("the message lacks `plan`"))?;
        let plan = Box::new(bounds::submitted_plan(plan).map_err(invalid)?);
        plan.broadcasts.iter().map(|broadcast| &broadcast.blob).chain(&plan.keys).try_for_each(blobs::check)?;
        // Without what the list names, the job would work on all that is there.
        if plan.spec.input_list.is_some() != plan.keys.is_some() {
            return Err(Status::invalid_argument(
                "a job with `input_list` has what that names as `keys`, and no other",
            ));
        }
        self.ask(|reply| Message::Submit { id, plan, prior_ms: prior_us / 1000, renews_quarantined, reply })
            .await?
            .map_err(|why| not_taken(&job_id, why))?;
        Ok(Response::new(v1::SubmitResponse {}))
    }

    async fn retry(&self, request: Request<v1::RetryRequest>) -> Result<Response<v1::RetryResponse>, Status> {
        check_leads(&self.standing)?;
        let v1::RetryRequest { job_id, new_job_id, renews_quarantined } = request.into_inner();
        let (old, new) = (convert::job_id(&job_id).map_err(invalid)?, convert::job_id(&new_job_id).map_err(invalid)?);
        let retried = self.ask(|reply| Message::Retry { old: old.clone(), new, renews_quarantined, reply }).await?;
        match retried {
            Retried::Submitted => Ok(Response::new(v1::RetryResponse {})),
            Retried::Unknown => Err(unknown(&old)),
            Retried::NotYet => {
                Err(Status::failed_precondition(format!("job `{old}` has not ended: watch it, or cancel it first")))
            }
            Retried::Committed => Err(Status::failed_precondition(format!(
                "job `{old}` has committed: only what it quarantined can be tried again, with --quarantined"
            ))),
            Retried::NotTaken(why) => Err(not_taken(&new_job_id, why)),
        }
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        check_leads(&self.standing)?;
        let jobs = self.ask(|reply| Message::List { reply }).await?;
        Ok(Response::new(bounds::jobs_to(jobs)))
    }

    async fn terms(&self, _: Request<v1::TermsRequest>) -> Result<Response<v1::TermsResponse>, Status> {
        check_leads(&self.standing)?;
        let terms = self.ask(|reply| Message::Terms { reply }).await?;
        Ok(Response::new(convert::terms_to(terms)))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::JobStatus>, Status> {
        check_leads(&self.standing)?;
        let id = convert::job_id(&request.into_inner().job_id).map_err(invalid)?;
        let status = self.unless_in_doubt(status(&self.shell, &id)).await?;
        Ok(Response::new(convert::status_to(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::JobStatus, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        check_leads(&self.standing)?;
        let id = convert::job_id(&request.into_inner().job_id).map_err(invalid)?;
        let first = self.unless_in_doubt(status(&self.shell, &id)).await?;
        let states = states(self.shell.clone(), (self.news.clone(), self.standing.clone()), id, first);
        Ok(Response::new(Box::pin(states.take_until(tokio::time::sleep(WATCH_MAX)))))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        check_leads(&self.standing)?;
        let id = convert::job_id(&request.into_inner().job_id).map_err(invalid)?;
        let taken = self.ask(|reply| Message::Cancel { id: id.clone(), reply }).await?;
        let taken = taken.ok_or_else(|| unknown(&id))?;
        Ok(Response::new(v1::CancelResponse { taken }))
    }
}

async fn status(shell: &mpsc::Sender<Message>, id: &JobId) -> Result<JobStatus, Status> {
    let status = ask(shell, |reply| Message::Status { id: id.clone(), reply }).await.ok_or_else(stopping)?;
    status.ok_or_else(|| unknown(id))
}

/// The job's states from `first` on, whenever they may have changed, until it has ended; or until another coordinator may
/// know more.
fn states(
    shell: mpsc::Sender<Message>,
    (news, standing): (watch::Receiver<u64>, watch::Receiver<Standing>),
    id: JobId,
    first: JobStatus,
) -> impl Stream<Item = Result<v1::JobStatus, Status>> + Send {
    stream::unfold(Some((news, Some(first))), move |next| {
        let (shell, id, standing) = (shell.clone(), id.clone(), standing.clone());
        async move {
            let (mut news, first) = next?;
            let state = match first {
                Some(first) => Ok(first),
                None => {
                    let mut doubt = standing.clone();
                    let doubted = tokio::select! {
                        changed = news.changed() => {
                            changed.ok()?;
                            false
                        }
                        () = tokio::time::sleep(WATCH_EVERY) => false,
                        doubt = doubt.wait_for(|standing| *standing == Standing::InDoubt) => doubt.is_ok(),
                    };
                    // Then somebody else is to be asked, who may know more.
                    if doubted { Err(in_doubt()) } else { unless_in_doubt(&standing, status(&shell, &id)).await }
                }
            };
            let ended = state.as_ref().map_or(true, |status| status.phase.ended());
            Some((state.map(convert::status_to), (!ended).then_some((news, None))))
        }
    })
}

fn not_taken(id: &str, why: NotTaken) -> Status {
    match why {
        NotTaken::OtherJob => Status::already_exists(format!("`{id}` is the id of another job")),
        NotTaken::Crowded => Status::failed_precondition(format!(
            "{OPEN_JOBS_MAX} jobs have not ended, and there may be no more: wait for some, or cancel them"
        )),
    }
}

fn invalid(error: WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unknown(id: &JobId) -> Status {
    Status::not_found(format!("there is no job `{id}`: `mr-submit list` shows those that there are"))
}
