//! An inventory that S3 has made of a bucket: a manifest, and the files that it names.

use crate::key_list::columns::Columns;
use crate::key_list::gathered::Gathered;
use crate::key_list::{csv, parquet, plain};
use bytes::Bytes;
use md5::{Digest, Md5};
use mr_core::{KeyList, Packing};
use serde::Deserialize;

/// What a manifest says, and what has been read of its files.
pub struct Inventory {
    format: FileFormat,
    /// All of them are to be read, in any order.
    pub files: Vec<InventoryFile>,
    gathered: Gathered,
}

/// A file that is a part of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryFile {
    /// Where it is: `s3://bucket/key`.
    pub url: String,
    bytes: u64,
    /// Hexadecimal; `None`: the manifest does not say.
    md5: Option<String>,
}

enum FileFormat {
    Csv(Columns),
    Parquet,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    source_bucket: String,
    destination_bucket: String,
    file_format: String,
    #[serde(default)]
    file_schema: String,
    files: Vec<ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: Option<String>,
}

impl Inventory {
    /// `url`: of the manifest; `input`: a root's URL that ends in `/`.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(manifest: &[u8], url: &str, input: &str) -> Result<Self, String> {
        let manifest: Manifest = serde_json::from_slice(manifest)
            .map_err(|error| format!("it is no manifest of an S3 Inventory: {error}"))?;
        let gathered = Gathered::under(input);
        let source = &manifest.source_bucket;
        match &gathered.root.bucket {
            Some((own, _)) if own == source => {}
            _ => return Err(format!("it is an inventory of the bucket {source}, in which the input {input} is not")),
        }
        if !url.starts_with("s3://") {
            return Err("the files that it names lie in S3, as it does itself: give its s3:// URL".to_owned());
        }
        let format = match manifest.file_format.to_ascii_lowercase().as_str() {
            "csv" => {
                let names: Vec<_> = manifest.file_schema.split(',').collect();
                let columns = Columns::of(&names)?.filter(|columns| columns.bucket.is_some());
                let schema = &manifest.file_schema;
                FileFormat::Csv(columns.ok_or_else(|| format!("its schema lacks `Bucket` or `Key`: {schema:?}"))?)
            }
            "parquet" => FileFormat::Parquet,
            other => {
                let other = other.to_ascii_uppercase();
                return Err(format!(
                    "its files are {other}, which is not read: set the inventory up for CSV or Parquet"
                ));
            }
        };
        let arn = &manifest.destination_bucket;
        let bucket = arn.rsplit_once(":::").map_or(arn.as_str(), |(_, bucket)| bucket);
        let file = |file: ManifestFile| InventoryFile {
            url: format!("s3://{bucket}/{}", file.key),
            bytes: file.size,
            md5: file.md5,
        };
        let files = manifest.files.into_iter().map(file).collect();
        Ok(Self { format, files, gathered })
    }

    /// Takes one of its files.
    ///
    /// # Errors
    /// A sentence.
    pub fn read(&mut self, file: &InventoryFile, bytes: Bytes) -> Result<(), String> {
        let wrong = |why: String| format!("{}: {why}", file.url);
        file.check(&bytes).map_err(wrong)?;
        let gathered = &mut self.gathered;
        match &self.format {
            FileFormat::Csv(columns) => {
                plain(Packing::of(&file.url), &bytes).and_then(|plain| csv::read_inventory(plain, columns, gathered))
            }
            FileFormat::Parquet => parquet::read(bytes, gathered),
        }
        .map_err(wrong)
    }

    /// When all of its files have been read.
    pub fn into_list(self) -> KeyList {
        self.gathered.into_list()
    }
}

impl InventoryFile {
    fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 != self.bytes {
            return Err(format!("it has {} bytes where the manifest says {}", bytes.len(), self.bytes));
        }
        let Some(expected) = &self.md5 else { return Ok(()) };
        let is: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        match is.eq_ignore_ascii_case(expected) {
            true => Ok(()),
            false => Err(format!("it has MD5 {is} where the manifest says {expected}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    const URL: &str = "s3://lists/inv/2026-11-01T01-00Z/manifest.json";
    const SCHEMA: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag";

    fn manifest(files: &[(&str, &[u8])]) -> serde_json::Value {
        let file = |(key, bytes): &(&str, &[u8])| {
            let md5: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect();
            json!({ "key": key, "size": bytes.len(), "MD5checksum": md5 })
        };
        json!({
            "sourceBucket": "b",
            "destinationBucket": "arn:aws:s3:::lists",
            "version": "2016-11-30",
            "creationTimestamp": "1514944800000",
            "fileFormat": "CSV",
            "fileSchema": SCHEMA,
            "files": files.iter().map(file).collect::<Vec<_>>(),
        })
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    const ROWS: &str = r#""b","p/a+b.jpg","v1","true","false","3","2026-01-01T00:00:00.000Z","e1"
"b","p/a+b.jpg","v0","false","false","2","2025-01-01T00:00:00.000Z","e0"
"b","p/gone.jpg","v2","true","true","","2026-01-01T00:00:00.000Z",""
"b","q/a.jpg","v3","true","false","3","2026-01-01T00:00:00.000Z","e3"
"#;

    #[test]
    fn its_files_are_fetched_from_where_it_says_and_checked() {
        let (one, two) = (packed(ROWS), b"\"b\",\"p/c.jpg\",\"\",\"\",\"\",\"4\",\"\",\"e4\"\n".to_vec());
        let manifest = manifest(&[("inv/data/1.csv.gz", &one), ("inv/data/2.csv", &two)]);
        let mut inventory = Inventory::parse(manifest.to_string().as_bytes(), URL, "s3://b/p/").unwrap();
        let files = inventory.files.clone();
        let urls: Vec<_> = files.iter().map(|file| file.url.as_str()).collect();
        assert_eq!(urls, ["s3://lists/inv/data/1.csv.gz", "s3://lists/inv/data/2.csv"]);
        inventory.read(&files[1], two.clone().into()).unwrap();
        let mut other = two.clone();
        other[0] = b'x';
        for (bytes, expected) in [(other, "it has MD5 "), (b"x".to_vec(), "it has 1 bytes where the manifest says 35")]
        {
            let error = inventory.read(&files[1], bytes.into()).unwrap_err();
            assert!(error.starts_with(&format!("s3://lists/inv/data/2.csv: {expected}")), "{error}");
        }
        inventory.read(&files[0], one.into()).unwrap();
        let encoded = String::from_utf8(inventory.into_list().encode()).unwrap();
        assert_eq!(encoded, "3\n[\"a b.jpg\",3,\"e1\"]\n[\"c.jpg\",4,\"e4\"]\n");
    }

    #[test]
    fn one_of_parquet_says_its_columns_itself() {
        let mut said = manifest(&[("1.parquet", b"PAR1")]);
        said["fileFormat"] = "Parquet".into();
        said["fileSchema"] = "message s3.inventory { required binary bucket (STRING); }".into();
        let mut inventory = Inventory::parse(said.to_string().as_bytes(), URL, "s3://b/p/").unwrap();
        let file = inventory.files[0].clone();
        let error = inventory.read(&file, Bytes::from_static(b"PAR1")).unwrap_err();
        assert!(error.starts_with("s3://lists/1.parquet: it can't be read as Parquet"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let with = |key: &str, value: serde_json::Value| {
            let mut said = manifest(&[]);
            said[key] = value;
            said.to_string()
        };
        let good = manifest(&[]).to_string();
        let bucket = "s3://b/p/";
        for (text, url, input, expected) in [
            ("{".to_owned(), URL, bucket, "it is no manifest of an S3 Inventory: EOF"),
            ("{}".to_owned(), URL, bucket, "it is no manifest of an S3 Inventory: missing field `sourceBucket`"),
            (good.clone(), "file:///manifest.json", bucket, "give its s3:// URL"),
            (good.clone(), URL, "s3://c/p/", "it is an inventory of the bucket b, in which the input s3://c/p/ is not"),
            (good, URL, "file:///b/p/", "it is an inventory of the bucket b, in which the input file:///b/p/ is not"),
            (
                with("fileFormat", "ORC".into()),
                URL,
                bucket,
                "its files are ORC, which is not read: set the inventory up for CSV",
            ),
            (with("fileSchema", "Bucket, Size".into()), URL, bucket, "its schema lacks `Bucket` or `Key`"),
            (with("fileSchema", "Key, Size".into()), URL, bucket, "its schema lacks `Bucket` or `Key`"),
        ] {
            let error = Inventory::parse(text.as_bytes(), url, input).err().expect(&text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
