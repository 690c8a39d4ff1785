//! What is wrong with what the user typed, and where: in a line of the job file, in an argument, or in the whole.
//!
//! A mistake is shown so that an editor finds it (`file:line:column:` in front) and a person sees it (the line, with a
//! mark under the place).

use mr_core::masked;
use std::fmt::Write;
use std::ops::Range;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub at: At,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// Bytes of the job file.
    File(Range<usize>),
    /// As it was typed: `--set params.components=0.95`.
    Argument(String),
    /// Nowhere in particular: something is missing.
    Whole,
}

impl Mistake {
    pub fn new(at: &At, message: impl Into<String>) -> Self {
        Self { at: at.clone(), message: message.into() }
    }
}

/// A text and what to call it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// # Errors
    /// A sentence when the bytes are no text.
    pub fn of_bytes(name: String, bytes: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let whole = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = whole.iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("{name}:{line}: this is not UTF-8, as a job file has to be")
        })?;
        Ok(Self { name, text: text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned) })
    }
}

/// How much of a long line is shown on either side of the place.
const AROUND: usize = 60;

/// All mistakes, those in the file first and from its top, an empty line between two.
pub fn render(mistakes: &[Mistake], source: &Source) -> String {
    let mut sorted: Vec<_> = mistakes.iter().collect();
    sorted.sort_by_key(|mistake| match &mistake.at {
        At::File(span) => (0, span.start),
        At::Whole => (1, 0),
        At::Argument(_) => (2, 0),
    });
    let shown: Vec<_> = sorted.into_iter().map(|mistake| render_one(mistake, source)).collect();
    shown.join("\n\n")
}

fn render_one(mistake: &Mistake, source: &Source) -> String {
    // It may name a key of the file, and a URL in it may hold a secret.
    let message: String = masked(&mistake.message).chars().map(harmless).collect();
    match &mistake.at {
        At::File(span) => {
            let place = Place::find(&source.text, span);
            let mut out = format!("{}:{}:{}: {message}\n", source.name, place.line, place.column);
            let number = place.line.to_string();
            let gutter = " ".repeat(number.len());
            writeln!(out, "{gutter} |\n{number} | {}\n{gutter} | {}", place.text, place.mark)
                .expect("a text takes all");
            out.trim_end().to_owned()
        }
        At::Argument(typed) => format!("`{}`: {message}", masked(typed).chars().map(harmless).collect::<String>()),
        At::Whole => format!("{}: {message}", source.name),
    }
}

/// A line of the text and the mark under it. Counted from 1, columns in characters.
struct Place {
    line: usize,
    column: usize,
    text: String,
    mark: String,
}

impl Place {
    fn find(text: &str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].split('\n').next().unwrap_or("").trim_end_matches('\r');
        let end = floor(text, span.end).clamp(start, (line_start + line.len()).max(start));
        let before: Vec<char> = text[line_start..start].chars().collect();
        let marked = text[start..end].chars().count().max(1);
        // Letter for letter, so that the mark stays under its place.
        let all: Vec<char> = masked(line).chars().collect();
        let (first, last) = (before.len().saturating_sub(AROUND), all.len().min(before.len() + AROUND));
        // A tab stays a tab below, so that the mark stands under its place however wide tabs are.
        let pad: String =
            before[first.min(before.len())..].iter().map(|c| if *c == '\t' { '\t' } else { ' ' }).collect();
        let marks = marked.min(last.saturating_sub(before.len()).max(1));
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            column: before.len() + 1,
            text: all[first.min(last)..last].iter().copied().map(harmless).collect(),
            mark: format!("{pad}{}", "^".repeat(marks)),
        }
    }
}

/// A file may hold what a terminal would obey.
fn harmless(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}

fn floor(text: &str, position: usize) -> usize {
    let mut position = position.min(text.len());
    while !text.is_char_boundary(position) {
        position -= 1;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Range<usize>) -> String {
        let source = Source { name: "a.toml".into(), text: text.into() };
        render(&[Mistake::new(&At::File(span), "no")], &source)
    }

    #[test]
    fn a_mark_stands_under_its_place() {
        assert_eq!(shown("a = 1\nbc = 2\n", 6..8), "a.toml:2:1: no\n  |\n2 | bc = 2\n  | ^^");
        assert_eq!(shown("ü = 1\r\n\tk = 22\r\n", 13..15), "a.toml:2:6: no\n  |\n2 | \tk = 22\n  | \t    ^^");
        assert_eq!(shown("a = [1,\n2]", 4..10), "a.toml:1:5: no\n  |\n1 | a = [1,\n  |     ^^^");
    }

    #[test]
    fn any_span_of_any_text_can_be_shown() {
        for text in ["", "\n", "ü", "a\u{1b}[2J", "a\n\nb", &"x".repeat(500)] {
            for start in 0..=text.len() + 1 {
                for end in start..=text.len() + 1 {
                    let out = shown(text, start..end);
                    assert!(out.contains('^') && !out.contains('\u{1b}'), "{text:?} {start}..{end}");
                    assert!(out.len() < 700);
                }
            }
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        let source = Source { name: "a.toml".into(), text: "\"\\u001b[2J\" = 1".into() };
        for at in [At::File(0..3), At::Whole, At::Argument("--set \u{1b}[2J=1".into())] {
            let out = render(&[Mistake::new(&at, "unknown key `\u{1b}[2J`")], &source);
            assert!(out.contains("unknown key `\u{fffd}[2J`") && !out.contains('\u{1b}'), "{out:?}");
        }
    }

    #[test]
    fn secrets_in_urls_are_not_shown() {
        let text = "w = \"https://u:pw@h/w?sig=1\" # ü";
        assert_eq!(
            shown(text, 4..29),
            format!("a.toml:1:5: no\n  |\n1 | w = \"https://…………@h/w?……………\" # ü\n  |     {}", "^".repeat(25))
        );
        for at in [At::File(0..1), At::Whole, At::Argument("--set params.weights=https://u:pw@h/w?sig=1".into())] {
            let source = Source { name: "a.toml".into(), text: text.into() };
            let out = render(&[Mistake::new(&at, "it is \"https://u:pw@h/w?sig=1\"")], &source);
            assert!(!out.contains("pw") && !out.contains("sig"), "{out}");
        }
    }

    #[test]
    fn the_files_mistakes_come_first_and_in_order() {
        let source = Source { name: "a.toml".into(), text: "a\nb".into() };
        let at = [At::Argument("--set x=1".into()), At::Whole, At::File(2..3), At::File(0..1)];
        let mistakes: Vec<_> = at.iter().map(|at| Mistake::new(at, "no")).collect();
        let out = render(&mistakes, &source);
        let heads: Vec<_> = out.lines().filter(|line| line.contains("no")).collect();
        assert_eq!(heads, ["a.toml:1:1: no", "a.toml:2:1: no", "a.toml: no", "`--set x=1`: no"]);
    }
}
