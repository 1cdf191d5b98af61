//! The log as a file: NDJSON or CSV, chunk by chunk.

use crate::domain::audit::exported::Exported;

/// The file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line, as the API shows events.
    Ndjson,
    /// RFC 4180 with a header line.
    Csv,
}

impl Format {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ndjson" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

const COLUMNS: [&str; 15] = [
    "id",
    "stream",
    "seq",
    "at",
    "event",
    "request_id",
    "subject_ref",
    "actor",
    "step",
    "action",
    "rows",
    "details",
    "prev_hash",
    "hash",
    "index",
];

/// Could not be written in this format; the values of an event always can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event could not be written in this format")]
pub struct NotEncoded;

/// What stands before the first event.
///
/// # Errors
/// Never for the columns there are.
pub fn head(format: Format) -> Result<Vec<u8>, NotEncoded> {
    match format {
        Format::Ndjson => Ok(Vec::new()),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(COLUMNS).map_err(|_| NotEncoded)?;
            writer.into_inner().map_err(|_| NotEncoded)
        }
    }
}

/// A chunk of events.
///
/// # Errors
/// When an event holds what the format cannot.
pub fn encode(format: Format, events: &[Exported]) -> Result<Vec<u8>, NotEncoded> {
    match format {
        Format::Ndjson => {
            let mut lines = Vec::new();
            for event in events {
                serde_json::to_writer(&mut lines, event).map_err(|_| NotEncoded)?;
                lines.push(b'\n');
            }
            Ok(lines)
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for event in events {
                writer.write_record(record(event)).map_err(|_| NotEncoded)?;
            }
            writer.into_inner().map_err(|_| NotEncoded)
        }
    }
}

fn record(Exported { event, index }: &Exported) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        event.id.to_string(),
        event.stream.clone(),
        event.seq.to_string(),
        event.at.clone(),
        event.event.clone(),
        event.request_id.map(|id| id.to_string()).unwrap_or_default(),
        text(&event.subject_ref),
        event.actor.clone(),
        text(&event.step),
        text(&event.action),
        event.rows.as_ref().map(ToString::to_string).unwrap_or_default(),
        event.details.to_string(),
        event.prev_hash.clone(),
        event.hash.clone(),
        index.map(|index| index.to_string()).unwrap_or_default(),
    ];
    cells.into_iter().map(harmless).collect()
}

/// Spreadsheets take a cell that begins like this for a formula; an apostrophe in front makes it text.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        audit::{ChainHead, Event, EventName, NewEvent},
        clock::Clock,
    };

    fn event(actor: &str) -> Exported {
        let new = NewEvent {
            event: EventName::RequestCreated,
            request_id: None,
            subject_ref: None,
            actor: actor.to_owned(),
            step: None,
            action: None,
            rows: Some(json!({ "matched": 1 })),
            details: json!({}),
        };
        let event = Event::chained(new, Clock.new_id(), "request:x", Clock.now(), &mut ChainHead::default());
        Exported { event, index: Some(7) }
    }

    #[test]
    fn a_cell_that_looks_like_a_formula_becomes_text() {
        let csv = encode(Format::Csv, &[event("=cmd|' /C calc'!A0, \"x\"\n")]).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_slice());
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(row.len(), COLUMNS.len());
        assert_eq!(&row[7], "'=cmd|' /C calc'!A0, \"x\"\n");
        assert_eq!((&row[10], &row[14]), ("{\"matched\":1}", "7"));
    }

    #[test]
    fn every_line_of_ndjson_is_an_event_that_verifies() {
        let events = [event("alice"), event("bob")];
        let lines = String::from_utf8(encode(Format::Ndjson, &events).unwrap()).unwrap();
        let read: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events.map(|exported| exported.event));
        assert!(read.iter().all(|event| event.computed_hash() == event.hash));
        assert!(lines.lines().all(|line| line.ends_with(",\"index\":7}")), "{lines}");
    }
}
