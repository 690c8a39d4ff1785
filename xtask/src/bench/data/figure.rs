//! A figure of ours beside others', and whether it is as good as it is meant to be.

use crate::bench::beside::ratios;
use crate::bench::spread::Spread;

/// The less, the better.
pub struct Figure {
    pub what: String,
    /// A value a round.
    pub ours: Vec<f64>,
    pub beside: Vec<Beside>,
}

pub struct Beside {
    pub whom: String,
    /// Of the same rounds as ours; of fewer, or none, if it was left out of the others.
    pub theirs: Vec<f64>,
    /// What ours is to be at most in proportion.
    pub at_most: f64,
}

impl Beside {
    pub fn peer((whom, theirs): (&str, Vec<f64>), at_most: f64) -> Self {
        Self { whom: whom.to_owned(), theirs, at_most }
    }
}

/// A line for each figure, and one below it for each that it is beside: with which spread, how ours is in proportion,
/// round by round where both were run, and whether that is what it is to be.
pub fn table(figures: &[Figure]) -> String {
    let mut text = row("", "runs", "   median   (lowest to highest)", "ours in proportion", "goal");
    let spread = |values: &[f64]| match values {
        [] => String::new(),
        _ => Spread::of(values.iter().copied()).to_string(),
    };
    for Figure { what, ours, beside } in figures {
        text += &row(what, &ours.len().to_string(), &spread(ours), "", "");
        for Beside { whom, theirs, at_most } in beside {
            let ratios = ratios(ours, theirs);
            let goal = format!("at most {at_most:.2}: {}", verdict(&ratios, *at_most));
            text += &row(&format!("  {whom}"), &theirs.len().to_string(), &spread(theirs), &spread(&ratios), &goal);
        }
    }
    text
}

fn row(what: &str, runs: &str, values: &str, ratio: &str, goal: &str) -> String {
    format!("{what:<34} {runs:>4} {values:<31} {ratio:<27} {goal}").trim_end().to_owned() + "\n"
}

/// The median decides.
fn verdict(ratios: &[f64], at_most: f64) -> &'static str {
    if ratios.is_empty() {
        return "not measured";
    }
    let Spread { low, median, high } = Spread::of(ratios.iter().copied());
    match (median <= at_most, high <= at_most, low <= at_most) {
        (true, true, _) => "met",
        (true, false, _) => "met, but not in every round",
        (false, _, true) => "missed, but not in every round",
        (false, _, false) => "missed",
    }
}

#[cfg(test)]
mod tests {
    use super::{Beside, Figure, table, verdict};

    #[test]
    fn each_figure_has_its_goals_below_it() {
        let text = table(&[
            Figure {
                what: "sort of 1000 MB, seconds".into(),
                ours: vec![8.0, 10.0, 9.0],
                beside: vec![
                    Beside::peer(("GNU sort", vec![10.0, 10.0, 10.0]), 0.95),
                    Beside::peer(("PySpark", vec![64.0]), 0.1),
                    Beside::peer(("nobody", Vec::new()), 1.5),
                ],
            },
            Figure { what: "sort of 2000 MB, MB of memory".into(), ours: vec![400.0], beside: Vec::new() },
        ]);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "runs median (lowest to highest) ours in proportion goal",
                "sort of 1000 MB, seconds 3 9.00 (8.00 to 10.00)",
                "GNU sort 3 10.00 (10.00 to 10.00) 0.90 (0.80 to 1.00) at most 0.95: met, but not in every round",
                "PySpark 1 64.00 (64.00 to 64.00) 0.12 (0.12 to 0.12) at most 0.10: missed",
                "nobody 0 at most 1.50: not measured",
                "sort of 2000 MB, MB of memory 1 400.00 (400.00 to 400.00)",
            ],
            "{text}"
        );
    }

    #[test]
    fn the_median_decides_and_the_spread_is_told() {
        for (ratios, expected) in [
            (&[0.8, 1.0, 0.9][..], "met"),
            (&[0.8, 1.1, 0.9], "met, but not in every round"),
            (&[0.8, 1.1, 1.2], "missed, but not in every round"),
            (&[1.1, 1.1, 1.2], "missed"),
            (&[], "not measured"),
        ] {
            assert_eq!(verdict(ratios, 1.0), expected, "{ratios:?}");
        }
    }
}
