//! From the pairs that a map task emitted to its run, and from several runs to one.

use crate::buffer::PairBuffer;
use crate::job::StageCode;
use crate::merge::merge;
use crate::run::{RunError, RunReader, RunWriter};
use bytes::Bytes;
use mr_core::Failure;

/// Sorts pairs by partition and key, keeping the order of those with the same key, and combines each key's values.
pub fn encode_run(code: &dyn StageCode, pairs: PairBuffer, partitions: u32) -> Result<Bytes, Failure> {
    let pairs = pairs.sort(partitions);
    let mut writer = RunWriter::new(pairs.size());
    let (combiner, mut partition) = (code.combiner(), 0);
    for group in pairs.groups() {
        while partition < group.partition() {
            writer.end_partition();
            partition += 1;
        }
        match combiner.filter(|_| group.count() > 1) {
            None => group.values().try_for_each(|value| writer.push(group.key(), value)),
            Some(combiner) => {
                let combined = combiner.combine(group.key(), group.shared_values())?;
                combined.iter().try_for_each(|value| writer.push(group.key(), value))
            }
        }
        .map_err(too_large)?;
    }
    while partition < partitions {
        writer.end_partition();
        partition += 1;
    }
    Ok(writer.finish())
}

/// Merges runs, partition by partition, and combines each key's values. Also tells how many values came in.
pub fn combine_runs(
    code: &dyn StageCode,
    runs: Vec<Bytes>,
    partitions: u32,
    check: impl Fn() -> Result<(), Failure>,
) -> Result<(Bytes, u64), Failure> {
    let runs: Vec<_> = runs.into_iter().map(RunReader::open).collect::<Result<_, _>>().map_err(no_run)?;
    let (combiner, mut writer, mut values) = (code.combiner(), RunWriter::new(0), 0);
    for partition in 0..partitions {
        let pairs: Result<_, _> = runs.iter().map(|run| run.partition(partition)).collect();
        merge(pairs.map_err(no_run)?, |key, of_key| {
            check()?;
            values += of_key.len() as u64;
            let combined = match combiner.filter(|_| of_key.len() > 1) {
                Some(combiner) => combiner.combine(&key, of_key)?,
                None => of_key,
            };
            combined.iter().try_for_each(|value| writer.push(&key, value)).map_err(too_large)
        })?;
        writer.end_partition();
    }
    Ok((writer.finish(), values))
}

/// It is as it was written, by its checksum, and no run: to make it again would bring the same.
pub fn no_run(error: RunError) -> Failure {
    Failure::permanent(error.to_string())
}

fn too_large(error: RunError) -> Failure {
    Failure::permanent(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Combiner, StageCode};
    use crate::run::partition_of;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Concatenates, so that the order of values shows in the result.
    struct Appends;

    impl StageCode for Appends {
        fn combiner(&self) -> Option<&dyn Combiner> {
            Some(self)
        }
    }

    impl Combiner for Appends {
        fn combine(&self, _: &[u8], values: Vec<Bytes>) -> Result<Vec<Bytes>, Failure> {
            Ok(vec![values.concat().into()])
        }
    }

    struct Keeps;

    impl StageCode for Keeps {}

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    fn run(code: &dyn StageCode, pairs: &Pairs, partitions: u32) -> Bytes {
        let mut buffer = PairBuffer::default();
        pairs.iter().for_each(|(key, value)| buffer.push(key, value));
        encode_run(code, buffer, partitions).unwrap()
    }

    /// What is in a run's partitions.
    fn read(run: Bytes) -> Vec<Pairs> {
        let run = RunReader::open(run).unwrap();
        let pairs = |partition| run.partition(partition).unwrap().into_iter().map(|p| (p.key.into(), p.value.into()));
        (0..run.partitions()).map(|partition| pairs(partition).collect()).collect()
    }

    /// The same by a sorted vector: stable, so values of a key stay in the order they were emitted in.
    fn model(tasks: &[Pairs], partitions: u32) -> Vec<Pairs> {
        let mut parts: Vec<Pairs> = vec![Vec::new(); partitions as usize];
        for (key, value) in tasks.iter().flatten() {
            parts[partition_of(key, partitions) as usize].push((key.clone(), value.clone()));
        }
        for part in &mut parts {
            part.sort_by(|a, b| a.0.cmp(&b.0));
        }
        parts
    }

    fn appended(parts: Vec<Pairs>) -> Vec<Pairs> {
        let append = |part: Pairs| {
            let mut whole: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for (key, value) in part {
                whole.entry(key).or_default().extend(value);
            }
            whole.into_iter().collect()
        };
        parts.into_iter().map(append).collect()
    }

    fn tasks() -> impl Strategy<Value = Vec<Pairs>> {
        let pair = (prop::collection::vec(0u8..4, 0..3), prop::collection::vec(any::<u8>(), 0..5));
        prop::collection::vec(prop::collection::vec(pair, 0..30), 1..8)
    }

    proptest! {
        #[test]
        fn runs_and_their_merge_are_what_a_sorted_vector_says(tasks in tasks(), partitions in 1u32..6) {
            let runs: Vec<_> = tasks.iter().map(|pairs| run(&Keeps, pairs, partitions)).collect();
            for (one, pairs) in runs.iter().zip(&tasks) {
                prop_assert_eq!(read(one.clone()), model(std::slice::from_ref(pairs), partitions));
            }
            let (merged, values) = combine_runs(&Keeps, runs, partitions, || Ok(())).unwrap();
            prop_assert_eq!(values, tasks.iter().flatten().count() as u64);
            prop_assert_eq!(read(merged), model(&tasks, partitions));
        }

        #[test]
        fn every_tree_of_consecutive_runs_gives_the_same_bytes(
            tasks in tasks(),
            partitions in 1u32..6,
            fan_ins in prop::collection::vec(2usize..5, 4),
        ) {
            let mut runs: Vec<_> = tasks.iter().map(|pairs| run(&Appends, pairs, partitions)).collect();
            let (flat, _) = combine_runs(&Appends, runs.clone(), partitions, || Ok(())).unwrap();
            for fan_in in fan_ins {
                let combine = |group: &[Bytes]| combine_runs(&Appends, group.to_vec(), partitions, || Ok(())).unwrap().0;
                runs = runs.chunks(fan_in).map(combine).collect();
            }
            prop_assert_eq!(runs.len(), 1);
            prop_assert_eq!(&runs[0], &flat);
            prop_assert_eq!(read(flat), appended(model(&tasks, partitions)));
        }
    }

    #[test]
    fn a_run_of_fewer_partitions_is_none_and_a_stop_is_heard_between_keys() {
        let two = run(&Keeps, &vec![(b"a".to_vec(), b"1".to_vec())], 2);
        let failure = combine_runs(&Keeps, vec![two.clone()], 3, || Ok(())).unwrap_err();
        assert_eq!(failure, Failure::permanent("this is no run: it has fewer partitions"));
        let stop = || Err(Failure::permanent("stop"));
        assert_eq!(combine_runs(&Keeps, vec![two], 2, stop).unwrap_err(), Failure::permanent("stop"));
    }
}
