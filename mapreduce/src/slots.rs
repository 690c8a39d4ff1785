//! Slots: the threads that run the job's code, as many as may compute at the same time.
//!
//! They are the same few threads for as long as the process runs. An allocator keeps memory aside for every thread that
//! has ever used much of it, so on threads that come and go a slot's tens of megabytes would be held many times over.

use mr_core::Failure;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use tokio::sync::{Semaphore, oneshot};

type Work = Box<dyn FnOnce() + Send>;

pub(crate) struct Slots {
    free: Arc<Semaphore>,
    work: mpsc::Sender<Work>,
    queue: Arc<Mutex<mpsc::Receiver<Work>>>,
}

impl Slots {
    /// The threads end when this is dropped and their work is done. Nobody waits for them: a record of the job's code
    /// can't be cut short, and a process that is told to stop has no use for it.
    pub(crate) fn new(count: u32) -> Self {
        let (work, queue) = mpsc::channel::<Work>();
        let queue = Arc::new(Mutex::new(queue));
        let slots = Self { free: Arc::new(Semaphore::new(count as usize)), work, queue };
        (0..count).for_each(|number| slots.spawn(format!("slot-{number}")));
        slots
    }

    pub(crate) fn free(&self) -> u32 {
        self.free.available_permits() as u32
    }

    fn spawn(&self, name: String) {
        let queue = self.queue.clone();
        let slot = thread::Builder::new().name(name);
        slot.spawn(move || serve(&queue)).expect("the system has room for a thread for each slot");
    }

    /// Waits for a free slot and runs `work` on it. A panic in it is a failure. Dropped while it waits, it takes no
    /// slot; dropped later, the slot is free again when `work` returns.
    #[cfg(test)]
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run_until(work, std::future::pending()).await
    }

    /// The same, but for no longer than `overdue` pends. Nothing can stop a thread that does not return: it is left to
    /// itself, and another takes its place.
    pub(crate) async fn run_until<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
        overdue: impl Future<Output = Failure>,
    ) -> Result<T, Failure> {
        let slot = self.free.clone().acquire_owned().await.expect("never closed");
        let (reply, answer) = oneshot::channel();
        // Whoever comes first, the end or the deadline, takes the slot out and gives it back.
        let slot = Arc::new(Mutex::new(Some(slot)));
        let held = slot.clone();
        let work = move || {
            let result = caught(work);
            drop(held.lock().expect("nothing panics while it is held").take());
            _ = reply.send(result);
        };
        self.work.send(Box::new(work)).expect("the threads live as long as this");
        tokio::select! {
            biased;
            result = answer => result.expect("panics are caught, so there is an answer"),
            failure = overdue => {
                if let Some(slot) = slot.lock().expect("nothing panics while it is held").take() {
                    self.spawn("slot-again".to_owned());
                    drop(slot);
                }
                Err(failure)
            }
        }
    }
}

fn serve(queue: &Mutex<mpsc::Receiver<Work>>) {
    loop {
        let work = queue.lock().expect("nothing panics while it is held").recv();
        match work {
            Ok(work) => work(),
            Err(mpsc::RecvError) => return,
        }
    }
}

/// Runs the job's code away from the threads that move bytes, but on no slot.
pub(crate) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(move || caught(work)).await;
    done.unwrap_or_else(|_| Err(Failure::transient("the process is stopping")))
}

fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What the job's code held is dropped with it, so nobody sees it in between.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Failure::application(story(panic.as_ref()))))
}

pub(crate) fn story(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => format!("the job's code panicked: {text}"),
        (_, Some(text)) => format!("the job's code panicked: {text}"),
        (None, None) => "the job's code panicked".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn no_more_run_at_once_than_there_are_slots_and_a_panic_costs_none() {
        let slots = Slots::new(2);
        let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let work = |number: u32| {
            let (now, most) = (now.clone(), most.clone());
            slots.run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
                assert!(!number.is_multiple_of(3), "number {number}");
                Ok(number)
            })
        };
        let results = futures::future::join_all((0..9).map(work)).await;
        assert_eq!(most.load(Ordering::SeqCst), 2);
        for (number, result) in results.into_iter().enumerate() {
            match number % 3 {
                0 => {
                    let story = format!("the job's code panicked: number {number}");
                    assert_eq!(result, Err(Failure::application(story)));
                }
                _ => assert_eq!(result, Ok(number as u32)),
            }
        }
    }

    #[tokio::test]
    async fn a_thread_that_does_not_return_is_replaced() {
        let slots = Slots::new(1);
        let (finish, wait) = mpsc::channel::<()>();
        let stuck = move || -> Result<(), Failure> {
            _ = wait.recv();
            Ok(())
        };
        let overdue = async { Failure::application("it takes too long") };
        assert_eq!(slots.run_until(stuck, overdue).await, Err(Failure::application("it takes too long")));
        assert_eq!(slots.run(|| Ok(7)).await, Ok(7));
        // It comes back after all, and does no harm.
        finish.send(()).unwrap();
        assert_eq!(slots.run(|| Ok(8)).await, Ok(8));
    }

    #[tokio::test]
    async fn whoever_stops_waiting_for_a_slot_has_taken_none() {
        let slots = Slots::new(1);
        let (finish, wait) = mpsc::channel::<()>();
        let busy = slots.run(move || {
            _ = wait.recv();
            Ok(())
        });
        let waiting = slots.run(|| -> Result<(), Failure> { unreachable!("it was dropped before it had a slot") });
        tokio::pin!(busy);
        assert!(futures::poll!(&mut busy).is_pending());
        {
            tokio::pin!(waiting);
            assert!(futures::poll!(&mut waiting).is_pending());
        }
        finish.send(()).unwrap();
        busy.await.unwrap();
        assert_eq!(slots.run(|| Ok(7)).await, Ok(7));
    }
}
