//! `cargo xtask setup`: gets what a fresh machine lacks, without root. That is one thing: `protoc`, with which candle-onnx
//! compiles its schema at build time. `.cargo/config.toml` points `PROTOC` at `tools/protoc`, so that plain `cargo build`
//! works ever after. A `PROTOC` of the user's own wins, as cargo does not override what is set already.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::shell::{cargo, command, output, root, works};

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    setup()
}

/// Quick and quiet when there is nothing to do.
pub fn setup() -> Result<()> {
    let ours = root().join("tools/protoc");
    // Cargo sets the variable to our own place when it runs us, written as it knows the folder.
    if let Some(theirs) = std::env::var_os("PROTOC").map(PathBuf::from).filter(|path| !path.ends_with("tools/protoc")) {
        if runs(&theirs) {
            return Ok(());
        }
        bail!(
            "PROTOC is set to {}, which does not run: correct it, or unset it to use a bundled one",
            theirs.display()
        );
    }
    if runs(&ours) {
        return Ok(());
    }
    let source = bundled()?.or_else(on_search_path).context(
        "there is no bundled protoc for this platform and none on the search path; \
         install protobuf's compiler (for instance `apt install protobuf-compiler`) or set PROTOC to one",
    )?;
    install(&source, &ours)?;
    eprintln!("setup: tools/protoc from {}", source.display());
    Ok(())
}

fn runs(protoc: &Path) -> bool {
    works(command(protoc).arg("--version"))
}

/// The one that came with a crate. Cargo is asked where it unpacked it: a path compiled into us would be that of the
/// machine and the CARGO_HOME of then.
fn bundled() -> Result<Option<PathBuf>> {
    // Without the filter cargo would first download the crates of every other platform.
    let host = host()?;
    let metadata = output(&mut cargo(&["metadata", "--format-version", "1", "--filter-platform", &host]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("reading cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let candidates = packages
        .iter()
        .filter(|package| package["name"].as_str().is_some_and(|name| name.starts_with("protoc-bin-vendored-")))
        .filter_map(|package| {
            Path::new(package["manifest_path"].as_str()?).parent().map(|folder| folder.join("bin/protoc"))
        });
    Ok(candidates.into_iter().find(|protoc| runs(protoc)))
}

/// The platform we build on, in rustc's words.
pub fn host() -> Result<String> {
    let version = output(command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}

fn on_search_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("protoc")).find(|protoc| runs(protoc))
}

/// Copied beside and renamed, so that a build which starts meanwhile never sees half a program.
fn install(source: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().expect("tools/ has a parent");
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let beside = to.with_extension(format!("{}.part", std::process::id()));
    fs::copy(source, &beside).with_context(|| format!("copying {} to {}", source.display(), beside.display()))?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", beside.display()))?;
    fs::rename(&beside, to).with_context(|| format!("renaming {} to {}", beside.display(), to.display()))
}
