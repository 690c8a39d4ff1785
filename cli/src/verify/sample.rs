//! Some rows, computed again from their objects by the job's own code, and held against those of the table.

use crate::args::Verify;
use crate::job_id;
use crate::submit::cores;
use crate::verify::input::Compared;
use mr_core::{BlobRef, FRAMEWORK_VERSION, JobPlan, KERNEL_FAMILY, Object, QuarantineSource, Report, sha256_hex};
use mr_mapreduce::{Broadcast, Host, HostSettings, Job, Registry, broadcasts_on_the_way, recompute};
use mr_storage::DynStore;
use mr_table::{Audit, Exactness, Findings, Records, Row, compare_rows};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Other kernels round otherwise: features of the two arithmetics that ship are 1.4e-4 apart at worst, their projections
/// somewhat more. What another photo gives is most often farther away than this.
const TOLERANCE: f64 = 0.01;

pub struct Wanted<'a> {
    pub job: Arc<dyn Job>,
    pub plan: JobPlan,
    pub broadcasts: Vec<Broadcast>,
    pub table: &'a Audit,
    pub records: &'a Records,
    pub report: &'a Report,
    pub compared: &'a Compared,
}

#[derive(Debug, Default)]
pub struct Sampled {
    /// How many were compared.
    pub rows: u64,
    pub seed: u64,
    /// Of the kernels that computed them here.
    pub kernel_family: String,
    /// `None`: bit for bit.
    pub tolerance: Option<f64>,
    pub faults: Findings,
    pub unchecked: Findings,
    pub notes: Findings,
}

enum Ready {
    Yes,
    /// There is a reason that lies in the job, and nothing is amiss.
    NotSo(String),
    Not(String),
}

impl Wanted<'_> {
    pub async fn check(mut self, args: &Verify, registry: &Registry, output: &DynStore) -> Sampled {
        let (kernel_family, exact) = family(&self.report.kernel_family, &self.plan, registry.kernel_families());
        let mut sampled = Sampled {
            // Without chance any choice will do, and it is told.
            seed: args.seed.or_else(|| job_id::random().ok()).unwrap_or_default(),
            kernel_family,
            tolerance: (!exact).then_some(TOLERANCE),
            ..Sampled::default()
        };
        match self.ready() {
            Ready::Yes => {}
            Ready::NotSo(why) => {
                sampled.notes.add("sample", format!("rows of this job are not computed again one by one: {why}"));
                return sampled;
            }
            Ready::Not(why) => {
                sampled.unchecked.add("sample", format!("no row was computed again: {why}"));
                return sampled;
            }
        }
        let chosen = choose(self.compared.same.len(), args.sample as usize, sampled.seed);
        let chosen: Vec<_> = chosen.into_iter().map(|place| &self.compared.same[place]).collect();
        if let Err(why) = self.compute(&chosen, registry, output, &mut sampled).await {
            sampled.unchecked.add("sample", format!("rows could not be computed again: {why}"));
        }
        sampled
    }

    /// Whether what was computed then can be computed now, with all that it takes.
    fn ready(&mut self) -> Ready {
        let stages = match broadcasts_on_the_way(&self.plan) {
            Ok(stages) => stages,
            Err(why) => return Ready::NotSo(why),
        };
        if let Some(difference) = difference(&self.table.footer, &self.plan.footer) {
            let why = "other weights or another version of the program than then, or the report was changed";
            return Ready::Not(format!("{difference}: {why}"));
        }
        for stage in stages {
            match self.job.restore(stage, &self.table.run_files) {
                Ok(Some(bytes)) => {
                    let sha256 = sha256_hex(&bytes);
                    let blob = BlobRef { key: String::new(), bytes: bytes.len() as u64, sha256 };
                    self.broadcasts.push(Broadcast { name: stage.to_owned(), blob, bytes });
                }
                Ok(None) => return Ready::Not(format!("the files beside the parts do not hold what `{stage}` made")),
                Err(failure) => return Ready::Not(format!("what `{stage}` made: {failure}")),
            }
        }
        Ready::Yes
    }

    async fn compute(
        &self,
        chosen: &[&(usize, Object)],
        registry: &Registry,
        output: &DynStore,
        sampled: &mut Sampled,
    ) -> Result<(), String> {
        // For rows that there is no memory for.
        let scratch = tempfile::tempdir().map_err(|error| format!("making a temporary folder: {error}"))?;
        let settings = HostSettings {
            slots: cores(),
            scratch: scratch.path().to_owned(),
            decode_budget_bytes: mr_worker::decode_budget_bytes(None),
            work_outlives: false,
        };
        let host = Host::new(registry.clone(), settings);
        let objects: Vec<_> = chosen.iter().map(|(_, object)| object.clone()).collect();
        let again = recompute(&host, &self.plan, &sampled.kernel_family, &self.broadcasts, &objects).await;
        let again = again.map_err(|failure| failure.message)?;
        let mut without = BTreeSet::new();
        for set_aside in &again.quarantined {
            without.insert(set_aside.key.as_str());
            let (class, message) = (&set_aside.class, &set_aside.message);
            match set_aside.source {
                QuarantineSource::Content => {
                    sampled
                        .faults
                        .add(&set_aside.key, format!("it has a row, and is set aside now ({class}: {message})"));
                }
                QuarantineSource::Environment => {
                    sampled.notes.add(&set_aside.key, format!("its row was not computed again: it {message}"));
                }
            }
        }
        let rows: Vec<&Row> = chosen
            .iter()
            .filter(|(_, object)| !without.contains(object.key.as_str()))
            .map(|(place, _)| &self.records.rows[*place])
            .collect();
        if rows.is_empty() {
            // Set aside one and all: either that is told as faults, or there was nothing to compare.
            return if sampled.faults.is_empty() {
                Err("every object was changed meanwhile".to_owned())
            } else {
                Ok(())
            };
        }
        let exactness = sampled.tolerance.map_or(Exactness::Bits, Exactness::Within);
        let compared = compare_rows(output, &self.table.parts, &rows, again.parts, exactness).await;
        let different = compared.map_err(|error| error.failure().message)?;
        if !different.is_empty() {
            let what = "rows hold no ETags: an object that was replaced by another of the same size is taken for the one that was there";
            sampled.notes.add("sample", what);
        }
        sampled.faults.extend(different);
        sampled.rows = rows.len() as u64;
        Ok(())
    }
}

/// The kernels to compute with, and whether they give the same bits as those of then.
fn family(then: &str, plan: &JobPlan, here: &[String]) -> (String, bool) {
    if here.iter().any(|family| family == then) {
        return (then.to_owned(), true);
    }
    let ranked = here.iter().filter(|family| plan.kernels.takes(family)).min_by_key(|family| plan.kernels.rank(family));
    (ranked.unwrap_or(&here[0]).clone(), false)
}

/// What shapes the rows now and is not what shaped them then. The version of the framework alone shapes nothing: a job's
/// own is raised when its results change.
fn difference(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<String> {
    let aside = |key: &&String| !matches!(key.as_str(), "mr.version" | KERNEL_FAMILY) && !key.starts_with("ARROW:");
    let keys: BTreeSet<_> = then.keys().chain(now.keys()).filter(aside).collect();
    let key = keys.into_iter().find(|key| then.get(*key) != now.get(*key))?;
    let said = |footer: &BTreeMap<String, String>| footer.get(key).map_or("absent".to_owned(), |v| format!("{v:?}"));
    let versions = match then.get("mr.version") {
        Some(version) if version != FRAMEWORK_VERSION => {
            format!(" (by version {version}, and this is {FRAMEWORK_VERSION})")
        }
        _ => String::new(),
    };
    Some(format!("`{key}` is {} in the parts, and the report's settings make it {}{versions}", said(then), said(now)))
}

/// `wanted` of `count` places, each once and in order; the same for the same seed.
fn choose(count: usize, wanted: usize, seed: u64) -> Vec<usize> {
    let wanted = wanted.min(count);
    let mut state = seed;
    // Splitmix64, which takes any seed.
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    // Floyd's: each round makes room for one more place and takes it where the drawn one is taken.
    let mut chosen = BTreeSet::new();
    for last in count - wanted..count {
        let drawn = (random() % (last as u64 + 1)) as usize;
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::KernelWish;

    #[test]
    fn a_seed_chooses_the_same_places_each_once() {
        assert_eq!(choose(100, 5, 7), choose(100, 5, 7));
        assert_ne!(choose(100, 5, 7), choose(100, 5, 8));
        assert_eq!(choose(3, 9, 1), [0, 1, 2]);
        assert!(choose(0, 9, 1).is_empty() && choose(9, 0, 1).is_empty());
        let mut drawn = [0; 10];
        for seed in 0..1000 {
            let places = choose(10, 3, seed);
            assert!(places.len() == 3 && places.is_sorted_by(|a, b| a < b), "{places:?}");
            places.into_iter().for_each(|place| drawn[place] += 1);
        }
        assert!(drawn.iter().all(|count| (250..350).contains(count)), "{drawn:?}");
    }

    #[test]
    fn the_same_kernels_if_they_are_here_and_else_those_that_the_job_would_rather_have() {
        let mut plan = crate::testing::plan();
        let here = ["f32/a".to_owned(), "bf16x3/a".to_owned()];
        assert_eq!(family("bf16x3/a", &plan, &here), ("bf16x3/a".into(), true));
        assert_eq!(family("f32/b", &plan, &here), ("f32/a".into(), false));
        plan.kernels = KernelWish { arithmetics: vec!["bf16x3".into(), "f32".into()], why: String::new() };
        assert_eq!(family("bf16x3/b", &plan, &here), ("bf16x3/a".into(), false));
        plan.kernels.arithmetics = vec!["f64".into()];
        assert_eq!(family("f64/b", &plan, &here), ("f32/a".into(), false));
    }

    #[test]
    fn what_shaped_the_rows_has_to_be_the_same() {
        let footer = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let then = footer(&[("mr.kernel_family", "f32"), ("mr.version", "0.0.1"), ("mr.weights_sha256", "a")]);
        let now = |weights| footer(&[("mr.version", FRAMEWORK_VERSION), ("mr.weights_sha256", weights)]);
        assert_eq!(difference(&then, &now("a")), None);
        let said = difference(&then, &now("b")).unwrap();
        let wanted =
            "`mr.weights_sha256` is \"a\" in the parts, and the report's settings make it \"b\" (by version 0.0.1";
        assert!(said.starts_with(wanted), "{said}");
        assert!(difference(&then, &footer(&[])).unwrap().contains("make it absent"));
    }
}
