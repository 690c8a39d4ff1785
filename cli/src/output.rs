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
    let json = serde_json::to_string(value).expect("our values have texts as keys");
    // JSON lets some control characters stand as they are, and a terminal obeys them. They can only be within texts.
    let escaped = |c: char| match c {
        '\u{7f}'..='\u{9f}' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    match json.contains(|c| matches!(c, '\u{7f}'..='\u{9f}')) {
        true => text(&json.chars().map(escaped).collect::<String>()),
        false => text(&json),
    }
}
