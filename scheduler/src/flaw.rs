//! Bugs that can be planted, to see whether the simulation finds them. Nobody else plants any.

/// Each is one that such a system has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
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
    /// Whoever has its kernels is given a job, also one whose program does not have it.
    IgnoresRegistries,
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
    /// What one worker says of a record is enough.
    BelievesOne,
    /// The first worker that dies with a probe condemns the first record of it.
    CondemnsAtOnce,
    /// A record is condemned for the loss of workers that have come back since.
    BlamesTheLiving,
    /// One who has been replaced answers those who have been with its successor.
    NeverDoubts,
    /// A task whose output was lost comes to something else, and what was made of the first stays.
    KeepsWhatFollows,
    /// What was counted for what is undone stays, and is counted again.
    CountsWhatIsUndone,
    /// One worker that misses a file is enough, though the file may be there.
    MissesAtOnce,
}

impl Flaw {
    pub const ALL: &[Self] = &[
        Self::KeepsLostLeases,
        Self::ChargesStaleFailures,
        Self::CancelsWhileCommitting,
        Self::SkipsBooks,
        Self::ServesDraining,
        Self::MixesFamilies,
        Self::HearsOldPolls,
        Self::LetsThemRun,
        Self::IgnoresWishes,
        Self::IgnoresRegistries,
        Self::WaitsForEver,
        Self::BacksUpTooSoon,
        Self::BacksUpWithItself,
        Self::SpeaksTooSoon,
        Self::DropsTheCommit,
        Self::BelievesOne,
        Self::CondemnsAtOnce,
        Self::BlamesTheLiving,
        Self::NeverDoubts,
        Self::KeepsWhatFollows,
        Self::CountsWhatIsUndone,
        Self::MissesAtOnce,
    ];

    /// In kebab-case, as it is typed.
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|flaw| flaw.name() == name)
    }
}

impl crate::Scheduler {
    pub(crate) fn flawed(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}
