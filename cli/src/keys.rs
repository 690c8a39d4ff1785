//! The keys that there are, and the nearest of them to one that there is not.

use mr_mapreduce::{Job, param_key};

pub const JOB: &str = "job";
pub const INPUT: &str = "input";
pub const INPUT_LIST: &str = "input_list";
pub const OUTPUT: &str = "output";
pub const MODE: &str = "mode";
pub const OUTPUT_FORMAT: &str = "output_format";
pub const OUTPUT_COMPRESSION: &str = "output_compression";
pub const QUARANTINE_SHARE_MAX: &str = "limits.quarantine_share_max";
pub const ATTEMPTS_MAX: &str = "limits.attempts_max";
pub const RECORD_SECONDS_MAX: &str = "limits.record_seconds_max";
pub const BUDGET_MAX_USD: &str = "limits.budget_max_usd";
pub const OBJECTS_MAX: &str = "split.objects_max";
pub const BYTES_MAX: &str = "split.bytes_max";
pub const MEMORY_BYTES_MAX: &str = "shuffle.memory_bytes_max";

const COMMON: [&str; 14] = [
    JOB,
    INPUT,
    INPUT_LIST,
    OUTPUT,
    MODE,
    OUTPUT_FORMAT,
    OUTPUT_COMPRESSION,
    QUARANTINE_SHARE_MAX,
    ATTEMPTS_MAX,
    RECORD_SECONDS_MAX,
    BUDGET_MAX_USD,
    OBJECTS_MAX,
    BYTES_MAX,
    MEMORY_BYTES_MAX,
];

/// Whole names, those of the job's parameters among them.
pub fn known(job: Option<&dyn Job>) -> Vec<String> {
    let params = job.map(|job| job.params()).unwrap_or_default();
    let params = params.iter().map(|spec| param_key(spec.name));
    COMMON.iter().map(|key| key.to_string()).chain(params).collect()
}

/// Table and name of a key; the table of a key at the top is empty.
pub fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or(("", key))
}

/// What to say of a key that there is not. `whole`: names are given whole, as `--set` wants them.
pub fn unknown(key: &str, known: &[String], whole: bool) -> String {
    let (table, name) = split(key);
    let what = match (table, whole) {
        ("", _) | (_, true) => format!("unknown key `{key}`"),
        (_, false) => format!("unknown key `{name}` under [{table}]"),
    };
    if let Some(near) = nearest_key(key, known) {
        let (near_table, near_name) = split(near);
        let near = match (near_table == table, whole) {
            (_, true) => format!("`{near}`"),
            (true, false) => format!("`{near_name}`"),
            (false, false) if near_table.is_empty() => format!("`{near_name}` at the top, before any [table]"),
            (false, false) => format!("`{near_name}` under [{near_table}]"),
        };
        return format!("{what}, did you mean {near}?");
    }
    let siblings: Vec<_> = known.iter().filter(|other| split(other).0 == table).map(|other| other.as_str()).collect();
    match siblings.is_empty() {
        true => format!("{what}; there are {}", list(known.iter().map(String::as_str))),
        false => {
            format!("{what}; there are {}", list(siblings.into_iter().map(|s| if whole { s } else { split(s).1 })))
        }
    }
}

fn nearest_key<'a>(key: &str, known: &'a [String]) -> Option<&'a String> {
    let (table, name) = split(key);
    let score = |other: &str| {
        let (other_table, other_name) = split(other);
        let far = strsim::damerau_levenshtein(&name.to_lowercase(), &other_name.to_lowercase());
        // A right name in the wrong table is near; among names equally far, the one in the same table is nearer.
        (far <= tolerance(name)).then_some((far, other_table != table))
    };
    known
        .iter()
        .filter_map(|other| Some((score(other)?, other)))
        .min_by_key(|(score, _)| *score)
        .map(|(_, other)| other)
}

/// The nearest of some words, if any is near enough to have been meant.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    words
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase()), other))
        .filter(|(far, _)| *far <= tolerance(word))
        .min_by_key(|(far, _)| *far)
        .map(|(_, other)| other)
}

fn tolerance(word: &str) -> usize {
    (word.chars().count() / 3).clamp(1, 4)
}

/// `a`, `b` and `c`.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named_as_it_has_to_be_written() {
        let known: Vec<_> =
            ["job", "input", "limits.attempts_max", "params.components", "params.label"].map(str::to_owned).to_vec();
        let check = |key, whole, expected| assert_eq!(unknown(key, &known, whole), expected);
        check("params.componets", false, "unknown key `componets` under [params], did you mean `components`?");
        check("params.componets", true, "unknown key `params.componets`, did you mean `params.components`?");
        check("inptu", false, "unknown key `inptu`, did you mean `input`?");
        check("components", false, "unknown key `components`, did you mean `components` under [params]?");
        check(
            "params.Input",
            false,
            "unknown key `Input` under [params], did you mean `input` at the top, before any [table]?",
        );
        check("limits.x", false, "unknown key `x` under [limits]; there are `attempts_max`");
        check("params.zzz", true, "unknown key `params.zzz`; there are `params.components` and `params.label`");
    }

    #[test]
    fn a_word_that_is_far_is_not_suggested() {
        assert_eq!(nearest("overwite", ["fail", "overwrite"]), Some("overwrite"));
        assert_eq!(nearest("append", ["fail", "overwrite"]), None);
        assert_eq!(nearest("", ["a"]), Some("a"));
    }
}
