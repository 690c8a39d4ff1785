//! Bugs that can be planted, in tests only, to see whether the simulation finds them.

/// Each is one that such a system has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A worker is lost and what it had is not given to others.
    KeepsLostLeases,
    /// A failure that is told again, or by a worker that has lost its lease, is charged again.
    ChargesStaleFailures,
    CancelsWhileCommitting,
    /// Outputs are taken as they come.
    SkipsBooks,
    ServesDraining,
    MixesFamilies,
    /// An old poll that comes late is taken for news.
    HearsOldPolls,
    /// A job that has ended leaves its attempts running.
    LetsThemRun,
    /// A job is given to whoever has room.
    IgnoresWishes,
    /// A job whose kernels nobody has waits for ever.
    WaitsForEver,
    /// A backup although tasks are ready.
    BacksUpTooSoon,
    /// A backup on the worker that is slow.
    BacksUpWithItself,
    /// What rests on facts is said before they are written.
    SpeaksTooSoon,
    /// After a restart, nobody goes on with a commit that was under way.
    DropsTheCommit,
    /// After a restart, results of tasks are taken that can't have begun, as far as is written.
    TrustsTheUnwritten,
}

impl crate::Scheduler {
    #[cfg(test)]
    pub(crate) fn with_flaw(config: crate::Config, epoch: mr_core::Epoch, flaw: Flaw) -> Self {
        let mut scheduler = Self::new(config, epoch);
        scheduler.flaw = Some(flaw);
        scheduler
    }

    #[cfg(test)]
    pub(crate) fn flawed(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    #[cfg(not(test))]
    pub(crate) fn flawed(&self, _: Flaw) -> bool {
        false
    }
}
