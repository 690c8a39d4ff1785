//! Outputs of tasks, found again by what the task computed: so a job that failed, was cancelled or has grown goes on from
//! what is done, whichever job did it.

use mr_core::{QuarantineSource, TaskKey, TaskOutput};
use mr_scheduler::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// By kernel family, since families differ in their bytes.
    outputs: BTreeMap<Arc<str>, BTreeMap<TaskKey, Kept>>,
}

#[derive(Clone, Debug)]
pub struct Kept {
    pub output: Arc<TaskOutput>,
    pub used_at: Millis,
}

impl Memo {
    /// Keeps an output, or notes that it is still of use. One whose verdicts follow from what happened meanwhile is not for
    /// others: for them it may be otherwise. Nor is what was made of such a one, which whoever asks this must know.
    pub fn keep(&mut self, family: &Arc<str>, key: TaskKey, output: &Arc<TaskOutput>, at: Millis) {
        if output.quarantined.iter().any(|verdict| verdict.source == QuarantineSource::Environment) {
            return;
        }
        let kept = Kept { output: output.clone(), used_at: at };
        self.outputs.entry(family.clone()).or_default().insert(key, kept);
    }

    /// Lets go of an output that is lost.
    pub fn forget(&mut self, key: &TaskKey) {
        for of_family in self.outputs.values_mut() {
            of_family.remove(key);
        }
    }

    pub fn find(&self, family: &str, key: &TaskKey) -> Option<&Arc<TaskOutput>> {
        Some(&self.outputs.get(family)?.get(key)?.output)
    }

    /// Lets go of what nobody has used since then.
    pub fn forget_before(&mut self, at: Millis) {
        for of_family in self.outputs.values_mut() {
            of_family.retain(|_, kept| kept.used_at >= at);
        }
        self.outputs.retain(|_, of_family| !of_family.is_empty());
    }

    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &TaskKey, &Kept)> {
        let all = self.outputs.iter();
        all.flat_map(|(family, of_family)| of_family.iter().map(move |(key, kept)| (family, key, kept)))
    }

    /// All files that it refers to.
    pub fn files(&self) -> BTreeSet<String> {
        self.iter().flat_map(|(_, _, kept)| kept.output.files()).map(|(key, _)| key.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{FileRef, Quarantined};

    fn output(key: &str, source: Option<QuarantineSource>) -> Arc<TaskOutput> {
        let quarantined = source.map(|source| Quarantined {
            key: "a".into(),
            etag: "e".into(),
            bytes: 1,
            stage: "map".into(),
            class: "bad".into(),
            message: String::new(),
            source,
            attempts: 1,
        });
        let kept = Some(FileRef { key: key.into(), bytes: 1, crc32: 0 });
        Arc::new(TaskOutput { kept, quarantined: quarantined.into_iter().collect(), ..TaskOutput::default() })
    }

    #[test]
    fn an_output_is_found_by_key_and_family_until_it_was_of_no_use_for_long() {
        let (mut memo, avx, neon): (_, Arc<str>, Arc<str>) = (Memo::default(), "avx".into(), "neon".into());
        memo.keep(&avx, [1; 32], &output("one", None), 10);
        memo.keep(&avx, [2; 32], &output("two", Some(QuarantineSource::Content)), 10);
        memo.keep(&avx, [3; 32], &output("three", Some(QuarantineSource::Environment)), 10);
        assert!(memo.find("avx", &[1; 32]).is_some() && memo.find("avx", &[2; 32]).is_some());
        assert!(memo.find("avx", &[3; 32]).is_none(), "its verdicts may be others today");
        assert!(memo.find(&neon, &[1; 32]).is_none());
        memo.keep(&avx, [1; 32], &output("one", None), 20);
        memo.forget_before(11);
        assert_eq!(memo.files().into_iter().collect::<Vec<_>>(), ["one"]);
        memo.forget(&[2; 32]);
        memo.forget(&[1; 32]);
        assert!(memo.find("avx", &[1; 32]).is_none());
        memo.keep(&avx, [1; 32], &output("one", None), 20);
        memo.forget_before(21);
        assert!(memo.is_empty());
    }
}
