//! Whether an archive is what it says: unpacked somewhere else, its checksums hold and leave nothing out, its programs
//! run and are of this version, its list of crates is sound and has all that the programs name, and packed once more it
//! is the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::linked::named;
use super::pack::{self, SUMS, parent, sha256};
use super::sbom::faults;
use super::{PROGRAMS, Release, SHELLS};
use crate::shell::{command, output, root};

pub fn check(archive: &Path, release: &Release) -> Result<()> {
    let elsewhere = root().join("target/dist/unpacked");
    if elsewhere.exists() {
        fs::remove_dir_all(&elsewhere).with_context(|| format!("removing {}", elsewhere.display()))?;
    }
    fs::create_dir_all(&elsewhere).with_context(|| format!("making {}", elsewhere.display()))?;
    let sum = archive.with_extension("gz.sha256");
    output(command("sha256sum").args(["--check", "--strict"]).arg(&sum).current_dir(parent(archive)?))?;
    output(command("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(&elsewhere))?;
    let folder = elsewhere.join(release.name());
    whole(&folder)?;
    let mut linked = BTreeSet::new();
    for program in PROGRAMS {
        runs(&folder, program, release)?;
        linked.extend(named(&fs::read(folder.join("bin").join(program))?));
    }
    listed(&folder, &linked)?;
    let again = pack::pack(&folder)?;
    ensure!(sha256(&again)? == sha256(archive)?, "packed once more, the same files make another archive");
    fs::remove_dir_all(&elsewhere).with_context(|| format!("removing {}", elsewhere.display()))
}

/// Every file has its checksum.
fn whole(folder: &Path) -> Result<()> {
    output(command("sha256sum").args(["--check", "--strict", SUMS]).current_dir(folder))?;
    let list = fs::read_to_string(folder.join(SUMS)).with_context(|| format!("reading {SUMS}"))?;
    let listed: BTreeSet<_> = list.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name).collect();
    for file in pack::files(folder)? {
        let name = file.strip_prefix(folder).expect("it lies there").display().to_string();
        ensure!(name == SUMS || listed.contains(name.as_str()), "{SUMS} leaves {name} out");
    }
    Ok(())
}

/// It starts, and its pages are about it.
fn runs(folder: &Path, program: &str, release: &Release) -> Result<()> {
    let said = output(command(folder.join("bin").join(program)).arg("--version"))?;
    ensure!(said.trim() == format!("{program} {}", release.version), "{program} --version says {said:?}");
    let completions = SHELLS.map(|(file, _)| format!("completions/{}", file.replace("{}", program)));
    for page in completions.into_iter().chain([format!("man/{program}.1")]) {
        let text = fs::read_to_string(folder.join(&page)).with_context(|| format!("reading {page}"))?;
        // Manual pages write `-` as `\-`.
        ensure!(text.replace('\\', "").contains(program), "{page} is not about {program}");
    }
    Ok(())
}

/// What is linked is in the list.
fn listed(folder: &Path, linked: &BTreeSet<String>) -> Result<()> {
    let text = fs::read_to_string(folder.join("sbom.cdx.json")).context("reading sbom.cdx.json")?;
    let (faults, listed) = faults(&serde_json::from_str::<Value>(&text).context("sbom.cdx.json")?);
    ensure!(faults.is_empty(), "sbom.cdx.json:\n{}", faults.join("\n"));
    let forgotten: Vec<_> = linked.difference(&listed).cloned().collect();
    ensure!(forgotten.is_empty(), "the programs name crates that sbom.cdx.json has not: {}", forgotten.join(", "));
    eprintln!("dist: {} crates are listed; the programs name {} of them, and no others", listed.len(), linked.len());
    Ok(())
}
