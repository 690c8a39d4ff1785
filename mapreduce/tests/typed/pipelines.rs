//! Pipelines of typed stages on the engine, task by task, against the same pipelines in one thread.

use crate::engine::{Wanted, block_on, run};
use mr_core::{Failure, ParamValue, Params, ShuffleSettings, SplitSettings};
use mr_mapreduce::{
    Emit, Given, Keeps, Kept, Line, Lines, MapOnly, MapReduce, Mapped, ObjectRecord, Objects, ParamError, ParamKind,
    ParamSpec, Pipeline, RecordError, Reduced, Registry, Row, Rows, Stage, Stages, Values, run_pipeline,
};
use proptest::prelude::*;

/// How often there is each word, and where lines begin.
struct Words;

impl MapReduce for Words {
    const NAME: &str = "words";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["word", "count"];
    type Input = Lines;
    type Key = String;
    type Value = u64;
    type Row = (String, u64);
    const COMBINES: bool = true;

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    fn combine(&self, sum: &mut u64, more: u64) {
        *sum += more;
    }

    fn map(&self, line: Line<'_>, out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        line.text().split_whitespace().for_each(|word| out.emit(word, 1));
        let words = line.text().split_whitespace().map(str::to_owned).collect();
        out.keep((line.key.to_owned(), line.offset, Some(words).filter(|words: &Vec<_>| !words.is_empty())))
    }

    fn reduce(&self, word: String, counts: Values<'_, u64>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((word, counts.sum()))
    }
}

impl Keeps for Words {
    type Kept = (String, u64, Option<Vec<String>>);
    const KEPT: &[&str] = &["path", "offset", "words"];
}

/// All words, and how many different ones.
struct Total;

impl MapReduce for Total {
    const NAME: &str = "total";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["all", "different"];
    type Input = Reduced<Words>;
    type Key = u8;
    type Value = (u64, u64);
    type Row = (u64, u64);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    fn map(&self, (_, count): (String, u64), out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        out.emit(0, (count, 1));
        Ok(())
    }

    fn reduce(&self, _: u8, counts: Values<'_, (u64, u64)>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        let (all, different) = counts.fold((0, 0), |(all, different), (count, one)| (all + count, different + one));
        out.side_file("total/all.txt", all.to_string())?;
        out.row((all, different))
    }
}

/// The share of each word, of at least so many.
struct Shares {
    least: i64,
    all: u64,
}

impl MapOnly for Shares {
    const NAME: &str = "shares";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["word", "share"];
    type Input = Reduced<Words>;
    type Row = (String, f64);

    fn params() -> Vec<ParamSpec> {
        let default = Some(ParamValue::Integer(1));
        vec![ParamSpec { name: "least", kind: ParamKind::Integer, default, help: "" }]
    }

    fn open(params: &Params) -> Result<Self, ParamError> {
        match params.get("least") {
            Some(ParamValue::Integer(least @ 0..)) => Ok(Self { least: *least, all: 0 }),
            _ => Err(ParamError::new("least", "should be at least 0")),
        }
    }

    fn receive(&mut self, given: &Given<'_>) -> Result<(), Failure> {
        self.all = given.reduced::<Total>()?.first().map_or(0, |(all, _)| *all);
        Ok(())
    }

    fn map(&self, (word, count): (String, u64), out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        if count as i64 >= self.least {
            out.count("kept", 1);
            out.row((word, count as f64 / self.all as f64))?;
        }
        Ok(())
    }
}

/// Words by their length with their shares, and how many different words there are.
struct Lengths {
    different: u64,
}

impl MapReduce for Lengths {
    const NAME: &str = "lengths";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["length", "words"];
    type Input = Mapped<Shares>;
    type Key = u32;
    type Value = String;
    type Row = (u32, Vec<String>);
    const COMBINES: bool = true;

    fn open(params: &Params) -> Result<Self, ParamError> {
        assert!(!params.contains_key("least"), "it is another stage's");
        Ok(Self { different: 0 })
    }

    fn receive(&mut self, given: &Given<'_>) -> Result<(), Failure> {
        self.different = given.reduced::<Total>()?.first().map_or(0, |(_, different)| *different);
        Ok(())
    }

    fn combine(&self, words: &mut String, more: String) {
        assert!(self.different > 0, "there are words, and it was given how many");
        words.push('\n');
        words.push_str(&more);
    }

    fn map(&self, (word, share): (String, f64), out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        out.emit(word.chars().count() as u32, format!("{word} {share:.3}"));
        Ok(())
    }

    fn reduce(&self, length: u32, words: Values<'_, String>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        let mut all: Vec<_> = words.flat_map(|words| words.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        all.sort();
        all.push(format!("of {}", self.different));
        out.row((length, all))
    }
}

/// Counts words, adds them up, divides by that, and groups what comes of it.
struct ByLength;

impl Pipeline for ByLength {
    const NAME: &str = "by-length";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    type Row = (u32, Vec<String>);

    fn stages(stages: &mut Stages) -> Stage<'_, Self::Row> {
        stages.map_reduce::<Words>();
        stages.map_reduce::<Total>();
        stages.map_only::<Shares>().given::<Total>();
        stages.map_reduce::<Lengths>().given::<Total>()
    }
}

/// Where lines begin whose first word occurs but once.
struct Rare {
    rare: Vec<String>,
}

impl MapOnly for Rare {
    const NAME: &str = "rare";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["path", "offset"];
    type Input = Kept<Words>;
    type Row = (String, u64);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self { rare: Vec::new() })
    }

    fn receive(&mut self, given: &Given<'_>) -> Result<(), Failure> {
        let words = given.reduced::<Words>()?;
        self.rare = words.into_iter().filter(|(_, count)| *count == 1).map(|(word, _)| word).collect();
        Ok(())
    }

    fn map(
        &self,
        (path, offset, words): (String, u64, Option<Vec<String>>),
        out: &mut Rows<Self::Row>,
    ) -> Result<(), Failure> {
        match words.iter().flatten().next() {
            Some(first) if self.rare.contains(first) => out.row((path, offset)),
            _ => Ok(()),
        }
    }
}

struct RareLines;

impl Pipeline for RareLines {
    const NAME: &str = "rare-lines";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    type Row = (String, u64);

    fn stages(stages: &mut Stages) -> Stage<'_, Self::Row> {
        stages.map_reduce::<Words>();
        stages.map_only::<Rare>().given::<Words>()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_engine_makes_the_bytes_that_one_thread_makes(
        texts in prop::collection::vec("[abc\u{e4} \n]{0,60}", 1..6),
        objects_max in 1u32..4,
        bytes_max in prop_oneof![Just(u64::MAX), 1u64..40],
        partitions in 1i64..4,
        fan_in in 2u32..4,
        memory_bytes_max in prop_oneof![Just(256u64 << 20), 0u64..2000],
        least in 0i64..3,
    ) {
        let files: Vec<_> =
            texts.into_iter().enumerate().map(|(n, text)| (format!("{n}.txt"), text.into_bytes())).collect();
        let wanted = Wanted {
            split: SplitSettings { objects_max, bytes_max },
            shuffle: ShuffleSettings { memory_bytes_max },
            params: Params::from([
                ("partitions".into(), ParamValue::Integer(partitions)),
                ("least".into(), ParamValue::Integer(least)),
            ]),
            fan_in: Some(fan_in),
        };
        let ran = block_on(run(Registry::default().with_pipeline::<ByLength>(), &files, &wanted));
        prop_assert_eq!(ran.files.len(), partitions as usize);
        let rows = ran.told.parts.iter().flatten().any(|batch| batch.num_rows() > 0);
        prop_assert!(!rows || ran.told.side.contains_key("total/all.txt"));
        block_on(run(Registry::default().with_pipeline::<RareLines>(), &files, &wanted));
    }
}

#[test]
fn a_pipelines_first_test_is_three_lines() {
    let rows = run_pipeline::<ByLength>(&Params::new(), &[("a.txt", "to be or\nnot to be"), ("b.txt", "whether")]);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let expected = [
        (2, texts(&["be 0.286", "or 0.143", "to 0.286", "of 5"])),
        (3, texts(&["not 0.143", "of 5"])),
        (7, texts(&["whether 0.143", "of 5"])),
    ];
    assert_eq!(rows.unwrap(), expected);
    let least = Params::from([("least".to_owned(), ParamValue::Integer(2))]);
    let rows = run_pipeline::<ByLength>(&least, &[("a.txt", "to be or\nnot to be")]).unwrap();
    assert_eq!(rows, [(2, texts(&["be 0.333", "to 0.333", "of 4"]))]);
    let unknown = Params::from([("leest".to_owned(), ParamValue::Integer(2))]);
    let refused = run_pipeline::<ByLength>(&unknown, &[("a.txt", "")]).unwrap_err();
    assert_eq!(refused.message, "`by-length` has no parameter `leest`");
    let least = Params::from([("least".to_owned(), ParamValue::Integer(-1))]);
    let refused = run_pipeline::<ByLength>(&least, &[("a.txt", "")]).unwrap_err();
    assert_eq!(refused.message, "`params.least`: should be at least 0");
    // No words at all: rows of no rows.
    assert_eq!(run_pipeline::<ByLength>(&Params::new(), &[("a.txt", "")]).unwrap(), []);
    let rare = run_pipeline::<RareLines>(&Params::new(), &[("a.txt", "to be\nor\n\nto be")]).unwrap();
    assert_eq!(rare, [("a.txt".to_owned(), 6)]);
}

/// Forgets to say what a stage is given.
struct Forgotten;

impl Pipeline for Forgotten {
    const NAME: &str = "forgotten";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    type Row = (String, u64);

    fn stages(stages: &mut Stages) -> Stage<'_, Self::Row> {
        stages.map_reduce::<Words>();
        stages.map_only::<Rare>()
    }
}

#[test]
fn a_stage_that_asks_for_what_it_is_not_given_fails_with_a_sentence() {
    let failed = run_pipeline::<Forgotten>(&Params::new(), &[("a.txt", "to be")]).unwrap_err();
    assert_eq!(failed.message, "stage `rare-map` asks for the rows of `words`, which it is not `given`");
}

/// Sizes of objects, and their names as what it keeps. An `x` sets its object aside, after it has kept one.
struct Sizes;

impl MapReduce for Sizes {
    const NAME: &str = "sizes";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["bytes"];
    type Input = Objects;
    type Key = ();
    type Value = u64;
    type Row = (u64,);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    fn map(&self, object: &ObjectRecord, out: &mut Emit<'_, Self>) -> Result<(), RecordError> {
        out.keep((object.key.clone(),))?;
        out.emit((), object.bytes.len() as u64);
        match object.bytes.contains(&b'x') {
            true => Err(RecordError::Quarantine { class: "x", message: "it has an x".into() }),
            false => Ok(()),
        }
    }

    fn reduce(&self, (): (), bytes: Values<'_, u64>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((bytes.sum(),))
    }
}

impl Keeps for Sizes {
    type Kept = (String,);
    const KEPT: &[&str] = &["key"];
}

/// Names of objects with the size of all.
struct Named(u64);

impl MapOnly for Named {
    const NAME: &str = "named";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    const COLUMNS: &[&str] = &["key", "all"];
    type Input = Kept<Sizes>;
    type Row = (String, u64);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self(0))
    }

    fn receive(&mut self, given: &Given<'_>) -> Result<(), Failure> {
        self.0 = given.reduced::<Sizes>()?.into_iter().map(|(bytes,)| bytes).sum();
        Ok(())
    }

    fn map(&self, (key,): (String,), out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((key, self.0))
    }
}

struct WithSizes;

impl Pipeline for WithSizes {
    const NAME: &str = "with-sizes";
    const VERSION: u32 = 1;
    const ABOUT: &str = "";
    type Row = (String, u64);

    fn stages(stages: &mut Stages) -> Stage<'_, Self::Row> {
        stages.map_reduce::<Sizes>();
        stages.map_only::<Named>().given::<Sizes>()
    }
}

#[test]
fn what_is_kept_of_an_object_goes_with_it_when_it_is_set_aside() {
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let files = [file("a", "one"), file("b", "x"), file("c", "three"), file("d", "xx")];
    let wanted = Wanted { split: SplitSettings { objects_max: 3, ..Default::default() }, ..Wanted::default() };
    let ran = block_on(run(Registry::default().with_pipeline::<WithSizes>(), &files, &wanted));
    let rows = ran.told.parts.iter().flatten().flat_map(|batch| <(String, u64)>::read(batch).unwrap());
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows, [("a".to_owned(), 8), ("c".to_owned(), 8)]);
    let aside: Vec<_> = ran.told.set_aside.iter().map(|(key, class, _)| (key.as_str(), *class)).collect();
    assert_eq!(aside, [("b", "x"), ("d", "x")]);
}
