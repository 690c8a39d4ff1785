//! `mr-records`: makes the records that `tera-sort` sorts, and sees whether they are sorted.

use mr_jobs::records::{Sum, generate, sum, validate};
use std::io::{self, Error};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "mr-records generate RECORDS FILES FOLDER   makes a folder of records of 100 bytes for tera-sort
mr-records validate INPUT RESULT           says whether a result has the records of its input in their order";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["generate", records, files, folder] => match (records.parse(), files.parse()) {
            (Ok(records), Ok(files @ 1..)) => generate(Path::new(folder), records, files),
            _ => Err(Error::other(format!("{records} records in {files} files can't be: write two numbers"))),
        },
        ["validate", input, result] => compare(Path::new(input), Path::new(result)),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mr-records: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(input: &Path, result: &Path) -> io::Result<()> {
    let (given, sorted) = (sum(input)?, validate(result)?);
    let told = |Sum { records, checksum }| format!("{records} records with checksum {checksum:x}");
    if given != sorted {
        let (given, sorted) = (told(given), told(sorted));
        return Err(Error::other(format!("the input has {given}, and the result {sorted}")));
    }
    println!("sorted: {}", told(sorted));
    Ok(())
}
