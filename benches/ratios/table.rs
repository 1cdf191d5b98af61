//! One table at the end: each row a ratio of two measurements of the same run, or a figure that has a limit of its own.

use std::fmt;

/// What was agreed to be reached.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Of the ratio.
    AtLeast(f64),
    /// Of the ratio.
    AtMost(f64),
    /// Of the figure itself.
    Below(f64),
    /// Told for orientation.
    None,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::AtLeast(ratio) => format!("≥ {ratio:.2}"),
            Self::AtMost(ratio) => format!("≤ {ratio:.2}"),
            Self::Below(figure) => format!("≤ {figure:.0}"),
            Self::None => String::new(),
        };
        f.pad(&text)
    }
}

pub struct Row {
    pub name: String,
    /// What the numbers count, such as `rows/s`.
    pub unit: &'static str,
    pub service: f64,
    /// What it is compared with; no number where it is not.
    pub beside: f64,
    pub goal: Goal,
    /// Highest resident memory of the service process; no number where none runs.
    pub resident_mib: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.service / self.beside
    }
}

#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn push(&mut self, row: Row) {
        eprintln!("{}: {:.1} {}, {:.2}", row.name, row.service, row.unit, row.ratio());
        self.0.push(row);
    }
}

/// No number is told as none.
fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() { String::new() } else { format!("{value:.decimals$}") }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<62} {:>8} {:>11} {:>11} {:>7} {:>7} {:>8}",
            "what", "unit", "rightful", "beside", "ratio", "goal", "RSS MiB"
        )?;
        for row in &self.0 {
            writeln!(
                f,
                "{:<62} {:>8} {:>11} {:>11} {:>7} {:>7} {:>8}",
                row.name,
                row.unit,
                number(row.service, if row.service < 1000.0 { 1 } else { 0 }),
                number(row.beside, if row.beside < 1000.0 { 1 } else { 0 }),
                number(row.ratio(), 2),
                row.goal,
                number(row.resident_mib, 1)
            )?;
        }
        Ok(())
    }
}
