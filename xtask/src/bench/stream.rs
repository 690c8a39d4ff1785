//! `cargo xtask bench stream`: words counted by two programs in Python, beside the same two with `sort` between them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::beside::{asked, rounds, table, timed};
use super::machine::machine;
use crate::args::Args;
use crate::photos::cores;
use crate::setup::setup;
use crate::shell::{cargo, command, mr_submit, root, run};
use crate::texts;

const OURS: &str = "ours";
const PIPE: &str = "mapper | sort | reducer";
const FILES: u64 = 16;

pub fn main(args: Args) -> Result<()> {
    let (count, megabytes) = asked(args, 3, 100)?;

    setup()?;
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let folder = root().join("target/bench/stream");
    let bench = Bench { input: folder.join("text"), results: folder.join("words") };
    texts::draw(&bench.input, FILES, megabytes * 1_000_000 / FILES)?;
    for name in [OURS, PIPE] {
        bench.once(name).context("warming up")?;
    }
    let measured = rounds([OURS, PIPE], count, |_, _| true, |name| bench.once(name))?;
    println!("{}", machine());
    println!(
        "word count of {megabytes} MB by mapper.py and reducer.py, {count} rounds; seconds from start to end, median (lowest to \
         highest)"
    );
    print!("{}", table(&measured, |name| name == OURS));
    Ok(())
}

struct Bench {
    input: PathBuf,
    results: PathBuf,
}

impl Bench {
    fn once(&self, name: &str) -> Result<f64> {
        timed(&mut self.process(name), &self.results)
    }

    fn process(&self, name: &str) -> Command {
        if name == OURS {
            let mut submit = mr_submit();
            submit.args(["examples/stream/word-count.toml", "--keep-days", "0", "--set", "split.objects_max=4"]);
            submit.arg("--set").arg(format!("params.partitions={}", cores()));
            submit.arg("--input").arg(&self.input).arg("--output").arg(&self.results);
            return submit;
        }
        let mut pipe = command("sh");
        let script = "mkdir -p \"$2\" && cat \"$1\"/*.txt | python3 examples/stream/mapper.py | \
                      sort --parallel=\"$3\" -S 256M -T \"$2\" | python3 examples/stream/reducer.py > \"$2/words\"";
        pipe.env("LC_ALL", "C").env("PYTHONUTF8", "1").args(["-c", script, "sh"]);
        pipe.arg(&self.input).arg(&self.results).arg(cores().to_string());
        pipe
    }
}
