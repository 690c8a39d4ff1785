//! The command line, read by hand: a word, then `--name value` or `--name=value` pairs. An option that nobody asked for is
//! refused by [`Args::done`], so that a typing mistake is never silently ignored.

use std::collections::VecDeque;
use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

pub struct Args {
    rest: VecDeque<String>,
}

impl Args {
    pub fn from_command_line() -> Self {
        Self::new(std::env::args().skip(1))
    }

    pub fn new(args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { rest: args.into_iter().map(Into::into).collect() }
    }

    /// The next word, which stands before any option.
    pub fn word(&mut self) -> Option<String> {
        self.rest.pop_front()
    }

    /// The value of `--name`, if it was given.
    pub fn option<T>(&mut self, name: &str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let joined = format!("{name}=");
        let Some(at) = self.rest.iter().position(|arg| arg == name || arg.starts_with(&joined)) else {
            return Ok(None);
        };
        let arg = self.rest.remove(at).expect("position is inside");
        let value = match arg.strip_prefix(&joined) {
            Some(value) => value.to_owned(),
            None => self.rest.remove(at).with_context(|| format!("{name} wants a value"))?,
        };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => bail!("{name} {value:?}: {error}"),
        }
    }

    /// Whether the bare `--name` was given.
    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.rest.iter().position(|arg| arg == name);
        at.and_then(|at| self.rest.remove(at)).is_some()
    }

    /// All that is left, for a command that hands it on.
    pub fn rest(self) -> Vec<String> {
        self.rest.into()
    }

    /// Refuses what is left.
    pub fn done(self) -> Result<()> {
        match self.rest.front() {
            Some(arg) => bail!("{arg:?} is not understood here; see cargo xtask help"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Args;

    #[test]
    fn options_are_found_in_both_forms_and_the_unknown_is_refused() {
        let mut args = Args::new(["photos", "--count", "7", "--seed=9", "--fast", "--colour"]);
        assert_eq!(args.word().as_deref(), Some("photos"));
        assert_eq!(args.option::<u64>("--seed").unwrap(), Some(9));
        assert_eq!(args.option::<u64>("--count").unwrap(), Some(7));
        assert_eq!(args.option::<u64>("--labels").unwrap(), None);
        assert!(args.flag("--fast"));
        assert!(!args.flag("--fast"));
        assert!(args.done().unwrap_err().to_string().contains("--colour"));
    }

    #[test]
    fn a_bad_or_missing_value_names_the_option() {
        let bad = Args::new(["--count", "many"]).option::<u64>("--count").unwrap_err();
        assert!(bad.to_string().contains("--count \"many\""), "{bad}");
        let missing = Args::new(["--count"]).option::<u64>("--count").unwrap_err();
        assert!(missing.to_string().contains("wants a value"), "{missing}");
    }
}
