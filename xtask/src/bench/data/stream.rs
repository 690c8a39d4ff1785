//! `cargo xtask bench data stream`: words counted by two programs in Python, beside the same two with `sort` between.

use std::process::Command;

use anyhow::Result;

use super::asked::Asked;
use super::figure::{Beside, Figure};
use super::files::{Files, OURS};
use super::turns::{in_turn, warm_up};
use crate::photos::cores;
use crate::shell::root;
use crate::texts;

const PIPE: &str = "mapper | sort | reducer";
const FILES: u64 = 16;

pub fn measure(asked: &Asked) -> Result<Vec<Figure>> {
    let folder = root().join("target/bench/stream");
    let files = Files { input: folder.join("text"), results: folder.join("words") };
    texts::draw(&files.input, FILES, asked.megabytes * 1_000_000 / FILES)?;
    let once = |name: &str| files.time(if name == OURS { ours(&files) } else { pipe(&files) });
    let names = [OURS, PIPE];
    warm_up(&names, once)?;
    let [(_, ours), pipe] = in_turn(names, asked, once)?;
    let what = format!("stream over {} MB, seconds", asked.megabytes);
    Ok(vec![Figure { what, ours, beside: vec![Beside::peer(pipe, 1.3)] }])
}

fn ours(files: &Files) -> Command {
    let settings = ["split.objects_max=4".into(), format!("params.partitions={}", cores())];
    files.ours("examples/stream/word-count.toml", &settings)
}

fn pipe(files: &Files) -> Command {
    let mut pipe = files.shell(
        "cat \"$1\"/*.txt | python3 examples/stream/mapper.py | sort --parallel=\"$3\" -S 256M -T \"$2\" | \
         python3 examples/stream/reducer.py > \"$2/words\"",
    );
    pipe.env("PYTHONUTF8", "1");
    pipe
}
