//! Data on stdout. Whoever reads it may stop when they have enough.

use crate::stop::Stop;
use std::io::{ErrorKind, Write};

pub fn text(text: &str) -> Result<(), Stop> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Stop::Failed(format!("writing to stdout: {error}"))),
        _ => Ok(()),
    }
}

pub fn json(value: &impl serde::Serialize) -> Result<(), Stop> {
    text(&serde_json::to_string(value).expect("our values have texts as keys"))
}
