//! `cargo xtask venv`: a Python in `target/venv` with the libraries in `tests/requirements.txt`, with which the tests read
//! our output as users do. Quick when it is there already; made again when the requirements change.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::shell::{command, root, run, works};

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    let python = venv()?;
    println!("{}", python.display());
    Ok(())
}

/// The path of its Python.
pub fn venv() -> Result<PathBuf> {
    environment(
        "target/venv",
        "tests/requirements.txt",
        "the readers go into target/venv, once (about 200 MB to download)",
    )
}

/// The path of the Python in this folder, which has what the requirements ask for and nothing else.
pub fn environment(folder: &str, requirements: &str, note: &str) -> Result<PathBuf> {
    let folder = root().join(folder);
    let python = folder.join("bin/python");
    let wanted = root().join(requirements);
    let wanted_text = fs::read_to_string(&wanted).with_context(|| format!("reading {}", wanted.display()))?;
    // Written last, so that it is there only when all of them are.
    let stamp = folder.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted_text) && works(command(&python).arg("--version")) {
        return Ok(python);
    }
    eprintln!("venv: {note}");
    make(&folder)?;
    run(command(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted))?;
    fs::write(&stamp, wanted_text).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(python)
}

fn make(folder: &PathBuf) -> Result<()> {
    if !works(command("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 11))"])) {
        bail!("python3 is missing or older than 3.11");
    }
    run(command("python3").args(["-m", "venv", "--clear"]).arg(folder))
        .context("python3 cannot make an environment; on Debian and Ubuntu `apt install python3-venv` mends that")
}
