//! A cluster's certificates, made as an operator makes them.

use crate::programs::command;
use crate::{Ended, Running, Scratch};
use std::time::Duration;

/// A CA in the scratch folder, and what it has issued.
pub struct Certs<'a> {
    scratch: &'a Scratch,
    folder: &'static str,
}

impl<'a> Certs<'a> {
    pub fn init(scratch: &'a Scratch) -> Self {
        Self::init_in(scratch, "certs")
    }

    pub fn init_in(scratch: &'a Scratch, folder: &'static str) -> Self {
        let certs = Self { scratch, folder };
        certs.run(&["init"]).done();
        certs
    }

    /// `mr-coordinator certs` with these arguments.
    pub fn run(&self, args: &[&str]) -> Ended {
        let mut command = command(self.scratch, "mr-coordinator", None);
        command.args(["certs", "--dir", self.folder]).args(args);
        Running::start(command, self.scratch).wait(Duration::from_secs(30))
    }

    /// The folder of one who was issued a certificate.
    pub fn of(&self, name: &str) -> String {
        self.scratch.join(self.folder).join(name).display().to_string()
    }
}
