//! Workers on EC2: a group of machines seen from the coordinator, and the machine seen from its worker.

mod group;
mod notices;

pub use group::{Group, GroupSettings};
pub use notices::{Notice, Notices};

/// An error and its causes in one line. What the SDK shows of them by itself has whole answers in it, headers and all.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut said: Vec<String> = causes.map(ToString::to_string).collect();
    said.dedup();
    said.join(": ")
}
