//! `cargo xtask bench data`: all figures of the jobs over text and records, process start to process end, beside the
//! same by others, in turn and round by round on the same files. Any part of it can be had alone.

mod asked;
mod figure;
mod files;
mod pythons;
mod sort;
mod stream;
mod turns;
mod words;

use anyhow::Result;

use super::machine::machine;
use crate::args::Args;
use crate::setup::setup;
use crate::shell::{cargo, run};
use asked::{Asked, Part};
use figure::{Figure, table};
use pythons::Pythons;

pub fn main(args: Args) -> Result<()> {
    let asked = asked::read(args)?;
    setup()?;
    // Before anything is measured, so that what is missing is said at once.
    let pythons = Pythons::ready(&asked)?;
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let mut figures = Vec::new();
    let outcome = asked.iter().try_for_each(|asked| {
        figures.extend(measure(asked, &pythons)?);
        Ok(())
    });
    // What was measured is told even where a later part failed.
    if !figures.is_empty() {
        println!("{}", machine());
        print!("{}", table(&figures));
    }
    outcome
}

fn measure(asked: &Asked, pythons: &Pythons) -> Result<Vec<Figure>> {
    match asked.part {
        Part::Words => words::measure(asked, pythons),
        Part::Sort => sort::measure(asked, pythons),
        Part::Stream => stream::measure(asked),
    }
}
