//! A typed job on the engine, task by task, against the same job in one thread.

use crate::engine::{Ran, Wanted, block_on, run};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use mr_core::{Failure, JobSpec, Limits, Mode, ParamValue, Params, QuarantineSource, ShuffleSettings, SplitSettings};
use mr_mapreduce::{
    Emit, Input, Line, Lines, MapOnly, MapReduce, ObjectRecord, Objects, ParamError, ParquetRow, ParquetRows,
    RecordError, Registry, Rows, Values, run_local, run_map_only,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// Strings the lines of each first letter together, so that order and what is combined with what show.
struct Strings<const COMBINES: bool>;

impl<const COMBINES: bool> MapReduce for Strings<COMBINES> {
    const NAME: &str = "strings";
    const VERSION: u32 = 3;
    const ABOUT: &str = "lines by their first letter";
    const COLUMNS: &[&str] = &["letter", "lines"];
    type Input = Lines;
    type Key = String;
    type Value = String;
    type Row = (String, String);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    const COMBINES: bool = COMBINES;

    fn combine(&self, lines: &mut String, more: String) {
        lines.push_str(&more);
    }

    fn map(&self, line: <Lines as Input>::Record<'_>, out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        let text = line.text();
        let first = text.chars().next().map(String::from).unwrap_or_default();
        out.emit(&first, format!("{}@{}:{text} ", line.key, line.offset));
        Ok(())
    }

    fn reduce(&self, letter: String, lines: Values<'_, String>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((letter, lines.collect()))
    }
}

/// Sizes of objects by their first byte. An `x` sets its object aside, after it has emitted something.
struct Sizes<const COMBINES: bool>;

impl<const COMBINES: bool> MapReduce for Sizes<COMBINES> {
    const NAME: &str = "sizes";
    const VERSION: u32 = 1;
    const ABOUT: &str = "sizes by first byte";
    const COLUMNS: &[&str] = &["first", "bytes"];
    type Input = Objects;
    type Key = u8;
    type Value = u64;
    type Row = (u8, u64);
    const COMBINES: bool = COMBINES;

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    fn combine(&self, bytes: &mut u64, more: u64) {
        *bytes += more;
    }

    fn map(&self, object: &ObjectRecord, out: &mut Emit<'_, Self>) -> Result<(), RecordError> {
        out.emit(object.bytes.first().copied().unwrap_or_default(), object.bytes.len() as u64);
        if object.bytes.contains(&b'x') {
            return Err(RecordError::Quarantine { class: "x", message: "it has an x".into() });
        }
        Ok(())
    }

    fn reduce(&self, first: u8, bytes: Values<'_, u64>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((first, bytes.sum()))
    }
}

/// Words of objects. An `x` sets its object aside, after it has given a row.
struct Letters;

impl MapOnly for Letters {
    const NAME: &str = "letters";
    const VERSION: u32 = 1;
    const ABOUT: &str = "words of objects";
    const COLUMNS: &[&str] = &["letter"];
    type Input = Objects;
    type Row = (String,);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    fn map(&self, object: &ObjectRecord, out: &mut Rows<Self::Row>) -> Result<(), RecordError> {
        for letter in String::from_utf8_lossy(&object.bytes).split_whitespace() {
            if letter == "x" {
                return Err(RecordError::Quarantine { class: "x", message: "it has an x".into() });
            }
            out.count("letters", 1);
            out.row((letter.to_owned(),))?;
        }
        Ok(())
    }
}

/// Runs every task of the registry's one job once, one after another.
async fn engine(registry: Registry, files: &[(String, Vec<u8>)], objects_max: u32, reduce: Option<(i64, u32)>) -> Ran {
    let split = SplitSettings { objects_max, ..SplitSettings::default() };
    engine_with(registry, files, split, reduce, ShuffleSettings::default()).await
}

async fn engine_with(
    registry: Registry,
    files: &[(String, Vec<u8>)],
    split: SplitSettings,
    reduce: Option<(i64, u32)>,
    shuffle: ShuffleSettings,
) -> Ran {
    let partitions = reduce.map(|(count, _)| ("partitions".into(), ParamValue::Integer(count)));
    let params = partitions.into_iter().collect();
    run(registry, files, &Wanted { split, shuffle, params, fan_in: reduce.map(|(_, fan_in)| fan_in) }).await
}

/// The rows of two columns of text, which every part has in the order of the first.
fn texts(parts: &[Vec<RecordBatch>]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for part in parts {
        let before = all.len();
        for batch in part {
            let column = |at: usize| batch.column(at).as_string::<i32>().iter().map(|text| text.unwrap().to_owned());
            all.extend(column(0).zip(column(1)));
        }
        assert!(all[before..].is_sorted(), "{:?}", &all[before..]);
    }
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_engine_makes_the_rows_that_one_thread_makes(
        texts_of in prop::collection::vec("[abc\u{e4} \n]{0,40}", 0..7),
        objects_max in 1u32..4,
        bytes_max in prop_oneof![Just(u64::MAX), 1u64..40],
        partitions in 1i64..4,
        fan_in in 2u32..4,
        memory_bytes_max in prop_oneof![Just(256u64 << 20), 0u64..2000],
    ) {
        let shuffle = ShuffleSettings { memory_bytes_max };
        let files: Vec<_> =
            texts_of.into_iter().enumerate().map(|(n, text)| (format!("{n}.txt"), text.into_bytes())).collect();
        let expected = run_local(&Strings::<false>, &files).unwrap();
        let (split, reduce) = (SplitSettings { objects_max, bytes_max }, Some((partitions, fan_in)));
        let registry = Registry::default().with_map_reduce::<Strings<true>>();
        let combined = block_on(engine_with(registry, &files, split, reduce, shuffle));
        prop_assert_eq!(combined.parts.len(), partitions as usize);
        prop_assert_eq!(texts(&combined.parts), expected.clone());
        let registry = Registry::default().with_map_reduce::<Strings<false>>();
        let plain = block_on(engine_with(registry, &files, split, reduce, shuffle));
        prop_assert_eq!(texts(&plain.parts), expected);
    }
}

/// Lines, and where they are.
struct Places;

impl MapOnly for Places {
    const NAME: &str = "places";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["path", "offset", "text"];
    type Input = Lines;
    type Row = (String, u64, String);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    fn map(&self, line: Line<'_>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((line.key.to_owned(), line.offset, line.text().into_owned()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn however_an_object_is_cut_each_of_its_lines_is_mapped_once_in_its_place(
        text in "[ab
]{0,60}",
        bytes_max in 1u64..30,
    ) {
        let packed = {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(text.as_bytes()).unwrap();
            packed.finish().unwrap()
        };
        let files = [("1".to_owned(), text.into_bytes()), ("2.gz".to_owned(), packed)];
        let split = SplitSettings { objects_max: 2, bytes_max };
        let registry = Registry::default().with_map_only::<Places>();
        let ran = block_on(engine_with(registry, &files, split, None, ShuffleSettings::default()));
        let mut rows = Vec::new();
        for batch in ran.parts.iter().flatten() {
            let offsets = batch.column(1).as_primitive::<arrow::datatypes::Int64Type>().values();
            let texts = |at: usize| batch.column(at).as_string::<i32>().iter().map(|text| text.unwrap().to_owned());
            let places = texts(0).zip(offsets.iter().map(|offset| *offset as u64)).zip(texts(2));
            rows.extend(places.map(|((path, offset), text)| (path, offset, text)));
        }
        prop_assert_eq!(rows, run_map_only(&Places, &files).unwrap());
        prop_assert!(files[0].1.len() as u64 <= bytes_max || ran.outputs[0].len() > 2);
    }
}

/// Rows of Parquet, and where they are.
struct Numbered;

impl MapOnly for Numbered {
    const NAME: &str = "numbered";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["path", "number", "n", "text"];
    type Input = ParquetRows;
    type Row = (String, u64, i64, Option<String>);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    fn map(&self, row: ParquetRow<'_>, out: &mut Rows<Self::Row>) -> Result<(), RecordError> {
        let n = row.integer("n")?.unwrap_or(-1);
        let text = row.text("text")?.map(str::to_owned);
        Ok(out.row((row.key.to_owned(), row.number, n, text))?)
    }
}

/// So many rows in row groups of so many, packed in one of a few ways.
fn parquet(rows: i64, group: usize, compression: Compression) -> Vec<u8> {
    let numbers: ArrayRef = Arc::new((0..rows).map(|n| (n % 7 > 0).then_some(n * n)).collect::<Int64Array>());
    let texts: ArrayRef =
        Arc::new((0..rows).map(|n| (n % 5 > 0).then(|| format!("text {n}"))).collect::<StringArray>());
    let batch = RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("text", texts, true)]).unwrap();
    let properties = WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(group));
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn however_a_parquet_file_is_cut_each_of_its_rows_is_mapped_once_in_its_place(
        rows in 0i64..60,
        group in 1usize..30,
        compression in prop::sample::select(vec![
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::LZ4_RAW,
            Compression::ZSTD(Default::default()),
        ]),
        bytes_max in 1u64..4000,
    ) {
        let files = [("1".to_owned(), parquet(rows, group, compression)), ("2".to_owned(), parquet(3, 2, compression))];
        let split = SplitSettings { objects_max: 2, bytes_max };
        let registry = Registry::default().with_map_only::<Numbered>();
        let ran = block_on(engine_with(registry, &files, split, None, ShuffleSettings::default()));
        let mut found = Vec::new();
        for batch in ran.parts.iter().flatten() {
            let numbers = |at: usize| batch.column(at).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
            let texts = |at: usize| batch.column(at).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>();
            let (paths, places, of_n, of_text) = (texts(0), numbers(1), numbers(2), texts(3));
            for at in 0..batch.num_rows() {
                found.push((paths[at].clone().unwrap(), places[at] as u64, of_n[at], of_text[at].clone()));
            }
        }
        let row = |file: &str, n: i64| {
            let text = (n % 5 > 0).then(|| format!("text {n}"));
            (file.to_owned(), n as u64, if n % 7 > 0 { n * n } else { -1 }, text)
        };
        let expected: Vec<_> = (0..rows).map(|n| row("1", n)).chain((0..3).map(|n| row("2", n))).collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(run_map_only(&Numbered, &files).unwrap(), expected);
        prop_assert!(files[0].1.len() as u64 <= bytes_max || ran.outputs[0].len() > 2);
    }
}

#[test]
fn what_is_no_parquet_and_what_has_other_columns_is_set_aside_with_a_sentence() {
    let whole = parquet(20, 5, Compression::SNAPPY);
    let (mut flipped, cut) = (whole.clone(), whole[..whole.len() - 9].to_vec());
    // The head of the first page.
    flipped[4..20].fill(0xff);
    let other: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let other = RecordBatch::try_from_iter([("n", other)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), other.schema(), None).unwrap();
    writer.write(&other).unwrap();
    let other = writer.into_inner().unwrap();
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    let files = [
        file("1", &whole),
        file("2", b"no Parquet"),
        file("3", &cut),
        file("4", &other),
        file("5", &flipped),
        file("6", b""),
    ];
    for bytes_max in [u64::MAX, 100] {
        let split = SplitSettings { objects_max: 9, bytes_max };
        let registry = Registry::default().with_map_only::<Numbered>();
        let ran = block_on(engine_with(registry, &files, split, None, ShuffleSettings::default()));
        let verdicts: BTreeMap<_, _> = ran.outputs[0]
            .iter()
            .flat_map(|output| &output.quarantined)
            .map(|verdict| (verdict.key.as_str(), (verdict.class.as_str(), verdict.message.clone())))
            .collect();
        assert_eq!(verdicts.keys().copied().collect::<Vec<_>>(), ["2", "3", "4", "5", "6"]);
        assert!(["2", "3", "5", "6"].iter().all(|key| verdicts[key].0 == "broken-parquet"), "{verdicts:?}");
        assert_eq!(verdicts["4"].0, "other-columns");
        assert!(verdicts["4"].1.starts_with("its column `n` is Utf8, which is not an integer"), "{verdicts:?}");
    }
}

/// Lines by their first byte, in partitions of the alphabet.
struct Alphabet;

impl MapReduce for Alphabet {
    const NAME: &str = "alphabet";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["letter", "lines"];
    type Input = Lines;
    type Key = (u8, u64);
    type Value = ();
    type Row = (u8, u64);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    const PARTITIONS: bool = true;

    fn partition(&self, (letter, _): (u8, u64), partitions: u32) -> u32 {
        u32::from(letter - b'a') * partitions / 26
    }

    fn map(&self, line: Line<'_>, out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        out.emit((line.bytes[0], line.offset), ());
        Ok(())
    }

    fn reduce(&self, (letter, offset): (u8, u64), _: Values<'_, ()>, out: &mut Rows<(u8, u64)>) -> Result<(), Failure> {
        out.row((letter, offset))
    }
}

#[test]
fn a_job_says_which_part_a_key_goes_to() {
    let files = [("1".to_owned(), b"z\nm\na\n".to_vec()), ("2".to_owned(), b"n\nb\n".to_vec())];
    let ran = block_on(engine(Registry::default().with_map_reduce::<Alphabet>(), &files, 1, Some((2, 2))));
    let letters = |part: &Vec<RecordBatch>| {
        let column =
            |batch: &RecordBatch| batch.column(0).as_primitive::<arrow::datatypes::Int16Type>().values().to_vec();
        part.iter().flat_map(column).map(|letter| char::from(letter as u8)).collect::<String>()
    };
    assert_eq!(ran.parts.iter().map(letters).collect::<Vec<_>>(), ["abm", "nz"]);
}

#[test]
fn an_object_that_is_set_aside_leaves_nothing_in_the_result() {
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let files = [file("1", "abc"), file("2", "ax"), file("3", "b"), file("4", "ab"), file("5", "")];
    let registries =
        [Registry::default().with_map_reduce::<Sizes<false>>(), Registry::default().with_map_reduce::<Sizes<true>>()];
    for registry in registries {
        // Where there is no room at all as well.
        let shuffle = ShuffleSettings { memory_bytes_max: 0 };
        let split = SplitSettings { objects_max: 3, ..SplitSettings::default() };
        let cramped = block_on(engine_with(registry.clone(), &files, split, Some((1, 2)), shuffle));
        let ran = block_on(engine(registry, &files, 3, Some((1, 2))));
        assert_eq!(cramped.parts, ran.parts);
        let quarantined: Vec<_> = ran.outputs[0].iter().flat_map(|output| &output.quarantined).collect();
        assert_eq!(quarantined.len(), 1);
        assert_eq!((&*quarantined[0].key, &*quarantined[0].class), ("2", "x"));
        assert_eq!(quarantined[0].source, QuarantineSource::Content);
        let [batch] = &ran.parts[0][..] else { panic!("a few rows") };
        let first = batch.column(0).as_primitive::<arrow::datatypes::Int16Type>().values().to_vec();
        let bytes = batch.column(1).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        assert_eq!((first, bytes), (vec![0, 97, 98], vec![0, 5, 1]));
    }
    let why = run_local(&Sizes::<true>, &files).unwrap_err().message;
    assert_eq!(why, "2: x: it has an x");
}

#[test]
fn rows_of_a_map_alone_are_in_the_order_of_the_input() {
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let files = [file("1", "b c"), file("2", "a"), file("3", "d x e"), file("4", ""), file("5", "f")];
    let ran = block_on(engine(Registry::default().with_map_only::<Letters>(), &files, 2, None));
    let rows = |part: &Vec<RecordBatch>| {
        let letters = part.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten());
        letters.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ran.parts.iter().map(rows).collect::<Vec<_>>(), [vec!["b", "c", "a"], vec![], vec!["f"]]);
    let quarantined: Vec<_> = ran.outputs[0].iter().flat_map(|output| &output.quarantined).collect();
    assert_eq!(quarantined.iter().map(|verdict| &*verdict.key).collect::<Vec<_>>(), ["3"]);
    let counted: Vec<_> = ran.outputs[0].iter().map(|output| output.counters.get("letters")).collect();
    assert_eq!(counted, [Some(3), None, Some(1)], "what the third file counted went with it");
    let fit: Vec<_> = files.into_iter().filter(|(name, _)| name != "3").collect();
    let local = run_map_only(&Letters, &fit).unwrap();
    assert_eq!(local.into_iter().map(|(letter,)| letter).collect::<Vec<_>>(), ["b", "c", "a", "f"]);
}

#[test]
fn what_a_user_gets_wrong_is_said_when_it_is_planned() {
    let registry = Registry::default().with_map_reduce::<Sizes<false>>();
    let job = registry.find("sizes").unwrap();
    let planned = |name: &str, value| {
        let spec = JobSpec {
            job: "sizes".into(),
            input: "file:///in/".into(),
            output: "file:///out/".into(),
            mode: Mode::Fail,
            format: Default::default(),
            input_list: None,
            adopt: false,
            params: Params::from([(name.to_owned(), value)]),
            limits: Limits::default(),
            split: SplitSettings::default(),
            shuffle: Default::default(),
        };
        job.plan(&spec, &[])
    };
    let text = |text: &str| ParamValue::List(vec![ParamValue::Text(text.into())]);
    assert_eq!(planned("extensions", text(".TXT")).unwrap().filter.extensions, ["txt"]);
    for (name, value) in [("partitions", ParamValue::Integer(0)), ("extensions", text("")), ("extensions", text("a/b"))]
    {
        assert_eq!(planned(name, value).unwrap_err().param, name);
    }
}
