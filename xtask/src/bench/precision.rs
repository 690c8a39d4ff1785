//! `cargo xtask bench precision`: the main job in f32 and in `fast`, and how far their features are apart. Where the processor
//! has no AMX, `fast` is computed by the plain loops that define it: the same bits, some thirty times as slow.

use std::path::PathBuf;

use anyhow::Result;

use super::machine::has_amx;
use super::submit::{Run, photos};
use crate::args::Args;
use crate::setup::setup;
use crate::shell::{cargo, command, root, run};
use crate::venv::venv;

pub fn main(mut args: Args) -> Result<()> {
    let input: Option<PathBuf> = args.option("--input")?;
    args.done()?;
    setup()?;
    let python = venv()?;
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let input = photos(input)?;
    let kernels = if has_amx() { "amx" } else { "bf16x3-portable" };
    let [fast, reference] = ["fast", "f32"].map(|name| root().join("target/bench/precision").join(name));
    eprintln!("bench: in f32");
    Run::default().go(&input, &reference)?;
    eprintln!("bench: in bf16x3, on {kernels}");
    Run { precision: Some("fast"), kernels: Some(kernels), ..Run::default() }.go(&input, &fast)?;
    run(command(python).arg("xtask/scripts/precision.py").arg(fast).arg(reference))
}
