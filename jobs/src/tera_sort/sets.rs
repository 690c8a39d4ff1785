//! Sets of records on this machine: making one, adding one up, and seeing whether one is sorted.

use super::records::{KEY, RECORD, Sum, record};
use arrow::array::{AsArray, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Writes so many records into so many files of a new folder, the same every time.
///
/// # Errors
/// When that can't be, or the folder is there already.
pub fn generate(folder: &Path, records: u64, files: u64) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::create_dir(folder)?;
    for file in 0..files {
        let mut to = BufWriter::with_capacity(1 << 20, File::create(folder.join(format!("records-{file:05}.dat")))?);
        for number in records * file / files..records * (file + 1) / files {
            to.write_all(&record(number))?;
        }
        to.flush()?;
    }
    Ok(())
}

/// Adds up the records of a folder's files.
///
/// # Errors
/// When one can't be read, or holds something else.
pub fn sum(folder: &Path) -> io::Result<Sum> {
    let mut sum = Sum::default();
    for path in files(folder, None)? {
        let mut from = BufReader::with_capacity(1 << 20, File::open(&path)?);
        let mut record = [0; RECORD];
        loop {
            match from.read(&mut record[..1])? {
                0 => break,
                _ => from.read_exact(&mut record[1..]).map_err(|error| told(&path, &error.to_string()))?,
            }
            sum.add(&record);
        }
    }
    Ok(sum)
}

/// Adds up the records of `tera-sort`'s result, if all of them are in order: within each part, and from each to the next.
///
/// # Errors
/// When a part can't be read, or a record comes before the one in front of it.
pub fn validate(result: &Path) -> io::Result<Sum> {
    let (mut sum, mut last) = (Sum::default(), Vec::new());
    for path in files(result, Some("parquet"))? {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?).and_then(|reader| reader.build());
        for batch in reader.map_err(|error| told(&path, &error.to_string()))? {
            let batch = batch.map_err(|error| told(&path, &error.to_string()))?;
            add(&batch, &mut last, &mut sum).map_err(|why| told(&path, &why))?;
        }
    }
    Ok(sum)
}

fn add(batch: &RecordBatch, last: &mut Vec<u8>, sum: &mut Sum) -> Result<(), String> {
    let column = |name: &str| {
        let column = batch.column_by_name(name).and_then(|column| column.as_binary_opt::<i32>());
        column.ok_or_else(|| format!("it has no column `{name}` of bytes"))
    };
    let (keys, values) = (column("key")?, column("value")?);
    for row in 0..batch.num_rows() {
        let (key, value) = (keys.value(row), values.value(row));
        if key < &last[..] {
            return Err(format!("record {} has a key that is less than the one before", sum.records + 1));
        }
        if key.len() != KEY {
            return Err(format!("record {} has a key of {} bytes", sum.records + 1, key.len()));
        }
        sum.add(&[key, value].concat());
        last.clear();
        last.extend_from_slice(key);
    }
    Ok(())
}

/// Those that readers of a folder take for data, by their names.
fn files(folder: &Path, extension: Option<&str>) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['_', '.']));
        let wanted = extension.is_none_or(|extension| path.extension().is_some_and(|is| is == extension));
        if !hidden && wanted && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        let what = extension.map_or("file".to_owned(), |extension| format!(".{extension}"));
        return Err(told(folder, &format!("there is no {what} in it")));
    }
    Ok(found)
}

fn told(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_same_in_any_number_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, files| {
            let set = folder.path().join(name);
            generate(&set, 1000, files).unwrap();
            sum(&set).unwrap()
        };
        assert_eq!(of("a/one", 1), of("seven", 7));
        assert_eq!(of("more", 3).records, 1000);
        assert!(generate(&folder.path().join("more"), 1, 1).is_err(), "it is there");
        fs::write(folder.path().join("more/records-00009.dat"), b"short").unwrap();
        assert!(sum(&folder.path().join("more")).unwrap_err().to_string().contains("records-00009.dat"));
        assert!(validate(&folder.path().join("more")).unwrap_err().to_string().contains("there is no .parquet in it"));
    }
}
