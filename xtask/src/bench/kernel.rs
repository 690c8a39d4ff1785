//! `cargo xtask bench kernel`: the network alone beside the peers, on one core and on all, in turn and round by round, so
//! that whatever the machine does meanwhile hits all of them. All run the same file on the same images, and their features
//! are compared, so that nobody is fast by computing something else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::machine::{has_amx, machine};
use super::spread::Spread;
use crate::args::Args;
use crate::photos::cores;
use crate::setup::setup;
use crate::shell::{cargo, command, output, root, run};
use crate::venv::environment;

/// What the peers are called, in families whose fastest way of using the cores counts.
const PEERS: [(&str, &[&str]); 2] = [
    ("onnxruntime", &["onnxruntime-latency", "onnxruntime-streams"]),
    ("OpenVINO", &["openvino-latency", "openvino-streams"]),
];
/// Height and width of the network's input.
const SIZE: usize = 224;
const IMAGES: usize = 4;

pub fn main(mut args: Args) -> Result<()> {
    let rounds: usize = args.option("--rounds")?.unwrap_or(5);
    let seconds: f64 = args.option("--seconds")?.unwrap_or(3.0);
    let model: Option<PathBuf> = args.option("--model")?;
    let kernels: Option<String> = args.option("--kernels")?;
    args.done()?;
    ensure!(rounds > 0, "--rounds must be at least 1");

    setup()?;
    let python =
        environment("target/venv-peers", "xtask/peers/requirements.txt", "the peers go into target/venv-peers")?;
    run(&mut cargo(&["build", "--release", "--package", "mr-vision", "--example", "throughput"]))?;
    let model = match model {
        Some(model) => std::path::absolute(&model).with_context(|| format!("--model {}", model.display()))?,
        None => root().join("vision/weights/mobilenet_v2.onnx"),
    };
    let folder = root().join("target/bench/kernel");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let bench = Bench { python, model, seconds, input: folder.join("images.f32"), folder };
    fs::write(&bench.input, images()).with_context(|| format!("writing {}", bench.input.display()))?;

    let ours = ours(kernels);
    let mut measured: Vec<Measured> = Vec::new();
    for threads in threads() {
        let mut programs = Vec::new();
        for (name, set, _) in &ours {
            programs.push(Program { family: "ours", name: (*name).into(), kernels: set.clone(), threads });
        }
        for (family, names) in PEERS {
            // On one core the two ways are one.
            let names = &names[..if threads == 1 { 1 } else { names.len() }];
            programs.extend(names.iter().map(|name| Program { family, name: (*name).into(), kernels: None, threads }));
        }
        measured.extend(programs.into_iter().map(|program| Measured { program, rates: Vec::new() }));
    }
    for round in 1..=rounds {
        eprintln!("bench: round {round} of {rounds}");
        for one in &mut measured {
            one.rates.push(bench.rate(&one.program)?);
        }
    }
    println!("{}", machine());
    println!("{} rounds of {seconds} s; images/s, median (lowest to highest)", rounds);
    print!("{}", table(&measured));
    for (_, names) in PEERS {
        for (ours, _, most) in &ours {
            let far = bench.distance(ours, names[0])?;
            println!("features of {ours} and of {}: relative L2 {far:.1e}", names[0]);
            ensure!(far < *most, "{} computes something else", names[0]);
        }
    }
    Ok(())
}

/// Ours by name: the kernels that were asked for, or the best for f32 and, where there is AMX, those for `fast`; and how far
/// their features may be from the peers'.
fn ours(asked: Option<String>) -> Vec<(&'static str, Option<String>, f64)> {
    const F32: f64 = 1e-4;
    const FAST: f64 = 5e-4;
    match asked {
        Some(asked) if asked == "amx" || asked.starts_with("bf16x3") => vec![("ours", Some(asked), FAST)],
        Some(asked) => vec![("ours", Some(asked), F32)],
        None if has_amx() => vec![("ours", None, F32), ("ours-fast", Some("amx".into()), FAST)],
        None => vec![("ours", None, F32)],
    }
}

/// One core and all of them, which may be the same.
fn threads() -> BTreeSet<usize> {
    BTreeSet::from([1, cores()])
}

/// Noise, as bytes of f32 between -1 and 1: the time does not depend on what is to be seen.
fn images() -> Vec<u8> {
    let mut state = 1u32;
    let numbers = (0..IMAGES * SIZE * SIZE * 3).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32 / 127.5 - 1.0
    });
    numbers.flat_map(f32::to_le_bytes).collect()
}

struct Bench {
    python: PathBuf,
    model: PathBuf,
    seconds: f64,
    input: PathBuf,
    folder: PathBuf,
}

/// A way of running the network.
struct Program {
    family: &'static str,
    name: String,
    /// Ours may run on other kernels than the best for f32.
    kernels: Option<String>,
    threads: usize,
}

struct Measured {
    program: Program,
    /// Images per second, a number a round.
    rates: Vec<f64>,
}

impl Bench {
    fn rate(&self, program: &Program) -> Result<f64> {
        let mut started = match program.family {
            "ours" => ours_on(program.kernels.as_deref()),
            _ => self.peer(&program.name),
        };
        started.arg("--model").arg(&self.model).arg("--input").arg(&self.input);
        started.arg("--threads").arg(program.threads.to_string()).arg("--seconds").arg(self.seconds.to_string());
        started.arg("--features").arg(self.features(&program.name));
        let said = output(&mut started)?;
        said.trim().parse().with_context(|| format!("{} gave {said:?} as its rate", program.name))
    }

    fn peer(&self, name: &str) -> Command {
        let mut peer = command(&self.python);
        peer.arg("xtask/peers/kernel.py").arg(name).arg("--size").args([SIZE, SIZE].map(|n| n.to_string()));
        peer
    }

    fn features(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.f32"))
    }

    /// The relative L2 distance of two programs' features.
    fn distance(&self, ours: &str, theirs: &str) -> Result<f64> {
        let (ours, theirs) = (numbers(&self.features(ours))?, numbers(&self.features(theirs))?);
        ensure!(ours.len() == theirs.len(), "{} features of ours and {} of theirs", ours.len(), theirs.len());
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        let difference = square(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b));
        Ok((difference / square(&mut theirs.iter().copied())).sqrt())
    }
}

fn ours_on(kernels: Option<&str>) -> Command {
    let mut ours = command(root().join("target/release/examples/throughput"));
    if let Some(kernels) = kernels {
        ours.arg("--kernels").arg(kernels);
    }
    ours
}

fn numbers(path: &Path) -> Result<Vec<f64>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect())
}

/// A line for each program; and for each number of threads how ours stands to the fastest peer, round by round.
fn table(measured: &[Measured]) -> String {
    let mut text = String::new();
    for threads in threads() {
        let at: Vec<_> = measured.iter().filter(|one| one.program.threads == threads).collect();
        let (ours, peers): (Vec<&Measured>, Vec<&Measured>) = at.iter().partition(|one| one.program.family == "ours");
        text += &format!("{threads} thread{}\n", if threads == 1 { "" } else { "s" });
        for one in &at {
            let Spread { low, median, high } = Spread::of(one.rates.iter().copied());
            text += &format!("  {:<22} {median:>7.1}   ({low:.1} to {high:.1})\n", one.program.name);
        }
        for ours in ours {
            for (family, _) in PEERS {
                let rates = peers.iter().filter(|peer| peer.program.family == family).map(|peer| &peer.rates);
                let ratios = (0..ours.rates.len()).map(|round| {
                    let fastest = rates.clone().map(|rates| rates[round]).fold(0.0, f64::max);
                    ours.rates[round] / fastest
                });
                let Spread { low, median, high } = Spread::of(ratios);
                let what = format!("{} / {family}", ours.program.name);
                text += &format!("  {what:<22} {median:>7.2}   ({low:.2} to {high:.2})\n");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Measured, Program, table};

    #[test]
    fn ratios_are_to_the_fastest_way_of_each_peer_in_the_same_round() {
        let one = |family, name: &str, rates: &[f64]| Measured {
            program: Program { family, name: name.into(), kernels: None, threads: 1 },
            rates: rates.to_vec(),
        };
        let text = table(&[
            one("ours", "ours", &[100.0, 50.0, 200.0]),
            one("onnxruntime", "onnxruntime-latency", &[50.0, 20.0, 80.0]),
            one("onnxruntime", "onnxruntime-streams", &[40.0, 25.0, 100.0]),
            one("OpenVINO", "openvino-latency", &[100.0, 100.0, 100.0]),
        ]);
        assert!(text.contains("ours                     100.0   (50.0 to 200.0)"), "{text}");
        assert!(text.contains("ours / onnxruntime        2.00   (2.00 to 2.00)"), "{text}");
        assert!(text.contains("ours / OpenVINO           1.00   (0.50 to 2.00)"), "{text}");
    }
}
