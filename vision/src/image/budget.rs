//! The memory that all slots of a process may spend on decoding, together.
//!
//! First come, first served: a large photo waits its turn and then for room, and nobody overtakes it, so it is not starved
//! by small ones. A request for more than the whole budget gets all of it, alone: the budget delays and never refuses,
//! and so a verdict can't depend on how much of it a host gave.

use std::sync::{Arc, Condvar, Mutex};

/// A share of memory to take from; clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    free: u64,
    next_ticket: u64,
    now_serving: u64,
}

/// What was taken; dropping it gives it back.
#[derive(Debug)]
pub struct BudgetGuard {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Shared {
            bytes,
            queue: Mutex::new(Queue { free: bytes, next_ticket: 0, now_serving: 0 }),
            changed: Condvar::new(),
        }))
    }

    /// Waits for `bytes`, or for everything if there are fewer in all.
    ///
    /// A thread that holds a guard must not ask for a second one: it might wait for itself.
    pub fn acquire(&self, bytes: u64) -> BudgetGuard {
        let bytes = bytes.min(self.0.bytes);
        let mut queue = self.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        while queue.now_serving != ticket || queue.free < bytes {
            queue = self.0.changed.wait(queue).expect("nothing panics under this lock");
        }
        queue.free -= bytes;
        queue.now_serving += 1;
        self.0.changed.notify_all();
        BudgetGuard { budget: self.clone(), bytes }
    }

    /// How much nobody holds right now.
    pub fn free(&self) -> u64 {
        self.lock().free
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.queue.lock().expect("nothing panics under this lock")
    }
}

impl BudgetGuard {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for BudgetGuard {
    fn drop(&mut self) {
        self.budget.lock().free += self.bytes;
        self.budget.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(100);
        let guard = budget.acquire(60);
        assert_eq!((guard.bytes(), budget.free()), (60, 40));
        drop(guard);
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn a_request_over_the_budget_takes_all_of_it() {
        let budget = Budget::new(100);
        assert_eq!(budget.acquire(1_000_000).bytes(), 100);
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn a_large_request_is_not_overtaken() {
        let budget = Budget::new(100);
        let first = budget.acquire(50);
        let (sender, arrivals) = mpsc::channel();
        thread::scope(|scope| {
            for (name, bytes) in [("large", 100), ("small", 10)] {
                let (thread_budget, thread_sender) = (budget.clone(), sender.clone());
                let tickets_before = budget.lock().next_ticket;
                scope.spawn(move || {
                    let guard = thread_budget.acquire(bytes);
                    thread_sender.send(name).expect("the test listens");
                    drop(guard);
                });
                while budget.lock().next_ticket == tickets_before {
                    thread::yield_now(); // until it stands in the queue
                }
            }
            // There is room for the small one, but it is not its turn.
            assert!(arrivals.recv_timeout(Duration::from_millis(50)).is_err());
            drop(first);
            assert_eq!(arrivals.recv(), Ok("large"));
            assert_eq!(arrivals.recv(), Ok("small"));
        });
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is() {
        let budget = Budget::new(1_000);
        let held = Mutex::new(0u64);
        thread::scope(|scope| {
            for seed in 0..8u64 {
                let (budget, held) = (&budget, &held);
                scope.spawn(move || {
                    for round in 0..200 {
                        let guard = budget.acquire((seed * 131 + round * 37) % 700);
                        let now = {
                            let mut held = held.lock().expect("no panic");
                            *held += guard.bytes();
                            *held
                        };
                        assert!(now <= 1_000);
                        *held.lock().expect("no panic") -= guard.bytes();
                        drop(guard);
                    }
                });
            }
        });
        assert_eq!(budget.free(), 1_000);
    }
}
