//! How a command ends before its end, and the exit codes of all that there is.

use crate::talk::say;
use crate::words;
use mr_core::{FailureClass, JobPhase, JobStatus, masked};
use std::process::ExitCode;

/// Each variant has an exit code of its own, and a message for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What was asked for can't be done to begin with.
    Refused(String),
    /// It was begun and failed.
    Failed(String),
    Unreachable(String),
    Interrupted(String),
    /// Nothing was asked for, and help was given instead.
    Usage,
}

pub const DONE: u8 = 0;
const FAILED: u8 = 1;
const REFUSED: u8 = 2;
const UNREACHABLE: u8 = 3;
const INTERRUPTED: u8 = 130;

impl Stop {
    fn parts(&self) -> (u8, &str) {
        match self {
            Self::Failed(message) => (FAILED, message),
            Self::Refused(message) => (REFUSED, message),
            Self::Unreachable(message) => (UNREACHABLE, message),
            Self::Interrupted(message) => (INTERRUPTED, message),
            Self::Usage => (REFUSED, ""),
        }
    }

    /// Says why on stderr.
    pub fn report(&self) -> ExitCode {
        let (code, message) = self.parts();
        match self {
            Self::Usage => {}
            Self::Interrupted(_) => say(message),
            Self::Failed(_) | Self::Refused(_) | Self::Unreachable(_) => {
                // What was typed may be a URL with a secret in it.
                masked(message).split("\n\n").for_each(|message| say(&format!("error: {message}")));
            }
        }
        ExitCode::from(code)
    }
}

/// What a job that has ended means for whoever waited for it. `cancelled_here`: whoever waited also took it back.
pub fn judge(status: &JobStatus, cancelled_here: bool) -> Result<(), Stop> {
    let message = status.failure.as_ref().map_or("the job failed and did not say why", |failure| &failure.message);
    let message = words::harmless(message);
    let class = status.failure.as_ref().map(|failure| failure.class);
    match (status.phase, class) {
        (JobPhase::Committed, _) => Ok(()),
        (JobPhase::Cancelled, _) | (JobPhase::Failed, Some(FailureClass::Cancelled)) if cancelled_here => {
            Err(Stop::Interrupted("interrupted: the job is cancelled and the output is as it was".to_owned()))
        }
        (JobPhase::Cancelled, _) | (JobPhase::Failed, Some(FailureClass::Cancelled)) => {
            Err(Stop::Failed(format!("job {} was cancelled; the output is as it was", status.id)))
        }
        (JobPhase::Failed, Some(FailureClass::Refused)) => Err(Stop::Refused(message)),
        (
            JobPhase::Failed,
            None
            | Some(
                FailureClass::Application
                | FailureClass::Permanent
                | FailureClass::Transient
                | FailureClass::WorkerLost
                | FailureClass::OutOfMemory,
            ),
        ) => Err(Stop::Failed(message)),
        (JobPhase::Listing | JobPhase::Running | JobPhase::Committing, _) => {
            Err(Stop::Failed(format!("job {} has not ended", status.id)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::status;
    use mr_core::Failure;

    fn code(phase: JobPhase, class: Option<FailureClass>, cancelled_here: bool) -> u8 {
        let mut status = status(phase);
        status.failure = class.map(|class| Failure::new(class, "why"));
        match judge(&status, cancelled_here) {
            Ok(()) => DONE,
            Err(stop) => stop.parts().0,
        }
    }

    #[test]
    fn every_end_has_its_exit_code() {
        use FailureClass::*;
        assert_eq!(code(JobPhase::Committed, None, false), 0);
        // Too late to take it back: it has committed.
        assert_eq!(code(JobPhase::Committed, None, true), 0);
        assert_eq!(code(JobPhase::Cancelled, Some(Cancelled), false), 1);
        assert_eq!(code(JobPhase::Cancelled, Some(Cancelled), true), 130);
        assert_eq!(code(JobPhase::Cancelled, None, true), 130);
        assert_eq!(code(JobPhase::Failed, Some(Refused), false), 2);
        for class in [Application, Permanent, Transient, WorkerLost, OutOfMemory] {
            assert_eq!(code(JobPhase::Failed, Some(class), false), 1);
            assert_eq!(code(JobPhase::Failed, Some(class), true), 1, "it failed before it could be cancelled");
        }
        assert_eq!(code(JobPhase::Failed, None, false), 1);
        assert_eq!(Stop::Unreachable(String::new()).parts().0, 3);
    }
}
