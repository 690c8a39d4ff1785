//! `cargo xtask tidy`: holds the code to ARCHITECTURE.md. The page's tables are read, not copied, so the page is the rule.
//! Every complaint names a file and a line, and says what to do.

mod code;
mod doors;
mod house;
mod sources;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::shell::{cargo, output, root};
use house::House;

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    tidy()
}

pub fn tidy() -> Result<()> {
    let root = root();
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?;
    let house = House::parse(&page)?;
    let metadata = output(&mut cargo(&["metadata", "--format-version", "1"]))?;
    let graph = doors::Graph::parse(&metadata, &root)?;
    let mut complaints = doors::check(&house, &graph);
    for complaint in &mut complaints {
        complaint.find_line(&root);
    }
    complaints.extend(sources::check(&house, &root)?);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    match complaints.len() {
        0 => {
            eprintln!("tidy: {} rooms, and every door as ARCHITECTURE.md has it", graph.rooms().count());
            Ok(())
        }
        count => bail!("tidy: {count} to mend"),
    }
}

/// One thing that is not as it should be.
#[derive(Debug, PartialEq)]
struct Complaint {
    /// From the root.
    path: String,
    line: usize,
    /// What is wrong and what to do.
    text: String,
    /// What stands at the line, when only that is known: the name of a dependency.
    word: Option<String>,
}

impl Complaint {
    fn at(path: impl Into<String>, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.into(), line, text: text.into(), word: None }
    }

    fn about(path: impl Into<String>, word: &str, text: impl Into<String>) -> Self {
        Self { path: path.into(), line: 1, text: text.into(), word: Some(word.to_owned()) }
    }

    /// Cargo's metadata has no line numbers; a dependency stands at the start of its line.
    fn find_line(&mut self, root: &Path) {
        let Some(word) = &self.word else { return };
        let Ok(text) = fs::read_to_string(root.join(&self.path)) else { return };
        let starts = |line: &str| {
            let rest = line.strip_prefix(word.as_str()).or_else(|| line.strip_prefix('`')?.strip_prefix(word.as_str()));
            rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=', '`']))
        };
        if let Some(at) = text.lines().position(starts) {
            self.line = at + 1;
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}
