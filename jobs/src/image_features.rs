//! `image-features`: every photo becomes MobileNetV2 features, and a PCA is fitted over all of them.
//!
//! - `embed` maps each photo to its features, which it keeps with the photo's path, label and size, and emits the
//!   moments of its split (or its features, where those are shorter).
//! - `fit` merges the moments in a tree of fixed shape and takes their principal components.
//! - `project` adds each photo's coordinates and writes the rows.

use crate::kernels;
use crate::label;
use arrow::array::{
    ArrayRef, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, cast::AsArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Schema};
use bytes::Bytes;
use mr_core::{
    BroadcastPlan, FRAMEWORK_VERSION, Failure, InputFilter, JobPlan, JobSpec, KernelWish, ObjectsMin, ParamValue,
    Params, Source, StagePlan,
};
use mr_linalg::{Certificate, Components, Fitted, Moments, Pca, npy};
use mr_mapreduce::{
    Broadcast, BroadcastSource, Combiner, Content, Context, Job, MapOutput, Mapper, ObjectRecord, ParamError,
    ParamKind, ParamSpec, RecordError, ReduceOutput, Reducer, RowMapper, StageCode, ValueSource, extensions,
};
use mr_vision::image::{Budget, DecodeOptions, Preparer};
use mr_vision::kernels::{Arithmetic, Kernels};
use mr_vision::{Network, Scratch, weights};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

const NAME: &str = "image-features";
/// Raised with every change that changes a result.
const VERSION: u32 = 4;

const WEIGHTS: &str = "weights";
const PRECISION: &str = "precision";
const EMBED: &str = "embed";
const FIT: &str = "fit";
const PROJECT: &str = "project";
const MOMENTS: &[u8] = b"moments";
const SUMMARY: &str = "pca/summary.json";

/// Runs that are merged at a time: the features of a split's photos, or moments of 6.6 MB each.
const FAN_IN: u32 = 8;
/// Splits whose rows share a part: with 64 photos a split, parts of 5 MB to 140 MB.
const SPLITS_PER_PART: (u32, u32) = (16, 400);

pub struct ImageFeatures {
    /// One set for each arithmetic that this process serves.
    kernels: Vec<Kernels>,
    /// By the hash of its weights, the newest last. Planning and both ends of an embedded run share it.
    networks: Mutex<Vec<(String, Arc<Network>)>>,
    /// Of this process, made by the first stage that decodes.
    budget: OnceLock<Budget>,
}

impl ImageFeatures {
    pub fn new(kernels: Vec<Kernels>) -> Self {
        Self { kernels, networks: Mutex::default(), budget: OnceLock::new() }
    }

    fn network(&self, kernels: Kernels, weights: &Broadcast) -> Result<Arc<Network>, String> {
        let mut networks = self.networks.lock().expect("no one panics while holding it");
        let same = |network: &Network, sha256: &String| network.kernels() == kernels && *sha256 == weights.blob.sha256;
        if let Some((_, network)) = networks.iter().find(|(sha256, network)| same(network, sha256)) {
            return Ok(network.clone());
        }
        let network = Network::on(kernels, &weights.bytes).map_err(|error| error.to_string())?;
        let network = Arc::new(network);
        if networks.len() == 2 {
            networks.remove(0);
        }
        networks.push((weights.blob.sha256.clone(), network.clone()));
        Ok(network)
    }
}

impl Job for ImageFeatures {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn about(&self) -> &'static str {
        "MobileNetV2 features of photos, and their principal components"
    }

    fn params(&self) -> Vec<ParamSpec> {
        param_specs()
    }

    fn no_text(&self) -> Option<&'static str> {
        Some("`features` and `pca` are lists")
    }

    /// From the start of the job to its commit, with two slots.
    fn usual_speed(&self) -> Option<(f64, &'static str)> {
        Some((
            148.0,
            "photos of 100 x 100 pixels on AMD EPYC (Zen 4, AVX-512), `docs/benchmarks.md`; larger ones take longer",
        ))
    }

    fn broadcasts(&self, params: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        let settings = Settings::read(params)?;
        let content = match settings.weights.as_str() {
            "builtin" => Content::BuiltIn(weights::BUILTIN),
            url => Content::Url(url.to_owned()),
        };
        let sha256 = settings.weights_sha256;
        let (param, sha256_param) = (WEIGHTS, "weights_sha256");
        Ok(vec![BroadcastSource { name: WEIGHTS.into(), content, sha256, param, sha256_param }])
    }

    fn plan(&self, spec: &JobSpec, broadcasts: &[Broadcast]) -> Result<JobPlan, ParamError> {
        let settings = Settings::read(&spec.params)?;
        let weights = broadcasts
            .iter()
            .find(|broadcast| broadcast.name == WEIGHTS)
            .ok_or_else(|| ParamError::new(WEIGHTS, "no weights were read"))?;
        // Any would do to check the file; the one that will be used is then there already.
        let wanted = |kernels: &&Kernels| settings.precision.arithmetics()[0] == kernels.arithmetic();
        let kernels = self.kernels.iter().find(wanted).unwrap_or(&self.kernels[0]);
        let network = self.network(*kernels, weights).map_err(|error| ParamError::new(WEIGHTS, error))?;
        if let Components::Count(count) = settings.components
            && count > network.features()
        {
            let most = network.features();
            return Err(ParamError::new("components", format!("{count} is more than the {most} features of a photo")));
        }
        // Weights are known by their bytes, the precision by the kernel family, and extensions by the listing.
        let stage = |name: &str, source, broadcasts_of: &[&str], params: &[&str]| StagePlan {
            name: name.into(),
            source,
            broadcasts_of: broadcasts_of.iter().map(|name| (*name).to_owned()).collect(),
            writes_output: name == PROJECT,
            one_row_per_record: name != FIT,
            params: Some(params.iter().map(|name| (*name).to_owned()).collect()),
        };
        let (group_min, group_max) = SPLITS_PER_PART;
        Ok(JobPlan {
            spec: spec.clone(),
            job_version: VERSION,
            filter: InputFilter { extensions: settings.extensions.clone() },
            cut: mr_core::Cut::Nowhere,
            objects_min: Some(objects_min(settings.components)),
            keys: None,
            kernels: settings.precision.wish(),
            broadcasts: vec![BroadcastPlan { name: WEIGHTS.into(), blob: weights.blob.clone() }],
            stages: vec![
                stage(EMBED, Source::Input, &[], &["label", "exif_orientation", "decode"]),
                stage(
                    FIT,
                    Source::Emitted { stage: EMBED.into(), partitions: 1, fan_in: FAN_IN },
                    &[],
                    &["components"],
                ),
                stage(PROJECT, Source::Kept { stage: EMBED.into(), group_min, group_max }, &[FIT], &[]),
            ],
            footer: settings.footer(spec, &weights.blob.sha256),
        })
    }

    fn restore(&self, stage: &str, side: &BTreeMap<String, Bytes>) -> Result<Option<Bytes>, Failure> {
        match stage {
            FIT => Ok(Some(restored(side)?.to_bytes().into())),
            _ => Ok(None),
        }
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        let settings = Settings::read(context.params).map_err(|error| Failure::permanent(error.to_string()))?;
        match context.stage {
            EMBED => {
                let of_family = |set: &&Kernels| kernels::family(**set) == context.kernel_family;
                let kernels = self.kernels.iter().find(of_family).ok_or_else(|| {
                    Failure::permanent(format!("there are no kernels of family `{}` here", context.kernel_family)) //
                })?;
                let network = self.network(*kernels, context.broadcast(WEIGHTS)?);
                let network = network.map_err(|error| Failure::permanent(format!("reading the weights: {error}")))?;
                let budget = self.budget.get_or_init(|| Budget::new(context.decode_budget_bytes)).clone();
                Ok(Arc::new(Embed { settings, network, budget }))
            }
            FIT => Ok(Arc::new(Fit { components: settings.components })),
            PROJECT => {
                let pca = Pca::from_bytes(&context.broadcast(FIT)?.bytes);
                let pca = pca.map_err(|error| Failure::permanent(format!("reading the PCA: {error}")))?;
                Ok(Arc::new(Project { pca }))
            }
            other => Err(Failure::permanent(format!("`{NAME}` has no stage `{other}`"))),
        }
    }
}

fn param_specs() -> Vec<ParamSpec> {
    let texts = |items: &[&str]| ParamValue::List(items.iter().map(|s| ParamValue::Text((*s).into())).collect());
    vec![
        ParamSpec {
            name: "extensions",
            kind: ParamKind::TextList,
            default: Some(texts(&label::PHOTOS)),
            help: "names that are photos end in one of these, in any case; other objects are counted as skipped",
        },
        label::param(),
        ParamSpec {
            name: WEIGHTS,
            kind: ParamKind::Text,
            default: Some(ParamValue::Text("builtin".into())),
            help: "`builtin`, or a path, file://, s3:// or https:// of a MobileNetV2 as an ONNX file",
        },
        ParamSpec {
            name: "weights_sha256",
            kind: ParamKind::Text,
            default: None,
            help: "SHA-256 that the weights must have, in hexadecimal",
        },
        ParamSpec {
            name: "components",
            kind: ParamKind::Number,
            default: Some(ParamValue::Integer(50)),
            help: "an integer is how many principal components, a number between 0 and 1 the share of the variance",
        },
        ParamSpec {
            name: "exif_orientation",
            kind: ParamKind::Bool,
            default: Some(ParamValue::Bool(false)),
            help: "whether to turn photos as their EXIF orientation says",
        },
        ParamSpec {
            name: "decode",
            kind: ParamKind::Text,
            default: Some(ParamValue::Text("exact".into())),
            help: "`exact`, or `scaled`: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, several times as fast",
        },
        ParamSpec {
            name: PRECISION,
            kind: ParamKind::Text,
            default: Some(ParamValue::Text("f32".into())),
            help: "`f32`; `fast`: products of bf16 halves, on workers with AMX; or `auto`: `fast` if one is in touch",
        },
    ]
}

/// A PCA has no more components than rows, and none of a single row.
fn objects_min(components: Components) -> ObjectsMin {
    match components {
        Components::Count(count) if count > 2 => ObjectsMin {
            count: count as u64,
            why: format!("{count} components need as many photos; lower `params.components`"),
        },
        Components::Count(_) | Components::Share(_) => {
            ObjectsMin { count: 2, why: "principal components need two photos".into() }
        }
    }
}

/// The parameters, checked.
#[derive(Clone)]
struct Settings {
    extensions: Vec<String>,
    label: i64,
    weights: String,
    weights_sha256: Option<String>,
    components: Components,
    exif_orientation: bool,
    /// Whether large JPEGs are decoded at a smaller scale.
    scaled: bool,
    precision: Precision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Precision {
    F32,
    Fast,
    Auto,
}

impl Precision {
    fn arithmetics(self) -> &'static [Arithmetic] {
        match self {
            Self::F32 => &[Arithmetic::F32],
            Self::Fast => &[Arithmetic::Bf16x3],
            Self::Auto => &[Arithmetic::Bf16x3, Arithmetic::F32],
        }
    }

    fn wish(self) -> KernelWish {
        let why = match self {
            Self::F32 => {
                "`params.precision = \"f32\"` asks for f32, which every machine has unless `MR_KERNELS` takes it away"
            }
            Self::Fast => {
                "`params.precision = \"fast\"` asks for bf16x3, which takes AMX (Intel Xeon of the fourth generation or \
                 later, Linux 5.16 or later); \"auto\" would take f32 where there is none"
            }
            Self::Auto => "`params.precision = \"auto\"` takes bf16x3 or f32, and `MR_KERNELS` has taken both away",
        };
        let arithmetics = self.arithmetics().iter().map(|arithmetic| arithmetic.name().to_owned()).collect();
        KernelWish { arithmetics, why: why.to_owned() }
    }
}

impl Settings {
    /// Reads parameters that have passed their kinds; an absent one has its default.
    fn read(params: &Params) -> Result<Self, ParamError> {
        let specs = param_specs();
        let value = |name: &'static str| {
            let default = specs.iter().find(|spec| spec.name == name).and_then(|spec| spec.default.clone());
            params.get(name).cloned().or(default)
        };
        let wrong = |name, wanted: &str| Err(ParamError::new(name, format!("should be {wanted}")));
        let extensions = match value("extensions") {
            Some(ParamValue::List(items)) if !items.is_empty() => extensions("extensions", &items)?,
            _ => return wrong("extensions", "a list of endings such as \"jpg\""),
        };
        let label = label::read(params.get("label"))?;
        let weights = match value(WEIGHTS) {
            Some(ParamValue::Text(text)) if !text.trim().is_empty() => text,
            _ => return wrong(WEIGHTS, "`builtin`, a path or a URL"),
        };
        let weights_sha256 = match value("weights_sha256") {
            None => None,
            Some(ParamValue::Text(text)) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Some(text.to_ascii_lowercase())
            }
            Some(_) => return wrong("weights_sha256", "64 hexadecimal digits"),
        };
        let components = match value("components") {
            Some(ParamValue::Integer(count)) if count > 0 => Components::Count(count as usize),
            Some(ParamValue::Number(share)) if share > 0.0 && share < 1.0 => Components::Share(share),
            _ => {
                return wrong("components", "an integer from 1 (how many) or a number between 0 and 1 (which share)");
            }
        };
        let exif_orientation = match value("exif_orientation") {
            Some(ParamValue::Bool(turn)) => turn,
            _ => return wrong("exif_orientation", "true or false"),
        };
        let scaled = match value("decode") {
            Some(ParamValue::Text(how)) if how == "exact" => false,
            Some(ParamValue::Text(how)) if how == "scaled" => true,
            _ => return wrong("decode", "\"exact\" or \"scaled\""),
        };
        let precision = match value(PRECISION) {
            Some(ParamValue::Text(name)) if name == "f32" => Precision::F32,
            Some(ParamValue::Text(name)) if name == "fast" => Precision::Fast,
            Some(ParamValue::Text(name)) if name == "auto" => Precision::Auto,
            _ => return wrong(PRECISION, "\"f32\", \"fast\" or \"auto\""),
        };
        Ok(Self { extensions, label, weights, weights_sha256, components, exif_orientation, scaled, precision })
    }

    /// What shapes the rows, and nothing else: equal rows have equal footers. Of the precision the kernel family tells,
    /// which is written where rows are made.
    fn footer(&self, spec: &JobSpec, weights_sha256: &str) -> BTreeMap<String, String> {
        let components = match self.components {
            Components::Count(count) => count.to_string(),
            Components::Share(share) => share.to_string(),
        };
        let pairs = [
            ("mr.job", NAME.to_owned()),
            ("mr.job_version", VERSION.to_string()),
            ("mr.version", FRAMEWORK_VERSION.to_owned()),
            ("mr.weights_sha256", weights_sha256.to_owned()),
            ("mr.params.components", components),
            ("mr.params.decode", if self.scaled { "scaled" } else { "exact" }.to_owned()),
            ("mr.params.exif_orientation", self.exif_orientation.to_string()),
            ("mr.params.extensions", self.extensions.join(",")),
            ("mr.params.label", self.label.to_string()),
            // Moments are merged by split, so the split settings reach the last bits of the PCA.
            ("mr.split.objects_max", spec.split.objects_max.to_string()),
            ("mr.split.bytes_max", spec.split.bytes_max.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

struct Embed {
    settings: Settings,
    network: Arc<Network>,
    budget: Budget,
}

impl StageCode for Embed {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        let (height, width) = self.network.input_size();
        let options = DecodeOptions {
            exif_orientation: self.settings.exif_orientation,
            scaled_to: self.settings.scaled.then_some((width as u32, height as u32)),
        };
        Ok(Box::new(Embedder {
            stage: self,
            preparer: Preparer::new(height as u32, width as u32, options, self.budget.clone()),
            scratch: Scratch::new(),
            photos: Photos::default(),
        }))
    }
}

struct Embedder<'a> {
    stage: &'a Embed,
    preparer: Preparer,
    scratch: Scratch,
    photos: Photos,
}

/// A split's rows, column by column.
#[derive(Default)]
struct Photos {
    paths: Vec<String>,
    labels: Vec<Option<String>>,
    widths: Vec<i32>,
    heights: Vec<i32>,
    bytes: Vec<i64>,
    features: Vec<f32>,
}

impl Mapper for Embedder<'_> {
    fn map(&mut self, photo: &ObjectRecord, _: &mut MapOutput) -> Result<(), RecordError> {
        let prepared = self
            .preparer
            .prepare(&photo.bytes)
            .map_err(|error| RecordError::Quarantine { class: error.class.name(), message: error.message })?;
        let features = self.stage.network.embed(prepared.input, &mut self.scratch);
        let features = features.map_err(|error| Failure::application(format!("embedding: {error}")))?;
        let photos = &mut self.photos;
        photos.widths.push(prepared.width as i32);
        photos.heights.push(prepared.height as i32);
        photos.features.extend_from_slice(&features);
        photos.bytes.push(photo.bytes.len() as i64);
        photos.labels.push(label::label(&photo.uri, self.stage.settings.label).map(str::to_owned));
        photos.paths.push(photo.uri.clone());
        Ok(())
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        let dim = self.stage.network.features();
        let photos = std::mem::take(&mut self.photos);
        // Of no photos too: the fit can then say that there are too few.
        let moments = Moments::bytes_of_rows(dim, &photos.features);
        let moments = moments.map_err(|error| Failure::application(format!("moments of features: {error}")))?;
        out.emit(MOMENTS, moments);
        out.keep(photos.into_rows(dim)?);
        Ok(())
    }
}

impl Photos {
    fn into_rows(self, dim: usize) -> Result<RecordBatch, Failure> {
        let columns: [ArrayRef; 6] = [
            Arc::new(StringArray::from(self.paths)),
            Arc::new(StringArray::from(self.labels)),
            Arc::new(Int32Array::from(self.widths)),
            Arc::new(Int32Array::from(self.heights)),
            Arc::new(Int64Array::from(self.bytes)),
            Arc::new(list(self.features, dim)),
        ];
        let fields = vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("label", DataType::Utf8, true),
            Field::new("width", DataType::Int32, false),
            Field::new("height", DataType::Int32, false),
            Field::new("bytes", DataType::Int64, false),
            list_field("features"),
        ];
        rows(fields.into(), columns.into())
    }
}

struct Fit {
    components: Components,
}

impl StageCode for Fit {
    fn combiner(&self) -> Option<&dyn Combiner> {
        Some(self)
    }

    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Ok(Box::new(self))
    }
}

impl Combiner for Fit {
    fn combine(&self, _: &[u8], values: &mut dyn ValueSource, into: &mut Vec<u8>) -> Result<(), Failure> {
        into.extend(merged(values)?.to_bytes());
        Ok(())
    }
}

impl Reducer for &Fit {
    fn reduce(&mut self, _: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure> {
        let moments = merged(values)?;
        let pca = Pca::fit(&moments, self.components).map_err(|error| Failure::permanent(error.to_string()))?;
        for (path, bytes) in side_files(&pca) {
            out.side_file(path, bytes);
        }
        out.broadcast(pca.to_bytes());
        Ok(())
    }
}

fn merged(values: &mut dyn ValueSource) -> Result<Moments, Failure> {
    let mut unread = None;
    let parts = std::iter::from_fn(|| match values.next() {
        Ok(bytes) => bytes.map(Moments::from_bytes),
        Err(failure) => {
            unread = Some(failure);
            None
        }
    });
    let moments = Moments::merge_all(parts);
    match unread {
        Some(failure) => Err(failure),
        None => moments.map_err(|error| Failure::application(format!("merging moments: {error}"))),
    }
}

fn summary(pca: &Pca) -> Vec<u8> {
    let certificate = pca.certificate();
    let summary = json!({
        "components": pca.count(),
        "dim": pca.dim(),
        "samples": certificate.samples,
        "explained_variance_ratio_sum": pca.explained_variance_ratio().iter().sum::<f64>(),
        "total_variance": certificate.total_variance,
        "residual_variance": certificate.residual_variance,
        "residual": certificate.residual,
        "orthogonality": certificate.orthogonality,
        "smallest_eigengap": certificate.smallest_eigengap,
    });
    serde_json::to_vec_pretty(&summary).expect("numbers and names")
}

/// The PCA as files for people, by their paths.
fn side_files(pca: &Pca) -> Vec<(String, Vec<u8>)> {
    let (dim, count) = (pca.dim(), pca.count());
    let array = |name: &str, shape: &[usize], values: &[f64]| (array_path(name), npy::write_f64(shape, values));
    vec![
        array("mean", &[dim], pca.mean()),
        array("components", &[count, dim], pca.components()),
        array("explained_variance", &[count], pca.explained_variance()),
        array("explained_variance_ratio", &[count], pca.explained_variance_ratio()),
        array("singular_values", &[count], pca.singular_values()),
        (SUMMARY.to_owned(), summary(pca)),
    ]
}

fn array_path(name: &str) -> String {
    format!("pca/{name}.npy")
}

/// The PCA from the files that `fit` wrote.
fn restored(side: &BTreeMap<String, Bytes>) -> Result<Pca, Failure> {
    let file =
        |path: &str| side.get(path).ok_or_else(|| Failure::permanent(format!("{path} is not there as it was written")));
    let array = |name: &str| {
        let path = array_path(name);
        let read = npy::read_f64(file(&path)?);
        read.map(|(_, values)| values).map_err(|error| Failure::permanent(format!("reading {path}: {error}")))
    };
    let summary: serde_json::Value = serde_json::from_slice(file(SUMMARY)?)
        .map_err(|error| Failure::permanent(format!("reading {SUMMARY}: {error}")))?;
    // JSON has no word for what is no finite number.
    let number = |name: &str| summary[name].as_f64().unwrap_or(f64::NAN);
    let pca = Pca::restored(Fitted {
        mean: array("mean")?,
        components: array("components")?,
        explained_variance: array("explained_variance")?,
        explained_variance_ratio: array("explained_variance_ratio")?,
        singular_values: array("singular_values")?,
        certificate: Certificate {
            samples: summary["samples"].as_u64().unwrap_or_default(),
            total_variance: number("total_variance"),
            residual_variance: number("residual_variance"),
            residual: number("residual"),
            orthogonality: number("orthogonality"),
            smallest_eigengap: number("smallest_eigengap"),
        },
    });
    pca.map_err(|error| Failure::permanent(format!("putting the PCA together again: {error}")))
}

struct Project {
    pca: Pca,
}

impl StageCode for Project {
    fn row_mapper(&self) -> Result<Box<dyn RowMapper + '_>, Failure> {
        Ok(Box::new(Projector { pca: &self.pca }))
    }
}

struct Projector<'a> {
    pca: &'a Pca,
}

impl RowMapper for Projector<'_> {
    fn map(&mut self, photos: &RecordBatch, out: &mut MapOutput) -> Result<(), Failure> {
        let unfit = || Failure::permanent("kept rows do not have their features");
        let features = photos.column_by_name("features").ok_or_else(unfit)?;
        let features = features.as_list_opt::<i32>().ok_or_else(unfit)?;
        let numbers = features.values().as_primitive_opt::<Float32Type>().ok_or_else(unfit)?;
        let mut coordinates = vec![0.0; photos.num_rows() * self.pca.count()];
        self.pca
            .project(numbers.values(), &mut coordinates)
            .map_err(|error| Failure::permanent(format!("projecting: {error}")))?;
        let mut fields: Vec<_> = photos.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(list_field("pca")));
        let mut columns = photos.columns().to_vec();
        columns.push(Arc::new(list(coordinates, self.pca.count())));
        out.keep(rows(fields.into(), columns)?);
        Ok(())
    }
}

fn rows(fields: Fields, columns: Vec<ArrayRef>) -> Result<RecordBatch, Failure> {
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
    rows.map_err(|error| Failure::application(format!("making rows: {error}")))
}

/// Lists and not fixed-size ones: Delta knows none of those.
fn list_field(name: &str) -> Field {
    Field::new(name, DataType::List(element()), false)
}

fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

fn list(numbers: Vec<f32>, each: usize) -> ListArray {
    let offsets = OffsetBuffer::from_repeated_length(each, numbers.len() / each);
    ListArray::new(element(), offsets, Arc::new(Float32Array::from(numbers)), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, ParamValue)]) -> Params {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    fn fault(key: &str, value: ParamValue) -> String {
        Settings::read(&params(&[(key, value)])).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        let settings = Settings::read(&Params::new()).unwrap();
        assert_eq!(settings.extensions, ["jpeg", "jpg", "png", "webp"]);
        assert_eq!((settings.label, settings.components), (-2, Components::Count(50)));
        assert!(!settings.exif_orientation && !settings.scaled);
        assert_eq!(settings.precision, Precision::F32);
        assert!(settings.weights == "builtin" && settings.weights_sha256.is_none());
    }

    #[test]
    fn an_integer_is_a_count_and_a_number_a_share() {
        let components = |value| Settings::read(&params(&[("components", value)])).map(|s| s.components);
        assert_eq!(components(ParamValue::Integer(3)).unwrap(), Components::Count(3));
        assert_eq!(components(ParamValue::Number(0.95)).unwrap(), Components::Share(0.95));
        for bad in [ParamValue::Integer(0), ParamValue::Integer(-1), ParamValue::Number(1.0), ParamValue::Number(50.0)]
        {
            assert!(components(bad).is_err());
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        assert!(fault("precision", ParamValue::Text("bf16".into())).contains("\"f32\", \"fast\" or \"auto\""));
        assert!(fault("label", ParamValue::Integer(1)).contains("`params.label`"));
        assert!(fault("weights_sha256", ParamValue::Text("abc".into())).contains("64 hexadecimal"));
        assert!(fault("extensions", ParamValue::List(Vec::new())).contains("such as"));
    }

    #[test]
    fn the_pca_comes_back_from_the_files_beside_the_result() {
        let rows = [1.0, 2.0, 3.0, 4.0, 0.0, -1.0, 0.3, 0.7, 0.1, 5.0, 1.5, 0.2];
        let moments = Moments::from_bytes(&Moments::bytes_of_rows(3, &rows).unwrap()).unwrap();
        let pca = Pca::fit(&moments, Components::Count(2)).unwrap();
        let mut files: BTreeMap<_, Bytes> =
            side_files(&pca).into_iter().map(|(path, bytes)| (path, bytes.into())).collect();
        let again = restored(&files).unwrap();
        assert_eq!((again.mean(), again.components()), (pca.mean(), pca.components()));
        let project = |pca: &Pca| {
            let mut out = [0.0; 8];
            pca.project(&rows, &mut out).unwrap();
            out.map(f32::to_bits)
        };
        assert_eq!(project(&again), project(&pca));
        for path in files.keys().cloned().collect::<Vec<_>>() {
            let whole = files.insert(path.clone(), "x".into()).unwrap();
            assert!(restored(&files).unwrap_err().message.contains(&format!("reading {path}")));
            files.insert(path, whole);
        }
        assert_eq!(restored(&BTreeMap::new()).unwrap_err().message, "pca/summary.json is not there as it was written");
    }
}
