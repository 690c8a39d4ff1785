//! Which attempt runs where, and when a job is done: a pure state machine.
//!
//! Events and the time come in, commands go out ([`Scheduler::handle`]). There is no clock here, no socket, no store
//! and no chance, and every collection is ordered: the same events at the same times give the same commands, so a
//! journal of events is a journal of the state.
//!
//! - [`event`] has what is said to the scheduler and by it.
//! - `scheduler` has one arm for each event; `results` what an attempt's end does to its task and its job; `undo` what is
//!   done over; `assign` who is given which task; `unserved` what becomes of jobs that nobody can be given.
//! - `job`, `tasks` and `fleet` are what is known of jobs, of one job's tasks, and of workers; `books` is what an
//!   output must add up to; `view` is what others may see.
//! - [`sim`] drives it all through bad weather by seed; `audit` holds the state against itself, and `flaw` plants bugs for
//!   the simulation to find.

mod assign;
mod audit;
mod books;
mod care;
pub mod event;
mod fact;
pub mod flaw;
mod fleet;
mod job;
mod load;
mod recover;
mod results;
mod scheduler;
pub mod sim;
mod tasks;
mod undo;
mod unserved;
mod view;
mod write_ahead;

pub use care::KILLS;
pub use event::{Answer, Command, Config, Event, Millis, Poll, Step};
pub use fact::{Condemned, Ending, Fact, Remains, What};
pub use load::{Load, StageLoad};
pub use scheduler::Scheduler;
pub use unserved::{Lack, START_ITS_PROGRAM, other_versions};
pub use view::{JobView, StageView, WorkerView};
pub use write_ahead::WriteAhead;
