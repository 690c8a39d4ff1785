//! `cargo xtask npm`: the programs of npm's that the tests run, in `target/npm`, as `tests/npm/package-lock.json` pins them.
//! Node.js is the machine's own, or else comes from PyPI into `target/venv-node`. Quick when all is there already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::args::Args;
use crate::shell::{command, output, root, run};
use crate::venv::environment;

/// The oldest Node.js that is tried; there are none older in what is still looked after.
const NODE_MIN: u32 = 18;

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    s3rver()?;
    println!("{}", root().join("target/npm").display());
    Ok(())
}

/// An S3 server that ignores conditional writes, ready for its arguments.
pub fn s3rver() -> Result<Command> {
    let (node, npm) = node()?;
    let folder = installed(&node, &npm)?;
    let mut server = command(&node);
    server.arg(folder.join("node_modules/s3rver/bin/s3rver.js"));
    Ok(server)
}

fn installed(node: &Path, npm: &Path) -> Result<PathBuf> {
    let (from, folder) = (root().join("tests/npm"), root().join("target/npm"));
    let lock = fs::read_to_string(from.join("package-lock.json")).context("reading tests/npm/package-lock.json")?;
    // Written last, so that it is there only when all of them are.
    let stamp = folder.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == lock) {
        return Ok(folder);
    }
    eprintln!("npm: programs for the tests go into target/npm, once (about 5 MB to download)");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(from.join(name), folder.join(name)).with_context(|| format!("copying tests/npm/{name}"))?;
    }
    let mut install = command(npm);
    install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]).current_dir(&folder);
    // npm is a script, which looks for its own Node.js on the search path.
    let beside = node.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(beside.into_iter().chain(std::env::split_paths(&path)));
    run(install.env("PATH", path.context("the search path has a folder with a colon")?))?;
    fs::write(&stamp, lock).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(folder)
}

/// Node.js and its npm.
fn node() -> Result<(PathBuf, PathBuf)> {
    let version = |node: &Path| output(command(node).arg("--version")).ok().and_then(|text| major(&text));
    let own = (PathBuf::from("node"), PathBuf::from("npm"));
    let npm_works = || output(command(&own.1).arg("--version")).is_ok();
    if version(&own.0).is_some_and(|version| version >= NODE_MIN) && npm_works() {
        return Ok(own);
    }
    let note = "Node.js goes into target/venv-node, once (about 60 MB to download)";
    let python = environment("target/venv-node", "tests/npm/node.txt", note)?;
    let (node, npm) = (python.with_file_name("node"), python.with_file_name("npm"));
    ensure!(version(&node).is_some(), "the Node.js that PyPI has does not run here: install Node.js and npm");
    Ok((node, npm))
}

/// Of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn node_says_its_version() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("20"), None);
        assert_eq!(major(""), None);
    }
}
