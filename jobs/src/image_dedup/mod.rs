//! `image-dedup`: groups of photos that look alike, by their difference hashes.
//!
//! - `hash` gives each photo its hash and sends it to all who share a band of it. Two photos that are near enough share one.
//! - `link` holds the photos of a band against each other and keeps those that are near, as links.
//! - `group` puts linked photos together. Links are few beside photos, so one task has them all.

mod groups;
mod hash;

use crate::label::PHOTOS;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use groups::{Groups, Seen};
use hash::{bands, difference_hash, first_common};
use mr_core::{Failure, JobPlan, JobSpec, ParamValue, Params, Source, sha256_hex};
use mr_mapreduce::{
    Broadcast, BroadcastSource, Context, Job, MapOutput, Mapper, ObjectRecord, ParamError, ParamKind, ParamSpec,
    RecordError, ReduceOutput, Reducer, RowMapper, StageCode, ValueSource, plans,
};
use mr_vision::image::{Budget, DecodeOptions, Resizer, decode};
use std::collections::BTreeMap;
use std::sync::Arc;

const HASH: &str = "hash";
const LINK: &str = "link";
const GROUP: &str = "group";

const DISTANCE: &str = "distance";
const DISTANCE_DEFAULT: i64 = 2;
/// Beyond it bands are shorter than eight bits, and more than one of 256 photos shares some by chance.
const DISTANCE_MAX: i64 = 7;

/// Links of a batch.
const LINKS: usize = 4096;

const FAN_IN: u32 = 64;
/// More tasks than there are.
const ALL: u32 = 1 << 30;

pub struct ImageDedup;

impl Job for ImageDedup {
    fn name(&self) -> &'static str {
        "image-dedup"
    }

    fn version(&self) -> u32 {
        1
    }

    fn about(&self) -> &'static str {
        "Groups of photos that look alike, byte-identical ones among them"
    }

    fn params(&self) -> Vec<ParamSpec> {
        vec![
            plans::extensions_param(&PHOTOS),
            plans::partitions_param(),
            ParamSpec {
                name: DISTANCE,
                kind: ParamKind::Integer,
                default: Some(ParamValue::Integer(DISTANCE_DEFAULT)),
                help: "of how many bits out of 64 the hashes of two photos that look alike differ at most",
            },
        ]
    }

    fn broadcasts(&self, _: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        Ok(Vec::new())
    }

    fn plan(&self, spec: &JobSpec, _: &[Broadcast]) -> Result<JobPlan, ParamError> {
        distance(&spec.params)?;
        let partitions = plans::partitions(&spec.params)?;
        let hashed = Source::Emitted { stage: HASH.to_owned(), partitions, fan_in: FAN_IN };
        let linked = Source::Kept { stage: LINK.to_owned(), group_min: ALL, group_max: ALL };
        let stages = [(HASH, Source::Input), (LINK, hashed), (GROUP, linked)];
        plans::plan(self, spec, stages.map(|(name, source)| plans::stage(name, source, self)).into())
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        let distance = distance(context.params).map_err(|error| Failure::permanent(error.to_string()))?;
        Ok(Arc::new(Stage { distance, budget: Budget::new(context.decode_budget_bytes) }))
    }
}

fn distance(params: &Params) -> Result<u32, ParamError> {
    match params.get(DISTANCE) {
        None => Ok(DISTANCE_DEFAULT as u32),
        Some(ParamValue::Integer(bits)) if (0..=DISTANCE_MAX).contains(bits) => Ok(*bits as u32),
        Some(_) => Err(ParamError::new(DISTANCE, format!("should be from 0 to {DISTANCE_MAX}"))),
    }
}

struct Stage {
    distance: u32,
    budget: Budget,
}

impl StageCode for Stage {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(Hashing { stage: self, resizer: Resizer::default() }))
    }

    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Ok(Box::new(Linking { distance: self.distance, links: Vec::new() }))
    }

    fn row_mapper(&self) -> Result<Box<dyn RowMapper + '_>, Failure> {
        Ok(Box::new(Grouping::default()))
    }
}

struct Hashing<'a> {
    stage: &'a Stage,
    resizer: Resizer,
}

impl Mapper for Hashing<'_> {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        let photo = decode(&object.bytes, &DecodeOptions::default(), &self.stage.budget)
            .map_err(|error| RecordError::Quarantine { class: error.class.name(), message: error.message })?;
        let hash = difference_hash(photo.photo(), &mut self.resizer);
        let seen = Seen {
            path: object.uri.clone(),
            hash,
            sha256: sha256_hex(&object.bytes),
            bytes: object.bytes.len() as i64,
        };
        for (band, bits) in bands(hash, self.stage.distance) {
            out.emit([&[band][..], &bits.to_be_bytes()].concat(), seen.to_bytes());
        }
        Ok(())
    }
}

impl Seen {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.hash.to_be_bytes(), &self.bytes.to_be_bytes(), self.sha256.as_bytes(), self.path.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (sha256, path) = rest.split_at_checked(64)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (hash, bytes) = (u64::from_be_bytes(*hash), i64::from_be_bytes(*length));
        Some(Self { path: text(path)?, hash, sha256: text(sha256)?, bytes })
    }
}

fn unfit() -> Failure {
    Failure::permanent("what the stage before has written is not what this one reads")
}

struct Linking {
    distance: u32,
    links: Vec<(Seen, Seen)>,
}

impl Reducer for Linking {
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure> {
        let band = *key.first().ok_or_else(unfit)?;
        // Of photos with one and the same hash the first stands for all: a folder of blank ones would be links without end.
        let mut firsts: BTreeMap<u64, Seen> = BTreeMap::new();
        while let Some(value) = values.next()? {
            let seen = Seen::from_bytes(value).ok_or_else(unfit)?;
            match firsts.get(&seen.hash) {
                // All bands see them; one says so.
                Some(first) if band == 0 => self.links.push((first.clone(), seen)),
                Some(_) => {}
                None => _ = firsts.insert(seen.hash, seen),
            }
        }
        let firsts: Vec<_> = firsts.into_values().collect();
        for (at, one) in firsts.iter().enumerate() {
            if out.attempt.is_stopped() {
                return Ok(()); // nobody looks at it any more
            }
            if self.links.len() >= LINKS {
                out.keep(self.batch()?);
            }
            for other in &firsts[at + 1..] {
                let near = (one.hash ^ other.hash).count_ones() <= self.distance;
                if near && first_common(one.hash, other.hash, self.distance) == Some(band) {
                    self.links.push((one.clone(), other.clone()));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut ReduceOutput) -> Result<(), Failure> {
        out.keep(self.batch()?);
        Ok(())
    }
}

impl Linking {
    /// The links that there are, of which none are left.
    fn batch(&mut self) -> Result<RecordBatch, Failure> {
        let links = std::mem::take(&mut self.links);
        let ends = |end: fn(&(Seen, Seen)) -> &Seen| -> [ArrayRef; 4] {
            let seen = || links.iter().map(end);
            [
                Arc::new(StringArray::from_iter_values(seen().map(|seen| &seen.path))),
                Arc::new(Int64Array::from_iter_values(seen().map(|seen| seen.hash.cast_signed()))),
                Arc::new(StringArray::from_iter_values(seen().map(|seen| &seen.sha256))),
                Arc::new(Int64Array::from_iter_values(seen().map(|seen| seen.bytes))),
            ]
        };
        let columns = [ends(|link| &link.0), ends(|link| &link.1)].concat();
        let field = |(at, column): (usize, &ArrayRef)| Field::new(at.to_string(), column.data_type().clone(), false);
        let fields: Vec<_> = columns.iter().enumerate().map(field).collect();
        rows(fields, columns)
    }
}

#[derive(Default)]
struct Grouping {
    groups: Groups,
}

impl RowMapper for Grouping {
    fn map(&mut self, links: &RecordBatch, _: &mut MapOutput) -> Result<(), Failure> {
        let end = |first: usize, row: usize| -> Option<Seen> {
            let text = |at: usize| Some(links.columns().get(first + at)?.as_string_opt::<i32>()?.value(row).to_owned());
            let number = |at: usize| Some(links.columns().get(first + at)?.as_primitive_opt::<Int64Type>()?.value(row));
            Some(Seen { path: text(0)?, hash: number(1)?.cast_unsigned(), sha256: text(2)?, bytes: number(3)? })
        };
        for row in 0..links.num_rows() {
            self.groups.link(end(0, row).ok_or_else(unfit)?, end(4, row).ok_or_else(unfit)?);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        let groups = std::mem::take(&mut self.groups).finish();
        let all =
            || (0..).zip(&groups).flat_map(|(number, group)| group.iter().map(move |seen| (number, &group[0], seen)));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(all().map(|(number, ..)| number))),
            Arc::new(StringArray::from_iter_values(all().map(|(.., seen)| &seen.path))),
            Arc::new(Int64Array::from_iter_values(all().map(|(.., seen)| seen.bytes))),
            Arc::new(StringArray::from_iter_values(all().map(|(.., seen)| format!("{:016x}", seen.hash)))),
            Arc::new(Int32Array::from_iter_values(
                all().map(|(_, first, seen)| (first.hash ^ seen.hash).count_ones().cast_signed()),
            )),
            Arc::new(StringArray::from_iter_values(all().map(|(.., seen)| &seen.sha256))),
        ];
        let fields = [
            ("group", DataType::Int64),
            ("path", DataType::Utf8),
            ("bytes", DataType::Int64),
            ("hash", DataType::Utf8),
            ("distance", DataType::Int32),
            ("sha256", DataType::Utf8),
        ];
        let fields = fields.map(|(name, kind)| Field::new(name, kind, false));
        out.keep(rows(fields.into(), columns)?);
        Ok(())
    }
}

fn rows(fields: Vec<Field>, columns: Vec<ArrayRef>) -> Result<RecordBatch, Failure> {
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
    rows.map_err(|error| Failure::application(format!("making rows: {error}")))
}
