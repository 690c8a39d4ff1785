//! A list as CSV: a table whose first line names its columns, one column of entries, or a file of an inventory.

use crate::key_list::columns::Columns;
use crate::key_list::gathered::{Gathered, Row, decoded};
use crate::key_list::quotes::Quotes;
use csv::{ByteRecord, ErrorKind, Position, Reader, ReaderBuilder};
use std::io::Read;

/// The first columns of every inventory, whatever else it was set up to have.
const INVENTORY: [&str; 2] = ["Bucket", "Key"];

/// # Errors
/// A sentence with the number of the row, from one; empty lines are none.
pub(super) fn read(bytes: impl Read, gathered: &mut Gathered) -> Result<(), String> {
    let mut reader = reader(bytes);
    let mut record = ByteRecord::new();
    if !next(&mut reader, &mut record)? {
        return Ok(());
    }
    let first = (0..record.len()).map(|at| text(&record, at)).collect::<Result<Vec<_>, _>>();
    let first = first.map_err(|why| format!("row 1: {why}"))?;
    let own = gathered.root.bucket.as_ref().map(|(bucket, _)| bucket.clone());
    if let Some(columns) = Columns::of(&first)? {
        if columns.bucket.is_some() {
            gathered.wants_bucket()?;
        }
        return rows(&mut reader, &mut record, gathered, |record, gathered| row(record, &columns, false, gathered));
    }
    match first.as_slice() {
        [_] => {
            let entry = |record: &ByteRecord, gathered: &mut Gathered| gathered.entry(text(record, 0)?);
            at_row(&record, entry(&record, gathered))?;
            rows(&mut reader, &mut record, gathered, entry)
        }
        [bucket, _, ..] if Some(*bucket) == own.as_deref() => {
            let columns = Columns::of(&INVENTORY)?.expect("one of them is the key's");
            let take = |record: &ByteRecord, gathered: &mut Gathered| row(record, &columns, true, gathered);
            at_row(&record, take(&record, gathered))?;
            rows(&mut reader, &mut record, gathered, take)
        }
        _ => {
            let or =
                own.map(|own| format!(", nor is it a row of an S3 Inventory of the bucket {own}")).unwrap_or_default();
            Err(format!(
                "row 1 names no column `key` (or `uri`, or `path`){or}: put a line with the names of its columns first, \
                 such as `key` or `bucket,key,size,etag`"
            ))
        }
    }
}

/// A file of an inventory, whose columns its manifest names.
///
/// # Errors
/// A sentence with the number of the row, from one; empty lines are none.
pub(super) fn read_inventory(bytes: impl Read, columns: &Columns, gathered: &mut Gathered) -> Result<(), String> {
    rows(&mut reader(bytes), &mut ByteRecord::new(), gathered, |record, gathered| row(record, columns, true, gathered))
}

fn reader<R: Read>(bytes: R) -> Reader<Quotes<R>> {
    ReaderBuilder::new().has_headers(false).from_reader(Quotes::new(bytes))
}

fn next<R: Read>(reader: &mut Reader<R>, record: &mut ByteRecord) -> Result<bool, String> {
    reader.read_byte_record(record).map_err(|error| match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            format!(
                "row {}: it has {len} fields where the first has {expected_len}; what has a comma in it is put into \
                 quotes",
                number(pos.as_ref())
            )
        }
        _ => format!("it can't be read: {error}"),
    })
}

fn rows<R: Read>(
    reader: &mut Reader<R>,
    record: &mut ByteRecord,
    gathered: &mut Gathered,
    take: impl Fn(&ByteRecord, &mut Gathered) -> Result<(), String>,
) -> Result<(), String> {
    while next(reader, record)? {
        at_row(record, take(record, gathered))?;
    }
    Ok(())
}

fn at_row(record: &ByteRecord, taken: Result<(), String>) -> Result<(), String> {
    taken.map_err(|why| format!("row {}: {why}", number(record.position())))
}

/// From one, the first line's among them. The reader does not say on which line a row is when empty ones came before.
fn number(at: Option<&Position>) -> u64 {
    at.map_or(0, Position::record) + 1
}

/// `encoded`: its keys are, as those of inventories.
fn row(record: &ByteRecord, columns: &Columns, encoded: bool, gathered: &mut Gathered) -> Result<(), String> {
    let key = text(record, columns.key)?;
    let decoded = if encoded { Some(decoded(key)?) } else { None };
    let said = |at: Option<usize>| at.map(|at| text(record, at)).transpose();
    gathered.row(Row {
        key: decoded.as_deref().unwrap_or(key),
        bucket: said(columns.bucket)?,
        bytes: said(columns.bytes)?.map_or(Ok(None), bytes)?,
        etag: said(columns.etag)?,
        is_latest: said(columns.is_latest)?.map_or(Ok(None), truth)?,
        is_delete_marker: said(columns.is_delete_marker)?.map_or(Ok(None), truth)?,
    })
}

fn text(record: &ByteRecord, at: usize) -> Result<&str, String> {
    let field = record.get(at).ok_or_else(|| format!("it has {} fields and lacks one", record.len()))?;
    std::str::from_utf8(field).map_err(|_| "it is not UTF-8".to_owned())
}

/// Nothing: of a delete marker, say.
fn bytes(field: &str) -> Result<Option<u64>, String> {
    match field {
        "" => Ok(None),
        field => field.parse().map(Some).map_err(|_| format!("its size {field:?} is no number of bytes")),
    }
}

fn truth(field: &str) -> Result<Option<bool>, String> {
    match field.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(format!("{field:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use crate::key_list::{ListFormat, read_list};
    use mr_core::KeyList;

    fn list(text: &[u8], input: &str) -> Result<KeyList, String> {
        read_list(ListFormat::Csv(None), text.to_vec().into(), input)
    }

    /// Keys, with what is taken at its word, and how many rows were passed over.
    fn said(list: &KeyList) -> String {
        let object = |object: &mr_core::ListedKey| match &object.version {
            None => object.key.clone(),
            Some(version) => format!("{}={}/{}", object.key, version.bytes, version.etag),
        };
        format!("{} -{}", list.objects().iter().map(object).collect::<Vec<_>>().join(" "), list.skipped)
    }

    #[test]
    fn a_first_line_names_columns_or_is_an_entry_or_of_an_inventory() {
        for (text, expected) in [
            ("", " -0"),
            ("key\n", " -0"),
            ("Key\nb\r\n\"a,\"\"1\"\"\"\n\n", "a,\"1\" b -0"),
            ("\u{feff}key\na\n", "a -0"),
            ("label,path\n1,s3://b/p/a\n2,s3://b/p/b\n", "a b -0"),
            ("key,size,etag\na,3,e\nf/,0,\n", "a -1"),
            ("a.jpg\nb.jpg\n", "a.jpg b.jpg -0"),
            ("bucket,key,size,etag\nb,p/a,3,e\nb,q/a,3,e\nc,p/a,3,e\nb,p/c,,\n", "a=3/e c -2"),
            (
                "key,bucket,e_tag,size,is_latest,IsDeleteMarker\np/a,b,\"\"\"e\"\"\",3,TRUE,false\np/a,b,d,2,false,\np/z,b,,,true,true\n",
                "a=3/e -2",
            ),
            ("\"b\",\"p/a+b%2B%C3%BC\",\"v\",\"x\"\n\"b\",\"q/c\",\"v\",\"x\"\n", "a b+ü -1"),
            ("bucket,key\nb,p/a+%41\n", "a+%41 -0"),
        ] {
            assert_eq!(said(&list(text.as_bytes(), "s3://b/p/").expect(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_row_and_says_what_to_do() {
        let (bucket, folder) = ("s3://b/p/", "file:///in/");
        for (text, input, expected) in [
            (
                &b"a,b\nc,d\n"[..],
                folder,
                "row 1 names no column `key` (or `uri`, or `path`): put a line with the names",
            ),
            (b"c,d\n", bucket, "nor is it a row of an S3 Inventory of the bucket b: put a line"),
            (b"bucket,key\nb,a\n", folder, "it has a column `bucket`, and the input is in none: leave that column out"),
            (b"key,key\na,b\n", bucket, "there are two columns `key`"),
            (b"key\na\n\n../x\n", folder, "row 3: using the key \"../x\""),
            (b"key\n\"\"\n", folder, "row 2: an entry is empty"),
            (b"bucket,key\nb,\n", bucket, "row 2: an entry is empty"),
            (b"key\na,b\n", folder, "row 2: it has 2 fields where the first has 1; what has a comma in it is put"),
            (b"key\n\xff\n", folder, "row 2: it is not UTF-8"),
            (b"\xff\na\n", folder, "row 1: it is not UTF-8"),
            (b"key,size\na,many\n", folder, "row 2: its size \"many\" is no number of bytes"),
            (b"key,is_latest\na,yes\n", folder, "row 2: \"yes\" is neither true nor false"),
            (b"b,p/%ff\n", bucket, "row 1: the key \"p/%ff\" is not UTF-8 when it is decoded"),
            (b"/elsewhere/a\n", folder, "row 1: \"/elsewhere/a\" does not lie under the input"),
        ] {
            let error = list(text, input).expect_err(&String::from_utf8_lossy(text));
            assert!(error.contains(expected), "{}: {error}", String::from_utf8_lossy(text));
        }
    }
}
