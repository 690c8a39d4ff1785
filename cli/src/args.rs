//! The command line, as clap takes it.

use crate::pages::Pages;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use mr_core::ParamValue;
use mr_mapreduce::{Registry, param_key};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

const USAGE: &str = "mr-submit [OPTIONS] JOB.toml\n       mr-submit --coordinator URL [OPTIONS] JOB.toml\n       mr-submit --coordinator URL list | status ID | watch ID | cancel ID | retry ID\n       mr-submit plan JOB.toml\n       mr-submit verify OUTPUT";

/// Runs a job on this machine, or on a cluster with --coordinator
#[derive(Debug, Parser)]
#[command(
    name = "mr-submit",
    version,
    max_term_width = 110,
    override_usage = USAGE
)]
pub struct Cli {
    /// Where the cluster's coordinator is, https://host:port, or several that stand in for each other, divided by commas; without
    /// it the job runs here, and no server is needed
    #[arg(long, value_name = "URL", env = "MR_COORDINATOR", global = true)]
    pub coordinator: Option<String>,

    /// A folder with ca.pem, cert.pem and key.pem of a submitter, as `mr-coordinator certs` makes them, for a coordinator at https://
    #[arg(long, value_name = "DIR", env = "MR_CERTS", global = true)]
    pub certs: Option<OsString>,

    /// Speaks to a coordinator on another machine in plain text too: for networks on which there is nobody else
    #[arg(long, value_name = "BOOL", env = "MR_INSECURE", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", global = true)]
    pub insecure: Option<bool>,

    /// For machines: the job's last state, or what a command has to say, as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,

    /// How many seconds a coordinator that went away is looked for before mr-submit gives up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, global = true)]
    pub patience: u64,

    /// Last, for what it has under a heading of its own.
    #[command(flatten)]
    pub run: Run,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The job file; one that is named like a command is given as ./list
    #[arg(value_name = "JOB.toml")]
    pub job: Option<PathBuf>,

    #[command(flatten)]
    pub changes: Changes,

    /// Take over an output folder that holds Parquet which is no table of ours
    #[arg(long)]
    pub adopt: bool,

    /// Here only: how many records are worked on at once [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: Option<u32>,

    /// Here only: where working files go [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub state: Option<OsString>,

    /// Photos that an earlier run quarantined are tried again, rather than taken over with what that run has done
    #[arg(long)]
    pub renew_quarantined: bool,

    /// Here only: for how many days what is done is kept for other runs of the job [default: 3]; 0 keeps nothing
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub keep_days: Option<u32>,

    /// Here only: what all slots together may use for decoding [default: a quarter of the memory, at most 512]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(16..=1_048_576))]
    pub decode_budget_mb: Option<u64>,

    #[command(flatten)]
    pub assumed: Assumed,
}

/// What is put over a job file.
#[derive(Debug, Default, Args)]
pub struct Changes {
    /// Sets a key of the job file, such as params.components=0.95; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// In place of the file's `input`: a folder, file:// or s3://bucket/prefix/
    #[arg(long, value_name = "PLACE")]
    pub input: Option<OsString>,

    /// In place of the file's `output`
    #[arg(long, value_name = "PLACE")]
    pub output: Option<OsString>,
}

/// What a plan assumes, and the check of `limits.budget_max_usd`. What is not said is the coordinator's, where there is one.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What a plan and a budget assume")]
pub struct Assumed {
    /// A table of prices in place of the one that is built in
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,

    /// What workers run on, by its name in the table, such as c7i.large
    #[arg(long, value_name = "TYPE", conflicts_with = "usd_per_worker_hour")]
    pub instance_type: Option<String>,

    /// What a worker costs an hour, such as what you pay for spot
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub usd_per_worker_hour: Option<f64>,

    /// How many workers do it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub workers: Option<u32>,

    /// How many slots each has [default: one for each vCPU of the instance type]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub worker_slots: Option<u32>,

    /// How many records one slot does in a second [default: as the report of --like, of the output, or of the job's own
    /// measurements says]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub records_per_slot_second: Option<f64>,

    /// An output of an earlier run of the job, whose report says how fast that was
    #[arg(long, value_name = "OUTPUT", conflicts_with = "records_per_slot_second")]
    pub like: Option<OsString>,
}

impl Assumed {
    /// The first that was given.
    pub fn first(&self) -> Option<&'static str> {
        let Self { prices, instance_type, usd_per_worker_hour, workers, worker_slots, records_per_slot_second, like } =
            self;
        let given = [
            ("--prices", prices.is_some()),
            ("--instance-type", instance_type.is_some()),
            ("--usd-per-worker-hour", usd_per_worker_hour.is_some()),
            ("--workers", workers.is_some()),
            ("--worker-slots", worker_slots.is_some()),
            ("--records-per-slot-second", records_per_slot_second.is_some()),
            ("--like", like.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

fn dollars(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|usd: &f64| usd.is_finite() && *usd >= 0.0).ok_or_else(|| "a number from 0 on".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says what a job would read, ask of S3, take and cost, and writes nothing
    Plan(Plan),
    /// Lists the coordinator's jobs
    List,
    /// Shows one job
    Status {
        /// As `list` shows it
        id: String,
    },
    /// Watches a job to its end, and ends as it does
    Watch {
        /// As `list` shows it
        id: String,
    },
    /// Runs a job that has failed or was cancelled once more; it goes on from what was done
    Retry {
        /// As `list` shows it
        id: String,
        /// Tries what it quarantined again, of a job that has committed too: its output is replaced
        #[arg(long)]
        quarantined: bool,
    },
    /// Cancels a job; its output stays as it was
    Cancel {
        /// As `list` shows it
        id: String,
    },
    /// Checks an output: that it is whole, that its books balance, and some of its rows by computing them again
    Verify(Verify),
    #[command(flatten)]
    Pages(Pages),
}

/// The input is listed and the job cut into tasks, as it would be.
#[derive(Debug, Args)]
pub struct Plan {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    pub job: PathBuf,

    #[command(flatten)]
    pub changes: Changes,

    #[command(flatten)]
    pub assumed: Assumed,
}

/// Nothing is written, and no coordinator is asked.
#[derive(Debug, Args)]
pub struct Verify {
    /// A job's output: a folder, file:// or s3://bucket/prefix/
    #[arg(value_name = "OUTPUT")]
    pub output: OsString,

    /// Does without the input: it is not listed, and no row is computed again
    #[arg(long, conflicts_with_all = ["sample", "seed"])]
    pub no_input: bool,

    /// How many rows are computed again from their objects
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub sample: u32,

    /// Chooses the same rows as a run that named this seed
    #[arg(long)]
    pub seed: Option<u64>,
}

const AFTER: &str = "\
Exit codes: 0 done; 1 the job failed after it had started, or an output is not what it should be; 2 the file or the command is wrong, the input is missing or \
empty, or the output may not be touched; 3 the cluster can't be reached; 130 interrupted.

Data goes to stdout, talk to stderr. MR_LOG=info says more.";

/// The command with what is known of this program's jobs.
pub fn command(registry: &Registry) -> clap::Command {
    let mut jobs = String::new();
    for job in registry.jobs() {
        jobs += &format!("\n  {}: {}\n", job.name(), job.about());
        for param in job.params() {
            let default = param.default.map_or(String::new(), |value| format!(" [default: {}]", shown(&value)));
            jobs += &format!("    {}\n{}", param_key(param.name), indented(&format!("{}{default}", param.help)));
        }
    }
    Cli::command().after_help(AFTER).after_long_help(format!("Jobs:\n{jobs}\n{AFTER}"))
}

/// The same for a program of that name, which is worker and coordinator as well.
pub fn command_of(registry: &Registry, program: &str) -> clap::Command {
    let roles = format!("{program} coordinator --help\n       {program} worker --help");
    let usage = format!("{}\n       {roles}", USAGE.replace("mr-submit", program));
    command(registry).bin_name(program).override_usage(usage)
}

/// As it is written in a job file.
fn shown(value: &ParamValue) -> String {
    match value {
        ParamValue::Bool(value) => value.to_string(),
        ParamValue::Integer(value) => value.to_string(),
        ParamValue::Number(value) => value.to_string(),
        ParamValue::Text(value) => format!("{value:?}"),
        ParamValue::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

/// Wrapped by hand: clap knows no columns in what comes after its own help.
fn indented(text: &str) -> String {
    const WIDTH: usize = 68;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            *line = word.to_owned();
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            *line += &format!(" {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.iter().map(|line| format!("        {line}\n")).collect()
}

/// # Errors
/// Clap's, to be printed by clap: help and the version are among them.
pub fn parse(typed: impl IntoIterator<Item = OsString>, mut command: clap::Command) -> Result<Cli, clap::Error> {
    let cli = Cli::from_arg_matches(&command.try_get_matches_from_mut(typed)?)?;
    match conflict(&cli) {
        Some(message) => Err(command.error(clap::error::ErrorKind::ArgumentConflict, message)),
        None => Ok(cli),
    }
}

/// Prints what is wrong with the arguments of that command, or its help, and says the exit code.
pub fn tell_mistyped(error: &clap::Error, command: &clap::Command) -> u8 {
    // Help that nobody reads is no failure.
    _ = error.print();
    if let Some(note) = empty_in(|name| std::env::var_os(name), command).filter(|_| error.use_stderr()) {
        eprintln!("{note}");
    }
    error.exit_code() as u8
}

/// Which variables that stand for its options are set and empty, as a script leaves them whose own are not set; for whoever
/// is told that a value makes no sense which they did not type.
fn empty_in(env: impl Fn(&OsStr) -> Option<OsString>, command: &clap::Command) -> Option<String> {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let variables = commands.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_env);
    let empty = variables.filter(|name| env(name).is_some_and(|value| value.is_empty()));
    let empty: BTreeSet<_> = empty.map(|name| name.to_string_lossy()).collect();
    let names: Vec<_> = empty.into_iter().collect();
    (!names.is_empty()).then(|| format!("note: set and empty: {}; unset what should not count", names.join(", ")))
}

/// What clap cannot tell apart by itself: a job's options beside a command, and those of a run here beside a cluster.
fn conflict(cli: &Cli) -> Option<String> {
    let Run { job, changes, adopt, slots, state, renew_quarantined, keep_days, decode_budget_mb, assumed } = &cli.run;
    let Changes { set, input, output } = changes;
    let here = [
        ("--slots", slots.is_some()),
        ("--state", state.is_some()),
        ("--keep-days", keep_days.is_some()),
        ("--decode-budget-mb", decode_budget_mb.is_some()),
    ];
    let others = [
        ("a job file", job.is_some()),
        ("--set", !set.is_empty()),
        ("--input", input.is_some()),
        ("--output", output.is_some()),
        ("--adopt", *adopt),
        ("--renew-quarantined", *renew_quarantined),
    ];
    let first = |flags: &[(&'static str, bool)]| flags.iter().find(|(_, given)| *given).map(|(name, _)| *name);
    if cli.command.is_some() {
        return first(&[&others[..], &here[..]].concat())
            .or_else(|| assumed.first())
            .map(|name| format!("{name} goes with a job to be run, not with another command"));
    }
    let given = first(&here).filter(|_| cli.coordinator().is_some())?;
    Some(format!("{given} is for a run on this machine, and --coordinator (or MR_COORDINATOR) names a cluster"))
}

impl Cli {
    /// An empty `MR_COORDINATOR` is none.
    pub fn coordinator(&self) -> Option<&str> {
        self.coordinator.as_deref().filter(|url| !url.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::registry;

    fn parsed(line: &str) -> Result<Cli, String> {
        let typed = std::iter::once("mr-submit").chain(line.split_whitespace()).map(OsString::from);
        parse(typed, command(&registry())).map_err(|error| error.to_string())
    }

    #[test]
    fn clap_finds_no_fault_with_it() {
        command(&registry()).debug_assert();
    }

    #[test]
    fn variables_that_are_set_and_empty_are_named() {
        let arg = |name: &'static str| clap::Arg::new(name).env(name);
        let inner = clap::Command::new("y").arg(arg("B")).arg(arg("A"));
        let command = clap::Command::new("x").arg(arg("A")).arg(arg("C")).arg(arg("D")).subcommand(inner);
        let empty = |set: &[(&str, &str)]| {
            let value = |name: &OsStr| set.iter().find(|(of, _)| *of == name).map(|(_, value)| value.into());
            empty_in(value, &command)
        };
        assert_eq!(empty(&[("C", "7"), ("PATH", "")]), None);
        assert_eq!(
            empty(&[("B", ""), ("C", "7"), ("A", "")]).unwrap(),
            "note: set and empty: A, B; unset what should not count"
        );
    }

    #[test]
    fn a_job_and_the_commands_are_told_apart() {
        let cli = parsed("job.toml --set a=1 --set b=2 --slots 3").unwrap();
        assert!(cli.command.is_none() && cli.run.job == Some("job.toml".into()));
        assert_eq!((cli.run.changes.set.len(), cli.run.slots), (2, Some(3)));
        assert!(matches!(parsed("--coordinator http://h:1 list").unwrap().command, Some(Command::List)));
        assert!(matches!(parsed("status x --coordinator http://h:1 --json").unwrap(), Cli { json: true, .. }));
        assert_eq!(parsed("./list").unwrap().run.job, Some("./list".into()));
        let nothing = parsed("").unwrap();
        assert!(nothing.command.is_none() && nothing.run.job.is_none());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (line, expected) in [
            ("--set a=1 list", "--set goes with a job to be run"),
            ("job.toml list", "a job file goes with a job to be run"),
            ("--slots 2 list", "--slots goes with a job to be run"),
            ("--coordinator http://h:1 job.toml --slots 2", "--slots is for a run on this machine"),
            ("--coordinator http://h:1 job.toml --state x", "--state is for a run on this machine"),
            ("job.toml --slots 0", "0 is not in 1..=1024"),
            ("job.toml --slots many", "invalid value"),
            ("job.toml other.toml", "unexpected argument"),
            ("job.toml --colour", "unexpected argument"),
            ("status", "required"),
            ("--workers 2 list", "--workers goes with a job to be run"),
            ("plan", "required"),
            ("plan job.toml --slots 2", "unexpected argument"),
            ("plan job.toml --usd-per-worker-hour inf", "a number from 0 on"),
            ("plan job.toml --usd-per-worker-hour 1 --instance-type c7i.large", "cannot be used with"),
            ("plan job.toml --records-per-slot-second 0", "a number above 0"),
        ] {
            let message = parsed(line).unwrap_err();
            assert!(message.contains(expected), "{line}: {message}");
        }
    }

    #[test]
    fn help_names_the_jobs_and_their_parameters() {
        let help = parsed("--help").unwrap_err();
        assert!(help.contains("count: counts things") && help.contains("params.components"), "{help}");
    }
}
