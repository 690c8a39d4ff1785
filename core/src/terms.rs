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

/// All that decides how many workers the fleet would start for a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FleetTerms {
    pub workers_min: u32,
    /// Its budget for an hour included.
    pub workers_max: u32,
    /// Of a worker.
    pub slots: u32,
    /// From asking for a worker to hearing of it.
    pub start_ms: u64,
    /// What a task is taken to need of which nobody knows.
    pub task_ms: u64,
    /// A worker stays for so long when it has nothing left to do.
    pub idle_ms: u64,
    /// A machine is paid for so long at the least.
    pub billed_min_ms: u64,
    pub aim: FleetAim,
    /// By which the fleet reckons; 0: nothing.
    pub usd_per_worker_hour: f64,
    pub budget_usd_per_job: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FleetAim {
    /// A job is to be done so long after it was submitted.
    Within { target_ms: u64 },
    /// It is to cost as little as it can, where an hour that somebody waits for it costs so much as well.
    Cheapest { usd_per_hour_waited: f64 },
}
