//! Typed stages as the engine runs them: the plan of them, and the code of each.

use crate::broadcast::Broadcast;
use crate::job::{BroadcastSource, Context, Job, StageCode};
use crate::params::{ParamError, ParamSpec};
use crate::plans;
use crate::typed::input::{Named, Reads};
use crate::typed::keep::Keeper;
use crate::typed::pipeline::{Opening, Pipeline, Stages, Step};
use crate::typed::{MapOnly, MapReduce};
use mr_core::{Cut, Failure, JobPlan, JobSpec, Params, Source, StagePlan, sha256_hex};
use std::sync::Arc;

/// Runs that are merged at a time.
const FAN_IN: u32 = 64;
/// Tasks whose rows one of a later stage reads. Rows that were split by their keys are many already.
const TASKS_PER_TASK: (u32, u32) = (1, 64);

/// The engine's face of typed stages.
pub(crate) struct TypedJob {
    name: &'static str,
    version: u32,
    about: &'static str,
    /// Whether its stages are named by their jobs; one alone has no name of its own.
    is_pipeline: bool,
    cut: Cut,
    params: Vec<ParamSpec>,
    steps: Vec<Step>,
}

/// What the plan of a pipeline calls the map of a job.
fn map_of(job: &str) -> String {
    format!("{job}-map")
}

/// The same of its reduce.
pub(super) fn reduce_of(job: &str) -> String {
    format!("{job}-reduce")
}

impl TypedJob {
    /// # Errors
    /// A sentence about what the job's author has to put right.
    pub fn of_map_reduce<J: MapReduce>() -> Result<Self, String> {
        let mut stages = Stages(Vec::new());
        stages.map_reduce::<J>();
        Self::of((J::NAME, J::VERSION, J::ABOUT), stages, false)
    }

    /// # Errors
    /// A sentence about what the job's author has to put right.
    pub fn of_map_only<J: MapOnly>() -> Result<Self, String> {
        let mut stages = Stages(Vec::new());
        stages.map_only::<J>();
        Self::of((J::NAME, J::VERSION, J::ABOUT), stages, false)
    }

    /// # Errors
    /// A sentence about what the job's author has to put right.
    pub fn of_pipeline<P: Pipeline>() -> Result<Self, String> {
        let mut stages = Stages(Vec::new());
        P::stages(&mut stages);
        Self::of((P::NAME, P::VERSION, P::ABOUT), stages, true)
    }

    fn of(
        (name, version, about): (&'static str, u32, &'static str),
        Stages(steps): Stages,
        is_pipeline: bool,
    ) -> Result<Self, String> {
        for (place, step) in steps.iter().enumerate() {
            step.columns.clone().map_err(|why| format!("stage `{}`: {why}", step.job.name))?;
            check_place(step, &steps[..place], &steps[place + 1..])?;
        }
        let (cut, extensions) = input(&steps)?;
        let params = params(&steps, extensions)?;
        let version = if is_pipeline { with_stages(version, &steps) } else { version };
        Ok(Self { name, version, about, is_pipeline, cut, params, steps })
    }

    fn map_name(&self, step: &Step) -> String {
        if self.is_pipeline { map_of(step.job.name) } else { "map".to_owned() }
    }

    fn reduce_name(&self, step: &Step) -> String {
        if self.is_pipeline { reduce_of(step.job.name) } else { "reduce".to_owned() }
    }

    /// Whether later stages are given its rows.
    fn gives(&self, step: &Step) -> bool {
        self.steps.iter().any(|other| other.given.iter().any(|given| given.is(step.job)))
    }

    /// What keeps the rows of its map, if a later stage reads them.
    fn keeper(&self, step: &Step) -> Option<Keeper> {
        self.steps.iter().find_map(|other| match other.reads {
            Reads::Kept(job, keeper) if job.is(step.job) => Some(keeper),
            Reads::Input(_) | Reads::Reduced(_) | Reads::Mapped(_) | Reads::Kept(..) => None,
        })
    }
}

/// The version of a pipeline with those of its stages: its own while they are all the first, and otherwise a number that no
/// others come to, so that workers with one stage older and another newer are not taken for each other.
fn with_stages(version: u32, steps: &[Step]) -> u32 {
    if steps.iter().all(|step| step.version == 1) {
        return version;
    }
    let stages: String = steps.iter().map(|step| format!("\n{} {}", step.job.name, step.version)).collect();
    let digest = sha256_hex(format!("{version}{stages}").as_bytes());
    u32::from_str_radix(&digest[..8], 16).expect("it is hexadecimal") | 1 << 31
}

/// What the stages that read the input read it as, and the endings of names that it has if nothing else is said.
fn input(steps: &[Step]) -> Result<(Cut, &'static [&'static str]), String> {
    let mut readers = steps.iter().filter_map(|step| match step.reads {
        Reads::Input(cut) => Some((step.job.name, cut, step.extensions)),
        Reads::Reduced(_) | Reads::Mapped(_) | Reads::Kept(..) => None,
    });
    let (first, cut, extensions) = readers.next().ok_or("no stage reads the input")?;
    for (other, other_cut, other_extensions) in readers {
        if other_cut != cut {
            return Err(format!("stages `{first}` and `{other}` read the input as different kinds of records"));
        }
        if other_extensions != extensions {
            return Err(format!(
                "stages `{first}` and `{other}` read the same objects, and have different `EXTENSIONS`"
            ));
        }
    }
    Ok((cut, extensions))
}

impl Step {
    /// The parameters that it sees, and that what it makes depends on.
    fn own_params(&self) -> impl Iterator<Item = &'static str> {
        self.params.iter().map(|param| param.name).chain([plans::PARTITIONS])
    }

    fn own(&self, params: &Params) -> Params {
        let own = self.own_params().filter_map(|name| Some((name.to_owned(), params.get(name)?.clone())));
        own.collect()
    }
}

/// Whether it can stand between those.
fn check_place(step: &Step, before: &[Step], behind: &[Step]) -> Result<(), String> {
    let job = step.job.name;
    if before.iter().any(|other| other.job.name == job) {
        return Err(format!("two stages are named `{job}`"));
    }
    let is_read = |other: &Step| matches!(other.reads, Reads::Mapped(of) if of.is(step.job));
    if !step.reduces && !behind.is_empty() && !behind.iter().any(is_read) {
        return Err(format!("no stage reads the rows of `{job}`, and it is not the last"));
    }
    let stands =
        |wanted: Named, reduces: bool| before.iter().any(|other| other.job.is(wanted) && other.reduces == reduces);
    let (reads, reduces) = match step.reads {
        Reads::Input(_) => (None, true),
        Reads::Reduced(other) => (Some(other), true),
        Reads::Mapped(other) => (Some(other), false),
        Reads::Kept(other, Keeper { check, .. }) => {
            check().map_err(|why| format!("what `{}` keeps: {why}", other.name))?;
            (Some(other), true)
        }
    };
    if let Some(other) = reads.filter(|other| !stands(*other, reduces)) {
        return Err(format!("stage `{job}` reads rows of `{}`, which is no stage before it", other.name));
    }
    for (place, given) in step.given.iter().enumerate() {
        let name = given.name;
        if !stands(*given, true) {
            return Err(format!("stage `{job}` is given the rows of `{name}`, which is no stage before it"));
        }
        if step.given[..place].iter().any(|other| other.is(*given)) {
            return Err(format!("stage `{job}` is given the rows of `{name}` twice"));
        }
    }
    Ok(())
}

/// Those of all stages.
fn params(steps: &[Step], extensions: &[&str]) -> Result<Vec<ParamSpec>, String> {
    let mut params = vec![plans::extensions_param(extensions)];
    if steps.iter().any(|step| step.reduces) {
        params.push(plans::partitions_param());
    }
    let own = params.len();
    for (step, param) in steps.iter().flat_map(|step| step.params.iter().map(move |param| (step, param))) {
        match params.iter().position(|other| other.name == param.name) {
            None => params.push(param.clone()),
            // Several stages may ask for the same.
            Some(place) if place >= own && params[place].is_like(param) => {}
            Some(_) => {
                return Err(format!("stage `{}` has a parameter `{}` that is another's", step.job.name, param.name));
            }
        }
    }
    Ok(params)
}

impl Job for TypedJob {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn params(&self) -> Vec<ParamSpec> {
        self.params.clone()
    }

    fn broadcasts(&self, _: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        Ok(Vec::new())
    }

    fn plan(&self, spec: &JobSpec, _: &[Broadcast]) -> Result<JobPlan, ParamError> {
        let partitions = plans::partitions(&spec.params)?;
        let (group_min, group_max) = TASKS_PER_TASK;
        let mut stages = Vec::new();
        for step in &self.steps {
            // What it says of the parameters is to be heard now.
            (step.check)(&step.own(&spec.params))?;
            let map = self.map_name(step);
            let source = match step.reads {
                Reads::Input(_) => Source::Input,
                Reads::Reduced(job) => Source::Kept { stage: reduce_of(job.name), group_min, group_max },
                Reads::Mapped(job) | Reads::Kept(job, _) => {
                    Source::Kept { stage: map_of(job.name), group_min, group_max }
                }
            };
            let given: Vec<_> = step.given.iter().map(|job| reduce_of(job.name)).collect();
            let params = Some(step.own_params().map(str::to_owned).collect::<Vec<_>>());
            let stage = |name: &str, source| StagePlan {
                broadcasts_of: given.clone(),
                params: params.clone(),
                ..plans::stage(name, source, self)
            };
            stages.push(stage(&map, source));
            if step.reduces {
                let partitions = if self.gives(step) { 1 } else { partitions };
                let emitted = Source::Emitted { stage: map, partitions, fan_in: FAN_IN };
                stages.push(stage(&self.reduce_name(step), emitted));
            }
        }
        Ok(JobPlan { cut: self.cut, ..plans::plan(self, spec, stages)? })
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        let is_of = |step: &&Step| {
            context.stage == self.map_name(step) || (step.reduces && context.stage == self.reduce_name(step))
        };
        let step = self
            .steps
            .iter()
            .find(is_of)
            .ok_or_else(|| Failure::permanent(format!("`{}` has no stage `{}`", self.name, context.stage)))?;
        (step.open)(&Opening {
            context,
            params: step.own(context.params),
            keeper: self.keeper(step),
            gives: self.gives(step),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typed::{Emit, Keeps, Kept, Line, Lines, Mapped, Objects, Reduced, Row, Rows, Stage, Values};
    use crate::{ObjectRecord, ParamKind, RecordError};
    use mr_core::ParamValue;

    /// A stage with a reduce that is named so, and has that default of its parameter.
    struct Counts<const NAME: char, const DEFAULT: i64>;

    impl<const NAME: char, const DEFAULT: i64> MapReduce for Counts<NAME, DEFAULT> {
        const NAME: &str = if NAME == 'a' { "a" } else { "b" };
        const VERSION: u32 = if NAME == 'a' { 3 } else { 1 };
        const ABOUT: &str = "";
        const COLUMNS: &[&str] = &["n"];
        const EXTENSIONS: &[&str] = &["txt"];
        type Input = Lines;
        type Key = ();
        type Value = u64;
        type Row = (u64,);

        fn params() -> Vec<ParamSpec> {
            let default = Some(ParamValue::Integer(DEFAULT));
            vec![ParamSpec { name: "least", kind: ParamKind::Integer, default, help: "" }]
        }

        fn open(_: &Params) -> Result<Self, ParamError> {
            Ok(Self)
        }

        fn map(&self, _: Line<'_>, _: &mut Emit<'_, Self>) -> Result<(), Failure> {
            Ok(())
        }

        fn reduce(&self, (): (), _: Values<'_, u64>, _: &mut Rows<Self::Row>) -> Result<(), Failure> {
            Ok(())
        }
    }

    impl<const NAME: char, const DEFAULT: i64> Keeps for Counts<NAME, DEFAULT> {
        type Kept = (u64, u64);
        const KEPT: &[&str] = if DEFAULT == 0 { &["only one"] } else { &["m", "n"] };
    }

    type A = Counts<'a', 1>;

    /// A stage without one, over whatever.
    struct Over<I>(std::marker::PhantomData<fn() -> I>);

    macro_rules! over {
        ($($input:ty, $name:literal, $record:ty, $error:ty);* $(;)?) => {$(
            impl MapOnly for Over<$input> {
                const NAME: &str = $name;
                const VERSION: u32 = 1;
                const ABOUT: &str = "";
                const COLUMNS: &[&str] = &["n"];
                type Input = $input;
                type Row = (u64,);

                fn open(_: &Params) -> Result<Self, ParamError> {
                    Ok(Self(std::marker::PhantomData))
                }

                fn map(&self, _: $record, _: &mut Rows<(u64,)>) -> Result<(), $error> {
                    Ok(())
                }
            }
        )*};
    }

    over! {
        Objects, "objects", &ObjectRecord, RecordError;
        Reduced<A>, "reduced", (u64,), Failure;
        Kept<A>, "kept", (u64, u64), Failure;
        Kept<Counts<'a', 0>>, "misnamed", (u64, u64), Failure;
        Mapped<Over<Objects>>, "mapped", (u64,), Failure;
    }

    /// What is said of a pipeline of these stages.
    fn said<R: Row>(add: impl FnOnce(&mut Stages) -> Stage<'_, R>) -> Result<TypedJob, String> {
        let mut stages = Stages(Vec::new());
        add(&mut stages);
        TypedJob::of(("p", 1, ""), stages, true)
    }

    #[test]
    fn stages_that_can_not_stand_so_are_told_of() {
        let why = |made: Result<TypedJob, String>| made.err().unwrap();
        let reads = why(said(|stages| stages.map_only::<Over<Reduced<A>>>()));
        assert_eq!(reads, "stage `reduced` reads rows of `a`, which is no stage before it");
        let kind = why(said(|stages| {
            stages.map_reduce::<A>();
            stages.map_only::<Over<Mapped<Over<Objects>>>>()
        }));
        assert_eq!(kind, "stage `mapped` reads rows of `objects`, which is no stage before it");
        let twice = why(said(|stages| {
            stages.map_reduce::<A>();
            stages.map_reduce::<A>()
        }));
        assert_eq!(twice, "two stages are named `a`");
        let given = why(said(|stages| {
            stages.map_reduce::<A>();
            stages.map_only::<Over<Kept<A>>>().given::<A>().given::<A>()
        }));
        assert_eq!(given, "stage `kept` is given the rows of `a` twice");
        let unread = why(said(|stages| {
            stages.map_reduce::<A>();
            stages.map_only::<Over<Kept<A>>>();
            stages.map_only::<Over<Reduced<A>>>()
        }));
        assert_eq!(unread, "no stage reads the rows of `kept`, and it is not the last");
        // Of one name, and not of one type.
        let other = why(said(|stages| {
            stages.map_reduce::<Counts<'a', 2>>();
            stages.map_only::<Over<Reduced<A>>>()
        }));
        assert_eq!(other, "stage `reduced` reads rows of `a`, which is no stage before it");
        let given = why(said(|stages| stages.map_reduce::<A>().given::<A>()));
        assert_eq!(given, "stage `a` is given the rows of `a`, which is no stage before it");
        let cuts = why(said(|stages| {
            stages.map_reduce::<A>();
            stages.map_only::<Over<Objects>>()
        }));
        assert_eq!(cuts, "stages `a` and `objects` read the input as different kinds of records");
        let names = why(said(|stages| {
            stages.map_reduce::<Counts<'a', 0>>();
            stages.map_only::<Over<Kept<Counts<'a', 0>>>>()
        }));
        assert_eq!(names, "what `a` keeps: `KEPT` names [\"only one\"], and a row has 2 columns");
        let params = why(said(|stages| {
            stages.map_reduce::<A>();
            stages.map_reduce::<Counts<'b', 2>>()
        }));
        assert_eq!(params, "stage `b` has a parameter `least` that is another's");
        assert_eq!(why(TypedJob::of(("p", 1, ""), Stages(Vec::new()), true)), "no stage reads the input");
    }

    #[test]
    fn a_pipeline_has_the_parameters_of_its_stages_and_only_what_is_given_is_one_task() {
        let job = said(|stages| {
            stages.map_reduce::<A>();
            stages.map_reduce::<Counts<'b', 1>>().given::<A>();
            stages.map_only::<Over<Kept<A>>>()
        });
        let job = job.unwrap();
        let names: Vec<_> = job.params().into_iter().map(|param| param.name).collect();
        assert_eq!(names, ["extensions", "partitions", "least"]);
        // One stage has raised its own.
        let others = [
            said(|stages| stages.map_reduce::<A>()),
            said(|stages| {
                stages.map_reduce::<Counts<'b', 1>>();
                stages.map_reduce::<A>()
            }),
        ];
        let versions = others.map(|other| other.unwrap().version());
        assert!(job.version() > 1 << 31 && versions[0] != versions[1] && !versions.contains(&job.version()));
        assert_eq!(said(|stages| stages.map_reduce::<Counts<'b', 1>>()).unwrap().version(), 1);
        let partitions = Params::from([("partitions".into(), ParamValue::Integer(3))]);
        let spec = crate::typed::local::spec("p", partitions);
        let plan = job.plan(&spec, &[]).unwrap();
        let told = |stage: &StagePlan| match &stage.source {
            Source::Input => format!("{} <- {:?}", stage.name, stage.broadcasts_of),
            Source::Kept { stage: of, .. } => format!("{} <- {of} {:?}", stage.name, stage.broadcasts_of),
            Source::Emitted { stage: of, partitions, .. } => {
                format!("{} <- {partitions} of {of} {:?}", stage.name, stage.broadcasts_of)
            }
        };
        let expected = [
            "a-map <- []",
            "a-reduce <- 1 of a-map []",
            "b-map <- [\"a-reduce\"]",
            "b-reduce <- 3 of b-map [\"a-reduce\"]",
            "kept-map <- a-map []",
        ];
        assert_eq!(plan.stages.iter().map(told).collect::<Vec<_>>(), expected);
        assert!(plan.stages[4].writes_output && plan.stages[..4].iter().all(|stage| !stage.writes_output));
        assert_eq!(plan.cut, Cut::Lines);
    }
}
