//! What is meant: from the keys that were typed to a [`JobSpec`] that can be run, or every mistake that is in them.
//!
//! Nothing is read here but the typed text, so a job is refused before anything is touched.

use crate::job_file::{Entry, JOB_TABLES, JobFile, Kind, KindError, TABLES, Value};
use crate::keys;
use crate::location::{self, Place};
use crate::mistake::{At, Mistake};
use mr_core::{
    JobSpec, Limits, Mode, OutputFormat, Packing, ParamValue, Params, ShuffleSettings, SplitSettings, without_query,
};
use mr_mapreduce::{Job, ListFormat, ParamKind, ParamSpec, Registry, param_key};
use mr_storage::{Overlap, overlap};
use std::ops::RangeInclusive;
use std::sync::Arc;

pub struct Meant {
    pub spec: JobSpec,
    pub job: Arc<dyn Job>,
}

impl std::fmt::Debug for Meant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.spec.fmt(f)
    }
}

/// A task's objects travel in one message.
const OBJECTS_MAX: i64 = 10_000;
const ATTEMPTS_MAX: i64 = 1_000;
/// A day.
const RECORD_SECONDS_MAX: i64 = 86_400;

/// With less, most of what happens is files that are opened and closed.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

const MODES: [(&str, Mode); 2] = [("fail", Mode::Fail), ("overwrite", Mode::Overwrite)];

/// # Errors
/// Every mistake.
pub fn resolve(file: &JobFile, registry: &Registry, adopt: bool, place: &Place) -> Result<Meant, Vec<Mistake>> {
    let mut reader = Reader { file, mistakes: Vec::new() };
    let job = reader.job(registry);
    reader.unknown_keys(job.as_ref());
    let input = reader.root(keys::INPUT, place);
    let input_list = reader.list(place);
    let output = reader.root(keys::OUTPUT, place);
    if let (Some(input), Some(output)) = (&input, &output) {
        reader.apart(input, output);
    }
    let (limits, split) = (Limits::default(), SplitSettings::default());
    let quarantine_share_max = reader.share(keys::QUARANTINE_SHARE_MAX).unwrap_or(limits.quarantine_share_max);
    let attempts_max = reader.integer(keys::ATTEMPTS_MAX, 1..=ATTEMPTS_MAX);
    let record_seconds_max = reader.integer(keys::RECORD_SECONDS_MAX, 1..=RECORD_SECONDS_MAX);
    let budget_max_usd = reader.dollars(keys::BUDGET_MAX_USD);
    let objects_max = reader.integer(keys::OBJECTS_MAX, 1..=OBJECTS_MAX);
    let bytes_max = reader.bytes_from(keys::BYTES_MAX, 1).unwrap_or(split.bytes_max);
    let memory_bytes_max = reader.bytes_from(keys::MEMORY_BYTES_MAX, MEMORY_BYTES_MIN);
    let mode = reader.choice(keys::MODE, MODES).unwrap_or_default();
    let format = reader.format(job.as_deref());
    let params = job.as_ref().map(|job| reader.params(&job.params()));
    match (job, input, output, params) {
        (Some(job), Some(input), Some(output), Some(params)) if reader.mistakes.is_empty() => {
            let spec = JobSpec {
                job: job.name().to_owned(),
                input,
                input_list,
                output,
                mode,
                format,
                adopt,
                params,
                limits: Limits {
                    quarantine_share_max,
                    attempts_max: attempts_max.map_or(limits.attempts_max, |n| n as u32),
                    record_seconds_max: record_seconds_max.map_or(limits.record_seconds_max, |n| n as u32),
                    budget_max_usd,
                },
                split: SplitSettings { objects_max: objects_max.map_or(split.objects_max, |n| n as u32), bytes_max },
                shuffle: memory_bytes_max
                    .map_or(ShuffleSettings::default(), |memory_bytes_max| ShuffleSettings { memory_bytes_max }),
            };
            Ok(Meant { spec, job })
        }
        _ => Err(reader.mistakes),
    }
}

/// Takes one key after another and keeps what is wrong with them.
struct Reader<'a> {
    file: &'a JobFile,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.file.entries.get(key)
    }

    fn wrong(&mut self, at: &At, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(at, message));
    }

    fn job(&mut self, registry: &Registry) -> Option<Arc<dyn Job>> {
        let names = || registry.jobs().map(|job| job.name());
        let Some(name) = self.text(keys::JOB) else {
            if self.entry(keys::JOB).is_none() {
                let first = names().next().unwrap_or("name");
                self.wrong(&At::Whole, format!("`job` is missing; say what to compute, such as job = \"{first}\""));
            }
            return None;
        };
        let found = registry.find(&name).cloned();
        if found.is_none() {
            let hint = match keys::nearest(&name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", keys::list(names())),
            };
            let at = self.file.value_at(keys::JOB);
            self.wrong(&at, format!("there is no job `{name}`; {hint}"));
        }
        found
    }

    /// Of a job that is not known, the parameters are not known either.
    fn unknown_keys(&mut self, job: Option<&Arc<dyn Job>>) {
        let known = keys::known(job.map(|job| &**job));
        for (key, entry) in &self.file.entries {
            let (table, _) = keys::split(key);
            let of_a_job = JOB_TABLES.contains(&table) && table != key;
            if known.contains(key) || (of_a_job && job.is_none()) {
                continue;
            }
            let whole = matches!(entry.key_at, At::Argument(_));
            let message = match &entry.value.kind {
                Kind::List(_) if TABLES.contains(&key.as_str()) => {
                    format!("`{key}` is one table; write [{key}] with single brackets, once")
                }
                _ if TABLES.contains(&key.as_str()) => {
                    format!("`{key}` is a table; write [{key}] and its keys below")
                }
                Kind::Table if !key.contains('.') => {
                    // Only those that this job has keys in.
                    let mut tables = TABLES.to_vec();
                    tables.retain(|table| known.iter().any(|key| keys::split(key).0 == *table));
                    match keys::nearest(key, tables.iter().copied()) {
                        Some(near) => format!("unknown table [{key}], did you mean [{near}]?"),
                        None => format!("unknown table [{key}]; there are [{}]", tables.join("], [")),
                    }
                }
                _ => keys::unknown(key, &known, whole),
            };
            self.wrong(&entry.key_at, message);
        }
    }

    fn wrong_kind(&mut self, key: &str, value: &Value, wanted: &str) {
        let is = value.kind.describe();
        let message = match &value.kind {
            Kind::Unfit(KindError::TooLarge | KindError::NoNumber) => format!("`{key}` takes {wanted}; this is {is}"),
            Kind::Text(text) if wanted.contains("number") || wanted.contains("integer") || wanted.contains("true") => {
                let plain = text.parse::<f64>().is_ok() || matches!(text.as_str(), "true" | "false");
                let hint = if plain { ": leave out the quotes" } else { "" };
                format!("`{key}` takes {wanted}, not a text{hint}")
            }
            _ => format!("`{key}` takes {wanted}, not {is}"),
        };
        self.wrong(&value.at, message);
    }

    /// A text. On the command line whatever was typed is one.
    fn text(&mut self, key: &str) -> Option<String> {
        let entry = self.entry(key)?;
        match (&entry.value.kind, &entry.typed) {
            (Kind::Text(text), _) => Some(text.clone()),
            (_, Some(typed)) => Some(typed.clone()),
            _ => {
                self.wrong_kind(key, &entry.value, "a text in quotes");
                None
            }
        }
    }

    fn root(&mut self, key: &'static str, place: &Place) -> Option<String> {
        if self.entry(key).is_none() {
            let what = if key == keys::INPUT { "where to read from" } else { "where the results go" };
            self.wrong(&At::Whole, format!("`{key}` is missing; say {what}, in the file or with --{key}"));
        }
        let typed = self.text(key)?;
        match location::root_url(&typed, place) {
            Ok(url) => Some(url),
            Err(message) => {
                let at = self.file.value_at(key);
                self.wrong(&at, format!("`{key}`: {message}"));
                None
            }
        }
    }

    /// Whether it can be read is seen when the job is planned; that nobody could read it is seen now.
    fn list(&mut self, place: &Place) -> Option<String> {
        let typed = self.text(keys::INPUT_LIST)?;
        let url = location::object_url(&typed, place).and_then(|url| ListFormat::of(without_query(&url)).map(|_| url));
        url.map_err(|message| {
            let at = self.file.value_at(keys::INPUT_LIST);
            self.wrong(&at, format!("`{}`: {message}", keys::INPUT_LIST));
        })
        .ok()
    }

    fn apart(&mut self, input: &str, output: &str) {
        let message = match overlap(output, input) {
            None => return,
            Some(Overlap::Same) => "`output` is the input; it needs a place of its own",
            Some(Overlap::Inside) => {
                "`output` lies inside the input, so the next run would list its own results; choose a place outside"
            }
            Some(Overlap::Around) => {
                "the input lies inside `output`, so readers of the results would meet it there; choose another place"
            }
        };
        let at = self.file.value_at(keys::OUTPUT);
        self.wrong(&at, message);
    }

    /// One of a few words, and what it means.
    fn choice<T: Copy, const N: usize>(&mut self, key: &str, choices: [(&'static str, T); N]) -> Option<T> {
        let text = self.text(key)?;
        let chosen = choices.iter().find(|(word, _)| *word == text);
        if chosen.is_none() {
            let words = choices.map(|(word, _)| word);
            let near = keys::nearest(&text, words).map(|near| format!(", did you mean \"{near}\"?"));
            let quoted = words.map(|word| format!("\"{word}\""));
            let (last, others) = quoted.split_last().expect("there is a choice");
            let (at, others, near) = (self.file.value_at(key), others.join(", "), near.unwrap_or_default());
            self.wrong(&at, format!("`{key}` is {others} or {last}, not \"{text}\"{near}"));
        }
        chosen.map(|(_, meant)| *meant)
    }

    fn format(&mut self, job: Option<&dyn Job>) -> OutputFormat {
        type Packed = fn(Option<Packing>) -> OutputFormat;
        let formats: [(_, Packed); 3] =
            [("parquet", |_| OutputFormat::Parquet), ("text", OutputFormat::Text), ("json", OutputFormat::Json)];
        let packings = [("none", None), ("gzip", Some(Packing::Gzip)), ("zstd", Some(Packing::Zstd))];
        let packing = self.choice(keys::OUTPUT_COMPRESSION, packings);
        let unknown = self.mistakes.len();
        let format = self.choice(keys::OUTPUT_FORMAT, formats).map(|of| of(packing.flatten())).unwrap_or_default();
        if packing.is_some() && format == OutputFormat::Parquet && self.mistakes.len() == unknown {
            let at = self.file.value_at(keys::OUTPUT_COMPRESSION);
            let why = "is of text and JSON alone, since Parquet is compressed inside: say output_format = \"text\" or \
                       \"json\", or leave it out";
            self.wrong(&at, format!("`{}` {why}", keys::OUTPUT_COMPRESSION));
        }
        if let (OutputFormat::Text(_), Some(why)) = (format, job.and_then(Job::no_text)) {
            let at = self.file.value_at(keys::OUTPUT_FORMAT);
            self.wrong(&at, format!("`{}` can't be \"text\" here, since {why}: say \"json\"", keys::OUTPUT_FORMAT));
        }
        format
    }

    fn number(&mut self, key: &str) -> Option<(f64, &'a Value)> {
        let value = &self.entry(key)?.value;
        match value.kind {
            Kind::Integer(number) => Some((number as f64, value)),
            Kind::Number(number) => Some((number, value)),
            _ => {
                self.wrong_kind(key, value, "a number");
                None
            }
        }
    }

    fn dollars(&mut self, key: &str) -> Option<f64> {
        let (usd, value) = self.number(key)?;
        if usd <= 0.0 {
            self.wrong(&value.at, format!("`{key}` is in US dollars, more than none of them, not {usd}"));
        }
        Some(usd)
    }

    fn share(&mut self, key: &str) -> Option<f64> {
        let (share, value) = self.number(key)?;
        if !(0.0..=1.0).contains(&share) {
            self.wrong(&value.at, format!("`{key}` is a share, from 0 to 1, not {share}"));
        }
        Some(share)
    }

    fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = &self.entry(key)?.value;
        match value.kind {
            Kind::Integer(number) if range.contains(&number) => return Some(number),
            Kind::Integer(number) => {
                self.wrong(&value.at, format!("`{key}` is from {} to {}, not {number}", range.start(), range.end()));
            }
            _ => self.wrong_kind(key, value, "an integer"),
        }
        None
    }

    fn bytes_from(&mut self, key: &str, least: u64) -> Option<u64> {
        let entry = self.entry(key)?;
        let value = &entry.value;
        let wanted = "a number of bytes, or a text such as \"256MB\"";
        let bytes = match &value.kind {
            Kind::Integer(number) if *number > 0 => Some(*number as u64),
            Kind::Text(text) => parse_bytes(text),
            Kind::Integer(_) => None,
            _ => {
                self.wrong_kind(key, value, wanted);
                return None;
            }
        };
        let bytes = bytes.filter(|bytes| *bytes >= least);
        if bytes.is_none() {
            self.wrong(&value.at, format!("`{key}` takes {wanted}, and at least {least}"));
        }
        bytes
    }

    fn params(&mut self, specs: &[ParamSpec]) -> Params {
        let mut params = Params::new();
        for spec in specs {
            let key = param_key(spec.name);
            let value = match self.entry(&key) {
                Some(entry) => self.param(&key, spec.kind, entry),
                None => spec.default.clone(),
            };
            params.extend(value.map(|value| (spec.name.to_owned(), value)));
        }
        params
    }

    fn param(&mut self, key: &str, kind: ParamKind, entry: &Entry) -> Option<ParamValue> {
        if kind == ParamKind::Text {
            return self.text(key).map(ParamValue::Text);
        }
        if let (ParamKind::TextList, Kind::List(items)) = (kind, &entry.value.kind) {
            // The item that does not fit is shown, rather than the list.
            if let Some(item) = items.iter().find(|item| !matches!(item.kind, Kind::Text(_))) {
                self.wrong(&item.at, format!("`{key}` takes {kind}; {} is in it", item.kind.describe()));
                return None;
            }
        }
        match param_value(&entry.value.kind) {
            Some(value) if kind.accepts(&value) => Some(value),
            _ => {
                self.wrong_kind(key, &entry.value, &kind.to_string());
                None
            }
        }
    }
}

fn param_value(kind: &Kind) -> Option<ParamValue> {
    Some(match kind {
        Kind::Bool(value) => ParamValue::Bool(*value),
        Kind::Integer(value) => ParamValue::Integer(*value),
        Kind::Number(value) => ParamValue::Number(*value),
        Kind::Text(value) => ParamValue::Text(value.clone()),
        Kind::List(items) => {
            ParamValue::List(items.iter().map(|item| param_value(&item.kind)).collect::<Option<Vec<_>>>()?)
        }
        Kind::Date | Kind::Table | Kind::Unfit(_) => return None,
    })
}

/// `256MB`, `1.5 GiB`, `1000`: letters of thousands are decimal, those with an `i` binary.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit: u64 = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let bytes = (number * unit as f64).floor();
    (bytes >= 1.0 && bytes <= i64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mistake::{Source, render};
    use crate::testing::registry;

    fn place() -> Place {
        Place { here: "/home/me/work".into(), home: Some("/home/me".into()) }
    }

    fn read(text: &str, sets: &[&str]) -> Result<Meant, String> {
        let source = Source { name: "j.toml".into(), text: text.into() };
        let shown = |mistakes: Vec<_>| render(&mistakes, &source);
        let mut file = JobFile::parse(&source).map_err(shown)?;
        for set in sets {
            file.set(set).map_err(|mistake| shown(vec![mistake]))?;
        }
        resolve(&file, &registry(), false, &place()).map_err(shown)
    }

    const GOOD: &str = "job = \"count\"\ninput = \"in\"\noutput = \"out\"\n";

    /// The first line of what is said about `text` behind a good beginning of three lines.
    fn said(text: &str) -> String {
        read(&format!("{GOOD}{text}"), &[]).map(|_| ()).unwrap_err().lines().next().unwrap().to_owned()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let spec = read(GOOD, &[]).unwrap().spec;
        assert_eq!(spec.input, "file:///home/me/work/in/");
        assert_eq!(spec.output, "file:///home/me/work/out/");
        assert_eq!((spec.mode, spec.limits, spec.split), Default::default());
        assert_eq!(spec.params["components"], ParamValue::Integer(50));
        assert!(!spec.params.contains_key("weights_sha256"));
    }

    #[test]
    fn what_is_said_holds() {
        let spec = read(
            &format!(
                "{GOOD}mode = \"overwrite\"\n[params]\ncomponents = 0.5\nextensions = [\"a\"]\nlabel = -1\nstrict = true\n\
                 [limits]\nquarantine_share_max = 1\nattempts_max = 7\nbudget_max_usd = 2\n[split]\nobjects_max = 3\nbytes_max = \"1.5 MiB\"\n"
            ),
            &[],
        )
        .unwrap()
        .spec;
        assert_eq!(spec.mode, Mode::Overwrite);
        assert_eq!(spec.params["components"], ParamValue::Number(0.5));
        assert_eq!(spec.params["label"], ParamValue::Integer(-1));
        assert_eq!(spec.params["strict"], ParamValue::Bool(true));
        assert_eq!(
            spec.limits,
            Limits { quarantine_share_max: 1.0, attempts_max: 7, budget_max_usd: Some(2.0), ..Limits::default() }
        );
        assert_eq!(spec.split, SplitSettings { objects_max: 3, bytes_max: 1_572_864 });
    }

    #[test]
    fn every_mistake_is_met_with_its_line_and_what_to_do() {
        for (text, expected) in [
            (
                "[params]\ncomponets = 1",
                "j.toml:5:1: unknown key `componets` under [params], did you mean `components`?",
            ),
            ("components = 1", "j.toml:4:1: unknown key `components`, did you mean `components` under [params]?"),
            ("mod = \"fail\"", "j.toml:4:1: unknown key `mod`, did you mean `mode`?"),
            (
                "mode = \"overwite\"",
                "j.toml:4:8: `mode` is \"fail\" or \"overwrite\", not \"overwite\", did you mean \"overwrite\"?",
            ),
            ("input_list = 3", "j.toml:4:14: `input_list` takes a text in quotes, not an integer"),
            ("input_list = \"\"", "j.toml:4:14: `input_list`: this is empty; name a place"),
            (
                "input_list = \"keys.tsv\"",
                "j.toml:4:14: `input_list`: a list of keys is a .txt or .csv (also with .gz or .zst after it), a .parquet, or \
                 the manifest.json of an S3 Inventory",
            ),
            (
                "[limits]\nbudget_max_usd = 0.0",
                "j.toml:5:18: `limits.budget_max_usd` is in US dollars, more than none of them, not 0",
            ),
            (
                "[limits]\nbudget_max_usd = inf",
                "j.toml:5:18: `limits.budget_max_usd` takes a number; this is no finite number",
            ),
            (
                "[limits]\nbudget_max_usd = \"5\"",
                "j.toml:5:18: `limits.budget_max_usd` takes a number, not a text: leave out the quotes",
            ),
            ("input_lst = \"keys.txt\"", "j.toml:4:1: unknown key `input_lst`, did you mean `input_list`?"),
            (
                "output_format = \"jsn\"",
                "j.toml:4:17: `output_format` is \"parquet\", \"text\" or \"json\", not \"jsn\", did you mean \"json\"?",
            ),
            (
                "output_compression = \"gz\"",
                "j.toml:4:22: `output_compression` is \"none\", \"gzip\" or \"zstd\", not \"gz\"",
            ),
            (
                "output_compression = \"zstd\"",
                "j.toml:4:22: `output_compression` is of text and JSON alone, since Parquet is compressed inside: say \
                 output_format = \"text\" or \"json\", or leave it out",
            ),
            ("mode = \"append\"", "j.toml:4:8: `mode` is \"fail\" or \"overwrite\", not \"append\""),
            ("mode = true", "j.toml:4:8: `mode` takes a text in quotes, not true"),
            ("[limit]\nattempts_max = 1", "j.toml:4:2: unknown table [limit], did you mean [limits]?"),
            ("[other]\nx = 1", "j.toml:4:2: unknown table [other]; there are [params], [limits], [split], [shuffle]"),
            ("params = 3", "j.toml:4:1: `params` is a table; write [params] and its keys below"),
            ("[[params]]\nlabel = 1", "j.toml:4:3: `params` is one table; write [params] with single brackets, once"),
            (
                "[params]\ncomponents = \"50\"",
                "j.toml:5:14: `params.components` takes a number, not a text: leave out the quotes",
            ),
            ("[params]\ncomponents = nan", "j.toml:5:14: `params.components` takes a number; this is no finite number"),
            (
                "[params]\ncomponents = 1e999",
                "j.toml:5:14: `params.components` takes a number; this is no finite number",
            ),
            ("[params]\nlabel = 1.5", "j.toml:5:9: `params.label` takes an integer, not a number with a point"),
            (
                "[params]\nlabel = 99999999999999999999",
                "j.toml:5:9: `params.label` takes an integer; this is an integer that is too large",
            ),
            ("[params]\nextensions = \"jpg\"", "j.toml:5:14: `params.extensions` takes a list of texts, not a text"),
            (
                "[params]\nextensions = [\"jpg\",\n  7]",
                "j.toml:6:3: `params.extensions` takes a list of texts; an integer is in it",
            ),
            ("[params]\nlabel.x = 1", "j.toml:5:1: `params.label` takes an integer, not a table"),
            ("[params]\nstrict = 2026-01-01", "j.toml:5:10: `params.strict` takes true or false, not a date"),
            (
                "[limits]\nquarantine_share_max = 1.5",
                "j.toml:5:24: `limits.quarantine_share_max` is a share, from 0 to 1, not 1.5",
            ),
            (
                "[limits]\nquarantine_share_max = -1",
                "j.toml:5:24: `limits.quarantine_share_max` is a share, from 0 to 1, not -1",
            ),
            (
                "[limits]\nquarantine_share_max = \"1%\"",
                "j.toml:5:24: `limits.quarantine_share_max` takes a number, not a text",
            ),
            ("[limits]\nattempts_max = 0", "j.toml:5:16: `limits.attempts_max` is from 1 to 1000, not 0"),
            ("[split]\nobjects_max = -3", "j.toml:5:15: `split.objects_max` is from 1 to 10000, not -3"),
            (
                "[split]\nbytes_max = 0",
                "j.toml:5:13: `split.bytes_max` takes a number of bytes, or a text such as \"256MB\", and at least 1",
            ),
            (
                "[shuffle]\nmemory_bytes_max = \"1 kB\"",
                "j.toml:5:20: `shuffle.memory_bytes_max` takes a number of bytes, or a text such as \"256MB\", and at least \
                 1048576",
            ),
            (
                "[split]\nbytes_max = \"lots\"",
                "j.toml:5:13: `split.bytes_max` takes a number of bytes, or a text such as \"256MB\", and at least 1",
            ),
            (
                "[split]\nbytes_max = 1.5",
                "j.toml:5:13: `split.bytes_max` takes a number of bytes, or a text such as \"256MB\", not a number with a point",
            ),
            ("input = \"b\"", "j.toml:4:1: this is no TOML: duplicate key"),
            ("mode = overwrite", "j.toml:4:8: this is no TOML: a text stands in quotes, \"overwrite\""),
            ("mode = fail", "j.toml:4:8: this is no TOML: a text stands in quotes, \"fail\""),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_lacks_something_says_what() {
        for (text, expected) in [
            ("input = \"a\"\noutput = \"b\"", "j.toml: `job` is missing; say what to compute, such as job = \"count\""),
            (
                "job = \"count\"\noutput = \"b\"",
                "j.toml: `input` is missing; say where to read from, in the file or with --input",
            ),
            (
                "job = \"count\"\ninput = \"a\"",
                "j.toml: `output` is missing; say where the results go, in the file or with --output",
            ),
            (
                "job = \"cuont\"\ninput = \"a\"\noutput = \"b\"",
                "j.toml:1:7: there is no job `cuont`; did you mean `count`?",
            ),
            ("job = \"x\"\ninput = \"a\"\noutput = \"b\"", "j.toml:1:7: there is no job `x`; there are `count`"),
            ("job = 3\ninput = \"a\"\noutput = \"b\"", "j.toml:1:7: `job` takes a text in quotes, not an integer"),
        ] {
            assert_eq!(read(text, &[]).unwrap_err().lines().next(), Some(expected), "{text}");
        }
    }

    #[test]
    fn places_that_cannot_be_are_refused() {
        for (input, output, expected) in [
            ("gs://b/x", "out", "j.toml:2:9: `input`: `gs://` is not known; use a path, file:// or s3://"),
            ("in", "s3://", "j.toml:3:10: `output`: there is no bucket; write s3://bucket/prefix/"),
            ("in", "./in/", "j.toml:3:10: `output` is the input; it needs a place of its own"),
            (
                "in",
                "in/out",
                "j.toml:3:10: `output` lies inside the input, so the next run would list its own results; choose a place outside",
            ),
            (
                "all/in",
                "all",
                "j.toml:3:10: the input lies inside `output`, so readers of the results would meet it there; choose another place",
            ),
            (
                "s3://b/a",
                "s3://b/a/out",
                "j.toml:3:10: `output` lies inside the input, so the next run would list its own results; choose a place outside",
            ),
            ("", "out", "j.toml:2:9: `input`: this is empty; name a place"),
        ] {
            let text = format!("job = \"count\"\ninput = \"{input}\"\noutput = \"{output}\"\n");
            assert_eq!(read(&text, &[]).unwrap_err().lines().next(), Some(expected), "{text}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = "jb = \"count\"\ninput = \"a\"\noutput = 3\nmode = \"x\"\n[limits]\nattempts_max = 0\n";
        let all = read(text, &[]).unwrap_err();
        let heads: Vec<_> =
            all.lines().filter(|line| line.starts_with("j.toml")).map(|l| l.split(": ").next().unwrap()).collect();
        assert_eq!(heads, ["j.toml:1:1", "j.toml:3:10", "j.toml:4:8", "j.toml:6:16", "j.toml"]);
    }

    #[test]
    fn what_is_no_toml_is_shown_at_its_place() {
        for (text, line) in
            [("job = ", 1), ("job = \"a\ninput = 1", 1), ("a = 1\n[params\n", 2), ("= 3", 1), ("a b = 3", 1)]
        {
            let all = read(text, &[]).unwrap_err();
            assert!(all.starts_with(&format!("j.toml:{line}:")), "{text:?}: {all}");
            assert!(all.contains("this is no TOML") && all.contains('^'), "{text:?}: {all}");
        }
    }

    #[test]
    fn a_setting_goes_over_the_file() {
        let value = |set: &str, name: &str| read(GOOD, &[set]).unwrap().spec.params.get(name).cloned().unwrap();
        assert_eq!(value("params.components=0.95", "components"), ParamValue::Number(0.95));
        assert_eq!(value("params.components = 7", "components"), ParamValue::Integer(7));
        assert_eq!(value("params.weights=a b=c.onnx", "weights"), ParamValue::Text("a b=c.onnx".into()));
        assert_eq!(value("params.weights='quoted'", "weights"), ParamValue::Text("quoted".into()));
        assert_eq!(value("params.weights=2026-01-01", "weights"), ParamValue::Text("2026-01-01".into()));
        assert_eq!(value("params.weights_sha256=1234", "weights_sha256"), ParamValue::Text("1234".into()));
        assert_eq!(
            value("params.extensions=[\"jpg\"]", "extensions"),
            ParamValue::List(vec![ParamValue::Text("jpg".into())])
        );
        for (set, format) in [
            (&["output_format=text"][..], OutputFormat::Text(None)),
            (&["output_format=json", "output_compression=gzip"], OutputFormat::Json(Some(Packing::Gzip))),
            (&["output_format=text", "output_compression=none"], OutputFormat::Text(None)),
            (&["output_format=parquet"], OutputFormat::Parquet),
        ] {
            assert_eq!(read(GOOD, set).unwrap().spec.format, format);
        }
        let spec = read(GOOD, &["mode=overwrite", "split.bytes_max=1kB", "output=true"]).unwrap().spec;
        assert_eq!((spec.mode, spec.split.bytes_max), (Mode::Overwrite, 1_000));
        assert!(spec.output.ends_with("/true/"));
        let mended = read(&format!("{GOOD}[params]\nlabel = true"), &["params.label=-3"]).unwrap();
        assert_eq!(mended.spec.params["label"], ParamValue::Integer(-3));
    }

    #[test]
    fn a_mistake_in_a_setting_is_named_by_the_setting() {
        for (set, expected) in [
            (
                "params.componets=1",
                "`--set params.componets=1`: unknown key `params.componets`, did you mean `params.components`?",
            ),
            ("components=1", "`--set components=1`: unknown key `components`, did you mean `params.components`?"),
            (
                "params.components=many",
                "`--set params.components=many`: `params.components` takes a number, not a text",
            ),
            (
                "params.extensions=[1]",
                "`--set params.extensions=[1]`: `params.extensions` takes a list of texts; an integer is in it",
            ),
            ("mode=x", "`--set mode=x`: `mode` is \"fail\" or \"overwrite\", not \"x\""),
            ("limits.attempts_max=0", "`--set limits.attempts_max=0`: `limits.attempts_max` is from 1 to 1000, not 0"),
            ("params", "`--set params`: write a key and a value: `--set params.components=0.95`"),
            ("=3", "`--set =3`: write a key and a value: `--set params.components=0.95`"),
            (
                "params={label=1}",
                "`--set params={label=1}`: `params` is a table; set one of its keys: `--set params.KEY=VALUE`",
            ),
        ] {
            assert_eq!(read(GOOD, &[set]).unwrap_err(), expected);
        }
    }

    #[test]
    fn bytes_have_units() {
        for (text, bytes) in
            [("1", 1), ("256MB", 256_000_000), ("256 MiB", 256 << 20), ("0.5k", 500), ("2 gb", 2_000_000_000)]
        {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "-1", "0", "0.1", "1 XB", "1e9", "99999999 TB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
