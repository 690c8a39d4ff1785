//! What a program tells of its own command line: completions for a shell, and manual pages. The three programs share
//! it.

use clap::{Command, Subcommand};
use std::io;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Pages {
    /// Prints completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Prints the manual page, or writes one for each command into a folder
    Man {
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

impl Pages {
    /// What is to be printed about that command, or that its pages are in their folder.
    ///
    /// # Errors
    /// When they can't be written there.
    pub fn told(&self, mut command: Command) -> io::Result<Told> {
        let mut text = Vec::new();
        match self {
            Self::Completions { shell } => {
                let name = command.get_name().to_owned();
                clap_complete::generate(*shell, &mut command, name.clone(), &mut text);
                if *shell == clap_complete::Shell::Bash {
                    text = one_spelling(&name, &String::from_utf8_lossy(&text)).into_bytes();
                }
            }
            Self::Man { folder: None } => clap_mangen::Man::new(command).render(&mut text)?,
            Self::Man { folder: Some(folder) } => {
                let within = |error: io::Error| {
                    io::Error::new(error.kind(), format!("writing manual pages into {}: {error}", folder.display()))
                };
                std::fs::create_dir_all(folder).map_err(within)?;
                clap_mangen::generate_to(command, folder).map_err(within)?;
                return Ok(Told::Written(folder.clone()));
            }
        }
        Ok(Told::Text(String::from_utf8_lossy(&text).trim_end().to_owned()))
    }
}

/// clap_complete 4.6 spells the hyphen of a program's name in two ways, and what it completes after a command's name is not
/// found by the other.
fn one_spelling(name: &str, script: &str) -> String {
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub enum Told {
    Text(String),
    Written(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::{Pages, Told};
    use clap::Command;
    use clap_complete::Shell;

    fn command() -> Command {
        Command::new("mr-thing").about("Does a thing").subcommand(Command::new("list"))
    }

    #[test]
    fn completions_are_for_the_commands_own_name() {
        for (shell, expected) in [
            (Shell::Bash, "complete -F _mr__thing -o nosort -o bashdefault -o default mr-thing"),
            (Shell::Zsh, "#compdef mr-thing"),
            (Shell::Fish, "complete -c mr-thing "),
        ] {
            let Ok(Told::Text(text)) = (Pages::Completions { shell }).told(command()) else { panic!("{shell}") };
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_bash_looks_for_after_a_command_is_there() {
        let Ok(Told::Text(text)) = (Pages::Completions { shell: Shell::Bash }).told(command()) else { panic!() };
        let looked_for: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("cmd=\"")).collect();
        assert!(looked_for.len() > 2, "{text}");
        for cmd in looked_for.iter().filter_map(|rest| rest.strip_suffix('"')).filter(|cmd| !cmd.is_empty()) {
            assert!(text.lines().any(|line| line.trim() == format!("{cmd})")), "{cmd} is not there: {text}");
        }
    }

    #[test]
    fn manual_pages_are_printed_or_written() {
        let Ok(Told::Text(page)) = (Pages::Man { folder: None }).told(command()) else { panic!() };
        assert!(page.contains("mr\\-thing"), "{page}");
        let folder = tempfile::tempdir().unwrap();
        let told = Pages::Man { folder: Some(folder.path().join("man")) }.told(command()).unwrap();
        assert_eq!(told, Told::Written(folder.path().join("man")));
        assert!(folder.path().join("man/mr-thing.1").is_file() && folder.path().join("man/mr-thing-list.1").is_file());
        std::fs::write(folder.path().join("file"), "").unwrap();
        let refused = Pages::Man { folder: Some(folder.path().join("file")) }.told(command()).unwrap_err();
        assert!(refused.to_string().contains("writing manual pages into"), "{refused}");
    }
}
