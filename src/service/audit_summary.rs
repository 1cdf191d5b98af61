//! The summary for auditors: computed over all requests of one moment, and as a CSV file.

use super::{
    Service,
    audit_export::{NotEncoded, harmless},
    error::ServiceError,
};
use crate::{
    domain::summary::{Group, Summary, Tally},
    store::SummaryFilter,
};

/// How it is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Json,
    /// RFC 4180 with a header line.
    Csv,
}

impl Style {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Json, Self::Csv].into_iter().find(|style| style.as_str() == text)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

const COLUMNS: [&str; 13] = [
    "month",
    "kind",
    "status",
    "requests",
    "on_time",
    "late",
    "not_due",
    "replays",
    "unanswered",
    "mean_days",
    "rows_erased",
    "rows_deleted",
    "rows_masked",
];
/// Stands where the last line of the file would have a month.
const TOTAL: &str = "total";

/// Counts the requests that pass the filter; late is what is late now.
///
/// # Errors
/// When the store does not answer.
pub async fn summarise(service: &Service, filter: &SummaryFilter) -> Result<Summary, ServiceError> {
    let mut summary = Summary::new(service.clock.now());
    service.store.each_request(filter, |request| summary.add(request)).await?;
    Ok(summary)
}

/// The summary as a file: a line for each group, and the total at the end.
///
/// # Errors
/// Never for the columns there are.
pub fn as_csv(summary: &Summary) -> Result<Vec<u8>, NotEncoded> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(|_| NotEncoded)?;
    for (Group { month, kind, status }, tally) in &summary.lines {
        writer.write_record(record([month.as_str(), *kind, *status], tally)).map_err(|_| NotEncoded)?;
    }
    writer.write_record(record([TOTAL, "", ""], &summary.total)).map_err(|_| NotEncoded)?;
    writer.into_inner().map_err(|_| NotEncoded)
}

fn record(group: [&str; 3], tally: &Tally) -> Vec<String> {
    let answers = [tally.requests, tally.on_time, tally.late, tally.not_due, tally.replays, tally.unanswered];
    let rows = [tally.rows_erased, tally.rows_deleted, tally.rows_masked];
    let mean_days = tally.mean_days().map(|days| days.to_string()).unwrap_or_default();
    let cells = group.map(str::to_owned).into_iter().chain(answers.map(|count| count.to_string()));
    let cells = cells.chain([mean_days]).chain(rows.map(|count| count.to_string()));
    cells.map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    #[test]
    fn a_cell_of_the_file_that_looks_like_a_formula_becomes_text() {
        let group = Group { month: "=1+1".to_owned(), kind: "@erasure", status: "completed" };
        let tally = Tally { requests: 1, rows_erased: -5, ..Tally::default() };
        let summary = Summary { at: Clock.now(), lines: [(group, tally)].into(), total: tally };
        let file = String::from_utf8(as_csv(&summary).unwrap()).unwrap();
        let lines: Vec<&str> = file.lines().collect();
        assert_eq!(lines[0], COLUMNS.join(","));
        assert_eq!(lines[1], "'=1+1,'@erasure,completed,1,0,0,0,0,0,,'-5,0,0");
        assert_eq!(lines[2], "total,,,1,0,0,0,0,0,,'-5,0,0");
    }
}
