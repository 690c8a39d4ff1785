//! The archive, by the system's own tools: names sorted, nobody's name, one time for all, so that the same files give
//! the same bytes. And checksums, of each file within and of the whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::{command, output, run};

/// Any would do. Some programs take the first second of 1970 for none.
const TIME: &str = "--mtime=2000-01-01T00:00:00Z";
pub const SUMS: &str = "SHA256SUMS";

/// Packs a folder into an archive beside it, with its checksum beside that.
pub fn pack(folder: &Path) -> Result<PathBuf> {
    let name = folder.file_name().and_then(|name| name.to_str()).context("the folder has a name")?;
    let tar = folder.with_file_name(format!("{name}.tar"));
    let mut pack = command("tar");
    pack.args([
        "--sort=name",
        "--format=ustar",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
        TIME,
    ]);
    run(pack.arg("--create").arg("--file").arg(&tar).arg("--directory").arg(parent(folder)?).arg(name))?;
    run(command("gzip").args(["--no-name", "--best", "--force"]).arg(&tar))?;
    let archive = folder.with_file_name(format!("{name}.tar.gz"));
    let sum = format!("{}  {name}.tar.gz\n", sha256(&archive)?);
    let beside = folder.with_file_name(format!("{name}.tar.gz.sha256"));
    fs::write(&beside, sum).with_context(|| format!("writing {}", beside.display()))?;
    Ok(archive)
}

/// Writes a list of all that is in the folder, as `sha256sum --check` reads it.
pub fn checksums(folder: &Path) -> Result<()> {
    let mut list = String::new();
    for file in files(folder)? {
        let name = file.strip_prefix(folder).expect("it lies there").display();
        list += &format!("{}  {name}\n", sha256(&file)?);
    }
    fs::write(folder.join(SUMS), list).with_context(|| format!("writing {SUMS}"))
}

/// All files in the folder and its folders, by name.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { todo.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    Ok(found)
}

pub fn sha256(file: &Path) -> Result<String> {
    let said = output(command("sha256sum").arg("--binary").arg(file))?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}

pub fn parent(path: &Path) -> Result<&Path> {
    path.parent().with_context(|| format!("{} lies in no folder", path.display()))
}
