//! One table at the end: each row a ratio of two measurements of the same run.

use std::fmt;

pub struct Row {
    pub name: String,
    /// What the numbers count, such as `rows/s`.
    pub unit: &'static str,
    pub service: f64,
    pub raw: f64,
    pub goal: f64,
    /// Highest resident memory of the service process.
    pub resident_mib: f64,
}

#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn push(&mut self, row: Row) {
        eprintln!("{}: {:.2}", row.name, row.service / row.raw);
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<58} {:>8} {:>12} {:>12} {:>7} {:>7} {:>9}",
            "what", "unit", "rightful", "raw SQL", "ratio", "goal", "RSS MiB"
        )?;
        for row in &self.0 {
            writeln!(
                f,
                "{:<58} {:>8} {:>12.0} {:>12.0} {:>7.2} {:>7.2} {:>9.1}",
                row.name,
                row.unit,
                row.service,
                row.raw,
                row.service / row.raw,
                row.goal,
                row.resident_mib
            )?;
        }
        Ok(())
    }
}
