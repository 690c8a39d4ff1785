//! Running other programs from the repository's root, and saying what is run: a failed step names its command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The repository's root. Cargo sets the variable for what it runs; a binary called by hand falls back on where it was built.
pub fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().expect("xtask lies in the repository").to_owned()
}

/// A command that starts in the repository's root.
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(root());
    command
}

/// Our `mr-submit`, on this machine and on its best kernels, whatever the environment has for other runs.
pub fn mr_submit() -> Command {
    let mut submit = command(root().join("target/release/mr-submit"));
    for name in ["MR_COORDINATOR", "MR_KERNELS"] {
        submit.env_remove(name);
    }
    submit
}

/// The cargo that runs us, so that toolchain overrides stay in force.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = command(std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from));
    command.args(args);
    // These describe this package to us; the cargo we start must find its own.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds an example with all rooms and runs it. By its room alone it would have other features, and everything below it would
/// be compiled once more beside what the tests have.
pub fn example(name: &str, args: &[&str]) -> Result<()> {
    run(&mut cargo(&["build", "--release", "--workspace", "--example", name]))?;
    run(command(root().join("target/release/examples").join(name)).args(args))
}

/// Shows the command on stderr, runs it, and fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("starting {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

/// What a quiet command prints on stdout; its stderr is shown only when it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {line}"))?;
    ensure!(output.status.success(), "{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).with_context(|| format!("what {line} prints is not UTF-8"))
}

/// Whether a command can be started and succeeds; what it prints is not of interest.
pub fn works(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    // A program on the search path is shown by its name, ours by its path.
    let program = match program.strip_prefix(root()) {
        Ok(ours) => ours.display().to_string(),
        Err(_) => program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
    };
    let args = command.get_args().map(|arg| {
        let arg = arg.to_string_lossy();
        if arg.contains([' ', '"', '*', '$']) { format!("'{arg}'") } else { arg.into_owned() }
    });
    std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{command, line, root, run, works};

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.toml").is_file());
        assert!(root().join("xtask").is_dir());
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = run(command("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c 'exit 3'") && error.contains('3'), "{error}");
        assert!(!works(command("sh").args(["-c", "exit 3"])));
        assert!(works(command("sh").args(["-c", "exit 0"])));
    }

    #[test]
    fn our_programs_are_shown_by_their_path() {
        assert_eq!(line(command(root().join("target/release/mr-submit")).arg("list")), "target/release/mr-submit list");
    }
}
