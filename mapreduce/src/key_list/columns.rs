//! Which columns of a table mean something to a list of keys, by their names.

/// What a column says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Key,
    Bucket,
    Bytes,
    Etag,
    IsLatest,
    IsDeleteMarker,
}

/// Where in a row the columns are that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub key: usize,
    pub bucket: Option<usize>,
    pub bytes: Option<usize>,
    pub etag: Option<usize>,
    pub is_latest: Option<usize>,
    pub is_delete_marker: Option<usize>,
}

/// In the order in which they are taken for the key: our own results call whole URIs `path`.
const KEYS: [&str; 3] = ["key", "uri", "path"];

impl Column {
    fn of(name: &str) -> Option<Self> {
        // S3 Inventory says `IsLatest` in CSV and `is_latest` in Parquet.
        Some(match name.trim().to_ascii_lowercase().replace('_', "").as_str() {
            name if KEYS.contains(&name) => Self::Key,
            "bucket" => Self::Bucket,
            "size" => Self::Bytes,
            "etag" => Self::Etag,
            "islatest" => Self::IsLatest,
            "isdeletemarker" => Self::IsDeleteMarker,
            _ => return None,
        })
    }
}

impl Columns {
    /// `Ok(None)`: none of them is a key's.
    ///
    /// # Errors
    /// When a name comes twice, so that it is not known which is meant.
    pub fn of(names: &[&str]) -> Result<Option<Self>, String> {
        let named = |wanted: Column| {
            let mut found = names.iter().enumerate().filter(|(_, name)| Column::of(name) == Some(wanted));
            match (found.next(), found.next()) {
                (Some(_), Some((_, twice))) => Err(format!("there are two columns `{}`", twice.trim())),
                (first, _) => Ok(first.map(|(at, _)| at)),
            }
        };
        let key = KEYS.iter().find_map(|wanted| {
            let mut found = (0..names.len()).filter(|at| names[*at].trim().eq_ignore_ascii_case(wanted));
            found.next().map(|first| match found.next() {
                Some(_) => Err(format!("there are two columns `{wanted}`")),
                None => Ok(first),
            })
        });
        let Some(key) = key.transpose()? else { return Ok(None) };
        Ok(Some(Self {
            key,
            bucket: named(Column::Bucket)?,
            bytes: named(Column::Bytes)?,
            etag: named(Column::Etag)?,
            is_latest: named(Column::IsLatest)?,
            is_delete_marker: named(Column::IsDeleteMarker)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_known_by_their_names_in_any_case() {
        let of = |names: &[&str]| Columns::of(names);
        let csv = of(&["Bucket", " Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "ETag"]).unwrap().unwrap();
        let parquet = of(&["bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "e_tag"]);
        assert_eq!(parquet, Ok(Some(csv)));
        assert_eq!((csv.key, csv.bucket, csv.is_delete_marker, csv.etag), (1, Some(0), Some(4), Some(6)));
        assert_eq!(of(&["path", "label", "URI"]).unwrap().unwrap().key, 2);
        assert_eq!(of(&["a.jpg"]), Ok(None));
        assert_eq!(of(&["key", "Key"]), Err("there are two columns `key`".into()));
        assert_eq!(of(&["key", "etag", "e_tag"]), Err("there are two columns `e_tag`".into()));
    }
}
