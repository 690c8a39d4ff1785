//! How stores have answered, and what they may be asked: what a worker and its coordinator say of it.

/// How often a store answered in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreAnswers {
    /// In any way but by asking for fewer requests.
    pub accepted: u64,
    pub throttled: u64,
}

/// How a place has answered one process since it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUsage {
    /// A bucket at an endpoint, under the same name in every process.
    pub place: String,
    pub answers: StoreAnswers,
}

/// What one process may ask of a place.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreShare {
    pub place: String,
    pub requests_per_second: f64,
}
