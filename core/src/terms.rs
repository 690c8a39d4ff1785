//! What a cluster says of itself to whoever plans a job.

/// Who would work on it, and for how much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterTerms {
    /// In touch now, and their slots together.
    pub workers: u32,
    pub slots: u32,
    /// Whether what tasks send each other goes through S3, rather than a folder.
    pub state_in_s3: bool,
    /// Where the coordinator starts workers as there is work.
    pub fleet: Option<FleetTerms>,
    /// In US dollars; `None`: nobody said.
    pub usd_per_worker_hour: Option<f64>,
    /// Where that comes from.
    pub worker_from: String,
    /// Its table of prices, as text.
    pub prices: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetTerms {
    pub workers_max: u32,
    /// Of a worker.
    pub slots: u32,
    /// From asking for a worker to hearing of it.
    pub start_ms: u64,
    /// A job is to be done so long after it was submitted; `None`: as cheaply as can be, with what waiting costs.
    pub target_ms: Option<u64>,
}
