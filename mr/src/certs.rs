//! `mr-coordinator certs`: a small CA for one cluster.

use clap::{Args, Subcommand};
use mr_tls::{Authority, CaStep, Issued, Peer, Role};
use std::path::PathBuf;

const YEAR: u32 = 365;

/// Makes and renews the certificates by which coordinators, workers and submitters know each other
#[derive(Args)]
pub struct Certs {
    #[command(subcommand)]
    command: Command,
    /// The CA's folder: ca-key.pem in it makes whoever has it anyone, so it stays on one machine
    #[arg(long, value_name = "DIR", default_value = "certs", global = true)]
    dir: PathBuf,
    /// For how many days certificates are good: a year, and new ones of `rotate` as long as those that they replace
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650), global = true)]
    days: Option<u32>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a CA, and a certificate each for coordinator, worker and submitter
    Init,
    /// Makes a further certificate
    Issue {
        /// coordinator, worker or submitter
        role: Role,
        /// Of the certificate and its folder, such as who is to use it
        #[arg(long)]
        name: String,
    },
    /// Makes new certificates and keys for all that were issued; a process that finds them in its folder uses them at once
    Rotate {
        /// Goes one of three steps further in replacing the CA itself
        #[arg(long)]
        ca: bool,
    },
}

/// What it has made is said on stdout, a folder a line, and what is to be done with it on stderr.
pub fn run(args: Certs) -> anyhow::Result<()> {
    let Certs { command, dir, days } = args;
    match command {
        Command::Init => {
            let (_, issued) = Authority::init(&dir, days.unwrap_or(YEAR))?;
            told(&issued);
            eprintln!(
                "Give each process one of these folders, as its `--certs`. Keep {}: whoever has it can make more.",
                dir.join("ca-key.pem").display()
            );
        }
        Command::Issue { role, name } => {
            let peer = Peer::new(role, &name)?;
            told(&[Authority::open(&dir)?.issue(&peer, days.unwrap_or(YEAR))?]);
        }
        Command::Rotate { ca: false } => {
            told(&Authority::open(&dir)?.rotate(days)?);
            eprintln!(
                "Copy the files of each folder over those that its processes have (cp certs/NAME/*.pem THEIRS/): they are used without a restart."
            );
        }
        Command::Rotate { ca: true } => {
            let (step, issued) = Authority::open(&dir)?.rotate_ca(days)?;
            told(&issued);
            eprintln!("{}", next(step));
        }
    }
    Ok(())
}

fn told(issued: &[Issued]) {
    for Issued { peer, folder } in issued {
        println!("{}\t{peer}", folder.display());
    }
}

fn next(step: CaStep) -> &'static str {
    match step {
        CaStep::Announced => {
            "Step 1 of 3: the new CA is believed beside the old one. Copy each folder to its processes; when all have it, \
             run this again."
        }
        CaStep::Signs => {
            "Step 2 of 3: the new CA has signed new certificates. Copy each folder to its processes; when all have it, run \
             this again."
        }
        CaStep::Alone => {
            "Step 3 of 3: the old CA is believed no longer. Copy each folder to its processes; whoever comes with a \
             certificate of the old one is sent away from then on."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_says_what_comes_next() {
        for (step, words) in
            [(CaStep::Announced, "run this again"), (CaStep::Signs, "run this again"), (CaStep::Alone, "sent away")]
        {
            assert!(next(step).contains(words));
        }
    }
}
