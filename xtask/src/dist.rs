//! `cargo xtask dist`: a release, as one archive under `target/dist/`: the three programs, stripped, with their units,
//! completions and manual pages, what they are made of (`sbom.cdx.json`) and checksums of it all. It is unpacked and
//! looked at before it counts as made. The same programs give the same bytes. For Linux, with GNU's tar, gzip, binutils
//! and coreutils.

mod linked;
mod lock;
mod notices;
mod pack;
mod proof;
mod sbom;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::args::Args;
use crate::setup::{host, setup};
use crate::shell::{cargo, command, output, root, run};
use linked::Linked;

const PROGRAMS: [&str; 3] = ["mr-coordinator", "mr-submit", "mr-worker"];
/// The room that they are made in.
const ROOM: &str = "mr-bin";
/// Name of a file of completions, and the shell that it is for.
const SHELLS: [(&str, &str); 3] = [("{}.bash", "bash"), ("_{}", "zsh"), ("{}.fish", "fish")];
const WEIGHTS: &str = "vision/weights/mobilenet_v2.onnx";

pub fn main(mut args: Args) -> Result<()> {
    let wanted: Option<String> = args.option("--version")?;
    args.done()?;
    setup()?;
    let release = Release::of_this_tree()?;
    if let Some(wanted) = wanted {
        ensure!(wanted == release.version, "Cargo.toml says version {}, not {wanted}", release.version);
    }
    // With all rooms, as `cargo xtask test` builds the programs that its tests start.
    run(&mut cargo(&["build", "--release", "--locked", "--workspace", "--bins"]))?;
    let folder = release.collect().context("collecting")?;
    let archive = pack::pack(&folder)?;
    proof::check(&archive, &release)?;
    let bytes = fs::metadata(&archive)?.len();
    println!("{} ({:.1} MB), and its checksum beside it", archive.display(), bytes as f64 / 1e6);
    println!("It needs Linux with glibc {} or later.", release.glibc(&folder)?);
    Ok(())
}

/// What is released.
struct Release {
    version: String,
    /// The platform, in rustc's words.
    target: String,
    rustc: String,
    metadata: Value,
}

impl Release {
    fn of_this_tree() -> Result<Self> {
        let target = host()?;
        ensure!(target.contains("-linux-"), "releases are made on Linux, and this is {target}");
        let metadata =
            output(&mut cargo(&["metadata", "--locked", "--format-version", "1", "--filter-platform", &target]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("reading cargo metadata")?;
        let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
        let version = packages.iter().find(|package| package["name"] == ROOM).and_then(|room| room["version"].as_str());
        let version = version.with_context(|| format!("there is no {ROOM}"))?.to_owned();
        let rustc = output(command("rustc").arg("--version"))?.trim().to_owned();
        Ok(Self { version, target, rustc, metadata })
    }

    /// The archive, its folder, and the start of each name in it.
    fn name(&self) -> String {
        format!("mr-{}-{}", self.version, self.target)
    }

    /// Everything in its place, checksums last.
    fn collect(&self) -> Result<PathBuf> {
        let folder = root().join("target/dist").join(self.name());
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        for inner in ["bin", "completions", "man"] {
            fs::create_dir_all(folder.join(inner)).with_context(|| format!("making {}", folder.display()))?;
        }
        for program in PROGRAMS {
            let built = root().join("target/release").join(program);
            let ours = folder.join("bin").join(program);
            run(command("strip").arg("--strip-all").arg("-o").arg(&ours).arg(&built))
                .context("strip is one of the binutils, which a C compiler brings along")?;
            describe(&folder, program)?;
        }
        copy_all(&root().join("infra"), &folder.join("infra"))?;
        copy(&root().join("LICENSE"), &folder.join("LICENSE"))?;
        copy(&root().join("docs/install.md"), &folder.join("INSTALL.md"))?;
        let linked = Linked::into(ROOM)?;
        write(&folder.join("THIRD-PARTY.txt"), &notices::of(&linked, &self.metadata)?)?;
        write(&folder.join("sbom.cdx.json"), &self.sbom(&linked)?)?;
        write(&folder.join("BUILD.txt"), &self.about(&folder)?)?;
        pack::checksums(&folder)?;
        Ok(folder)
    }

    fn sbom(&self, linked: &Linked) -> Result<String> {
        let lock = fs::read_to_string(root().join("Cargo.lock")).context("reading Cargo.lock")?;
        let weights = sbom::File { name: "mobilenet_v2.onnx", sha256: &pack::sha256(&root().join(WEIGHTS))? };
        sbom::Sbom { release: self, linked, checksums: &lock::checksums(&lock), weights }.json()
    }

    fn about(&self, folder: &Path) -> Result<String> {
        let Self { version, target, rustc, .. } = self;
        let glibc = self.glibc(folder)?;
        Ok(format!("version: {version}\ntarget: {target}\ncompiler: {rustc}\nglibc: {glibc} or later\n"))
    }

    /// The oldest that has all that the programs call.
    fn glibc(&self, folder: &Path) -> Result<String> {
        let mut newest = None;
        for program in PROGRAMS {
            newest = newest.max(linked::glibc(&fs::read(folder.join("bin").join(program))?));
        }
        let (major, minor) = newest.context("the programs name no version of glibc")?;
        Ok(format!("{major}.{minor}"))
    }
}

/// Its completions and manual pages, as it tells them itself.
fn describe(folder: &Path, program: &str) -> Result<()> {
    let program_path = folder.join("bin").join(program);
    for (file, shell) in SHELLS {
        let text = output(command(&program_path).args(["completions", shell]))?;
        write(&folder.join("completions").join(file.replace("{}", program)), &text)?;
    }
    output(command(&program_path).arg("man").arg(folder.join("man"))).map(drop)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display())).map(drop)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() { copy_all(&entry.path(), &to)? } else { copy(&entry.path(), &to)? }
    }
    Ok(())
}
