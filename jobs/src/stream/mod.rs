//! `stream`: any program as a mapper or reducer, in the manner of Hadoop Streaming.
//!
//! The map program is given lines of text and prints lines of a key, a tab and a value; the reduce program is given such lines
//! sorted by their keys, those of one key together, and prints others of the kind, which are the result. One process serves
//! a whole task. Programs and what they need lie with the job file and travel to the workers, known by their content.

mod complaints;
mod files;
mod lines;
mod program;
mod rows;

use arrow::array::RecordBatch;
use complaints::Complaints;
use files::Shipped;
use lines::{Fields, fields};
use mr_core::{Cut, Failure, JobPlan, JobSpec, ParamValue, Params, Source, StagePlan};
use mr_mapreduce::{
    Attempt, Broadcast, BroadcastSource, Content, Context, Job, Lines, MapOutput, Mapper, ObjectRecord, ParamError,
    ParamKind, ParamSpec, RecordError, ReduceOutput, Reducer, StageCode, ValueSource, plans,
};
use program::{Process, Program};
use rows::Pairs;
use std::sync::Arc;
use std::time::Duration;

const MAP: &str = "map";
const REDUCE: &str = "reduce";
const IDLE: &str = "idle_seconds_max";
const IDLE_SECONDS: i64 = 600;

/// A stage of the job and its parameters.
struct Half {
    stage: &'static str,
    command: &'static str,
    files: &'static str,
}

const HALVES: [Half; 2] = [
    Half { stage: MAP, command: "map.command", files: "map.files" },
    Half { stage: REDUCE, command: "reduce.command", files: "reduce.files" },
];

pub struct Stream;

impl Half {
    fn of(stage: &str) -> &'static Self {
        &HALVES[usize::from(stage == REDUCE)]
    }

    /// The program and its arguments; none if there is no such half.
    fn command(&self, params: &Params) -> Result<Option<Vec<String>>, ParamError> {
        let wrong = || ParamError::new(self.command, "should name a program, such as [\"python3\", \"mapper.py\"]");
        match params.get(self.command) {
            None => Ok(None),
            Some(value) => match texts(value) {
                Some(words) if words.first().is_some_and(|program| !program.is_empty()) => Ok(Some(words)),
                Some(_) | None => Err(wrong()),
            },
        }
    }

    fn files(&self, params: &Params) -> Result<Vec<String>, ParamError> {
        let wrong = || ParamError::new(self.files, "should be a list of files");
        params.get(self.files).map_or(Ok(Vec::new()), |value| texts(value).ok_or_else(wrong))
    }
}

fn texts(value: &ParamValue) -> Option<Vec<String>> {
    let ParamValue::List(items) = value else { return None };
    let text = |item: &ParamValue| match item {
        ParamValue::Text(text) => Some(text.clone()),
        _ => None,
    };
    items.iter().map(text).collect()
}

impl Job for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn version(&self) -> u32 {
        1
    }

    fn about(&self) -> &'static str {
        "Any programs as mapper and reducer: lines in, lines of a key, a tab and a value out"
    }

    fn params(&self) -> Vec<ParamSpec> {
        let list = |name, help| ParamSpec { name, kind: ParamKind::TextList, default: None, help };
        vec![
            plans::extensions_param(&[]),
            plans::partitions_param(),
            ParamSpec {
                name: IDLE,
                kind: ParamKind::Integer,
                default: Some(ParamValue::Integer(IDLE_SECONDS)),
                help: "seconds that a program may take without reading or printing anything",
            },
            list("map.command", "the program that is given lines and prints key, tab and value"),
            list("map.files", "files that it needs, from where the job file is"),
            list("reduce.command", "the program that is given those sorted by key; without it, they are the result"),
            list("reduce.files", "files that it needs"),
        ]
    }

    fn broadcasts(&self, params: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        let [map, reduce] = &HALVES;
        if map.command(params)?.is_none() {
            let missing = "is missing; say what to run: [map] and below it command = [\"python3\", \"mapper.py\"]";
            return Err(ParamError::new(map.command, missing));
        }
        if reduce.command(params)?.is_none() && !reduce.files(params)?.is_empty() {
            return Err(ParamError::new(reduce.files, "has files for a program that there is not: say reduce.command"));
        }
        let mut sources = Vec::new();
        for half in &HALVES {
            let mut names = Vec::new();
            for path in half.files(params)? {
                let name = files::name(&path).map_err(|why| ParamError::new(half.files, why))?;
                if names.contains(&name) {
                    return Err(ParamError::new(half.files, format!("has two files named {name}")));
                }
                sources.push(BroadcastSource {
                    name: format!("{}/{name}", half.stage),
                    content: Content::Beside(path),
                    sha256: None,
                    param: half.files,
                    sha256_param: half.files,
                });
                names.push(name);
            }
        }
        Ok(sources)
    }

    fn plan(&self, spec: &JobSpec, broadcasts: &[Broadcast]) -> Result<JobPlan, ParamError> {
        idle(&spec.params)?;
        let partitions = plans::partitions(&spec.params)?;
        let stage = |half: &Half, source| StagePlan {
            params: Some(vec![half.command.to_owned()]),
            ..plans::stage(half.stage, source, self)
        };
        let [map, reduce] = &HALVES;
        let mut stages = vec![stage(map, Source::Input)];
        if reduce.command(&spec.params)?.is_some() {
            stages.push(stage(
                reduce,
                Source::Emitted { stage: MAP.to_owned(), partitions, fan_in: plans::wide_fan_in(spec) },
            ));
        }
        // With a reduce, what the map prints is sent on instead of being the result.
        let mut plan = plans::plan(self, spec, stages)?;
        for half in &HALVES {
            // What they hold shapes the data, and not where they lay.
            plan.footer.remove(&format!("mr.params.{}", half.files));
        }
        plan.footer.remove(&format!("mr.params.{IDLE}"));
        for Broadcast { name, blob, .. } in broadcasts {
            plan.footer.insert(format!("mr.files.{name}"), blob.sha256.clone());
        }
        plan.broadcasts = plans::broadcasts(broadcasts);
        plan.cut = Cut::Lines;
        Ok(plan)
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        let unfit = |error: ParamError| Failure::permanent(error.to_string());
        let half = Half::of(context.stage);
        let command = half.command(context.params).map_err(unfit)?;
        let command = command.ok_or_else(|| Failure::permanent("the plan has a stage without its program"))?;
        let of_half = |broadcast: &&Broadcast| broadcast.name.starts_with(&format!("{}/", half.stage));
        let files = Shipped::unpack(context.scratch, context.broadcasts.iter().filter(of_half))?;
        let reduces = HALVES[1].command(context.params).map_err(unfit)?.is_some();
        let idle = idle(context.params).map_err(unfit)?;
        let emits = half.stage == MAP && reduces;
        Ok(Arc::new(Code { program: Program { half: half.stage, command, files, idle }, emits }))
    }
}

fn idle(params: &Params) -> Result<Duration, ParamError> {
    match params.get(IDLE) {
        None => Ok(Duration::from_secs(IDLE_SECONDS as u64)),
        Some(ParamValue::Integer(seconds @ 1..)) => Ok(Duration::from_secs(*seconds as u64)),
        Some(_) => Err(ParamError::new(IDLE, "should be at least 1")),
    }
}

struct Code {
    program: Program,
    /// What the map prints goes to a reduce.
    emits: bool,
}

impl StageCode for Code {
    /// It is fed ahead, so whatever takes it long was given to it before. `idle_seconds_max` is for that.
    fn records_have_deadline(&self) -> bool {
        false
    }

    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(Running::new(self)))
    }

    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Ok(Box::new(Running::new(self)))
    }
}

/// Bytes that are given to a program at a time.
const FED: usize = 64 << 10;

/// The program of a task, and what is on its way to it and from it.
struct Running<'a> {
    code: &'a Code,
    process: Option<Process>,
    rows: Pairs,
    buffer: Vec<u8>,
}

/// Where what a program prints goes.
trait Out {
    fn attempt(&mut self) -> &mut Attempt;

    fn keep_rows(&mut self, rows: RecordBatch);

    /// A line that it has printed.
    fn line(&mut self, code: &Code, line: &[u8], rows: &mut Pairs) -> Result<(), Failure>;
}

/// A line that becomes a row.
fn kept(out: &mut impl Out, code: &Code, line: &[u8], rows: &mut Pairs) -> Result<(), Failure> {
    if let Some(batch) = rows.push(fields(line)).map_err(|why| code.program.wrong(&why))? {
        out.keep_rows(batch);
    }
    Ok(())
}

impl Out for MapOutput {
    fn attempt(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    fn keep_rows(&mut self, rows: RecordBatch) {
        self.keep(rows);
    }

    fn line(&mut self, code: &Code, line: &[u8], rows: &mut Pairs) -> Result<(), Failure> {
        if !code.emits {
            return kept(self, code, line, rows);
        }
        let Fields { key, value } = fields(line);
        self.emit(key, value.ok_or_else(|| code.program.no_tab(line))?);
        Ok(())
    }
}

impl Out for ReduceOutput {
    fn attempt(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    fn keep_rows(&mut self, rows: RecordBatch) {
        self.keep(rows);
    }

    fn line(&mut self, code: &Code, line: &[u8], rows: &mut Pairs) -> Result<(), Failure> {
        kept(self, code, line, rows)
    }
}

impl<'a> Running<'a> {
    fn new(code: &'a Code) -> Self {
        Self { code, process: None, rows: Pairs::default(), buffer: Vec::new() }
    }

    /// Adds a line to what the program is given next.
    fn push(&mut self, parts: &[&[u8]], out: &mut impl Out) -> Result<(), Failure> {
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        self.buffer.push(b'\n');
        if self.buffer.len() >= FED { self.feed(out) } else { Ok(()) }
    }

    /// Gives the program what there is for it, and takes what it has printed.
    fn feed(&mut self, out: &mut impl Out) -> Result<(), Failure> {
        let Self { code, process, rows, buffer } = self;
        let process = Process::running(process, &code.program, out.attempt())?;
        process.feed(std::mem::take(buffer), &mut |line| out.line(code, line, rows))
    }

    /// After the last line.
    fn end(&mut self, out: &mut impl Out) -> Result<(), Failure> {
        self.feed(out)?;
        let Self { code, process, rows, .. } = self;
        let process = process.take().expect("it was fed");
        let Complaints { last, counters } = process.end(&mut |line| out.line(code, line, rows))?;
        out.attempt().log(&last);
        counters.iter().for_each(|(name, by)| out.attempt().count(name, by));
        if !code.emits {
            out.keep_rows(rows.rest());
        }
        Ok(())
    }
}

impl Mapper for Running<'_> {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        Lines::of(object, |line| self.push(&[line.bytes], out))
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.end(out)
    }
}

impl Reducer for Running<'_> {
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure> {
        while let Some(value) = values.next()? {
            self.push(&[key, b"\t", value], out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut ReduceOutput) -> Result<(), Failure> {
        self.end(out)
    }
}
