//! What `bench/run` tells: how fast each way through a proxy is and how far from the limit, how it grows, and what a
//! node's death costs. Tables are Markdown, to be kept as they are.

mod clients;
mod deaths;
mod growth;
mod rig;
mod ways;

use std::time::Duration;

use anyhow::bail;

use crate::machine;
use crate::rounds::Pace;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Extent {
    pace: Pace,
    /// How often one kind of proxy loses a node.
    deaths: usize,
    /// Whether the largest fleets are left out.
    is_quick: bool,
}

const FULL: Extent = Extent {
    pace: Pace { rounds: 5, tries: 7, load: Duration::from_secs(3), paced: Duration::from_secs(4) },
    deaths: 20,
    is_quick: false,
};

/// To see that it works. Its figures are no results.
const QUICK: Extent = Extent {
    pace: Pace { rounds: 2, tries: 2, load: Duration::from_secs(1), paced: Duration::from_secs(1) },
    deaths: 2,
    is_quick: true,
};

/// What had to be kept and was not.
#[derive(Debug, Default)]
struct Missed(Vec<String>);

impl Missed {
    /// Notes a figure that is below what is allowed, or is no number.
    fn below(&mut self, what: &str, figure: f64, least: f64) {
        if figure.is_nan() || figure < least {
            self.0.push(format!("{what}: {figure:.3}, at least {least} is allowed"));
        }
    }

    /// Notes a figure that is above what is allowed, or is no number.
    fn above(&mut self, what: &str, figure: f64, most: f64) {
        if figure.is_nan() || figure > most {
            self.0.push(format!("{what}: {figure:.3}, at most {most} is allowed"));
        }
    }
}

/// Measures one thing and prints it.
type Measure = fn(Extent, &mut Missed) -> anyhow::Result<()>;

const PARTS: [(&str, Measure); 3] = [("ways", ways::measure), ("growth", growth::measure), ("deaths", deaths::measure)];

/// Measures the parts that `words` name, or all of them; `--quick` makes it short. Errs if a bound was not kept.
pub(crate) fn measure(words: &[&str]) -> anyhow::Result<()> {
    let (options, parts): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
    let extent = match options.as_slice() {
        [] => FULL,
        ["--quick"] => QUICK,
        other => bail!("{} is not known: --quick is all there is", other.join(" ")),
    };
    if let Some(part) = parts.iter().find(|part| !PARTS.iter().any(|(name, _)| name == *part)) {
        bail!("there is no part {part:?}: ways, growth or deaths is expected");
    }
    println!("{}", machine::describe()?);
    if extent.is_quick {
        println!("\n**Quick: these figures only show that it works.**");
    }
    let mut missed = Missed::default();
    for (name, measure) in PARTS {
        if parts.is_empty() || parts.contains(&name) {
            measure(extent, &mut missed)?;
        }
    }
    let Missed(missed) = missed;
    // Of short runs nothing can be said.
    if missed.is_empty() || extent.is_quick {
        return Ok(());
    }
    bail!("not kept:\n  {}", missed.join("\n  "))
}

/// Prints a row of a Markdown table.
fn row<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) {
    let cells: Vec<_> = cells.into_iter().map(|cell| cell.as_ref().to_owned()).collect();
    println!("| {} |", cells.join(" | "));
}

/// Prints the head of a Markdown table.
fn head<const N: usize>(cells: [&str; N]) {
    println!();
    row(cells);
    println!("|{}", "---|".repeat(N));
}
