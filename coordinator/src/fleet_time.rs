//! For how long the fleet's machines were there for which job, for bills: as of the fleet's last look, until the next.

use mr_core::JobId;
use mr_scheduler::Millis;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct FleetTime {
    since: Millis,
    /// How many each job has to pay for, its share of one included.
    machines: BTreeMap<JobId, f64>,
}

impl FleetTime {
    /// What each job has to pay for since this was asked last, in milliseconds of machines.
    pub fn until(&mut self, now: Millis) -> impl Iterator<Item = (&JobId, f64)> {
        let took = now.saturating_sub(self.since) as f64;
        self.since = now;
        self.machines.iter().map(move |(job, machines)| (job, took * machines))
    }

    /// From now on they pay for so many. What was before is lost, unless it was asked for.
    pub fn becomes(&mut self, now: Millis, machines: BTreeMap<JobId, f64>) {
        *self = Self { since: now, machines };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_paid_for_by_whoever_it_is_for_while_it_is() {
        let [a, b] = ["a", "b"].map(|job| JobId::parse(job).unwrap());
        let mut time = FleetTime::default();
        assert_eq!(time.until(1000).count(), 0);
        time.becomes(1000, [(a.clone(), 1.5), (b.clone(), 0.5)].into());
        assert_eq!(time.until(3000).collect::<Vec<_>>(), [(&a, 3000.0), (&b, 1000.0)]);
        assert_eq!(time.until(3000).map(|(_, ms)| ms).sum::<f64>(), 0.0, "that was paid");
        time.becomes(3000, [(b.clone(), 2.0)].into());
        assert_eq!(time.until(3500).collect::<Vec<_>>(), [(&b, 1000.0)]);
    }
}
