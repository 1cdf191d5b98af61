//! The package of an export (GDPR Art. 15(3), 20): a zip with a file per table, a manifest and a page for people. It is
//! written as a stream; what is ready is taken away piece by piece, and nothing grows with the number of rows.

mod files;
mod manifest;
mod page;
mod tail;
mod value;

use std::io::{self, Write};

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::Serialize;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions, write::StreamWriter};

use self::{
    files::{Measured, file_name},
    manifest::Manifest,
    page::{Page, Sample},
    tail::{Buffer, Tail},
    value::write_field,
};
pub use self::{
    manifest::{FilePart, Heading, PlanPart, RequestPart},
    tail::Recipient,
    value::Value,
};
use super::{audit::timestamp, plan::About, request::Format};

/// A column of a table in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: String,
    /// As the database calls it.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// Stands for a step where the service's own records were read.
const CONSENTS: &str = "consents";

/// A package in the making.
pub struct Packer {
    zip: ZipWriter<StreamWriter<Tail>>,
    ready: Buffer,
    heading: Heading,
    format: Format,
    created_at: DateTime<Utc>,
    files: Vec<FilePart>,
    page: Page,
    table: Option<Table>,
}

/// The table that is being written.
struct Table {
    part: FilePart,
    measured: Measured,
    rows: u64,
    sample: Sample,
}

impl Packer {
    /// `recipient`: whom it is encrypted to, if to anybody.
    ///
    /// # Errors
    /// When the recipient's key does not work.
    pub fn new(
        heading: Heading,
        format: Format,
        recipient: Option<&Recipient>,
        created_at: DateTime<Utc>,
    ) -> io::Result<Self> {
        let ready = Buffer::default();
        let tail = Tail::new(ready.clone(), recipient)?;
        Ok(Self {
            zip: ZipWriter::new_stream(tail),
            ready,
            heading,
            format,
            created_at,
            files: Vec::new(),
            page: Page::default(),
            table: None,
        })
    }

    /// Begins the file of a step's table.
    ///
    /// # Errors
    /// When the zip cannot go on.
    pub fn begin(&mut self, step: &str, columns: Vec<Column>, about: &About) -> io::Result<()> {
        let file = file_name(step, self.format.as_str(), &self.files);
        self.begin_file(file, step, columns, about)
    }

    /// Begins the file of the person's consents, which lie in no table of the plan.
    ///
    /// # Errors
    /// When the zip cannot go on.
    pub fn begin_consents(&mut self, columns: Vec<Column>, about: &About) -> io::Result<()> {
        self.begin_file(format!("{CONSENTS}.{}", self.format.as_str()), CONSENTS, columns, about)
    }

    fn begin_file(
        &mut self,
        file: String,
        step: &str,
        columns: Vec<Column>,
        about: &About,
    ) -> io::Result<()> {
        self.zip.start_file(&file, self.options())?;
        let mut measured = Measured::default();
        match self.format {
            Format::Json => measured.write(&mut self.zip, b"[")?,
            Format::Csv => measured.write(&mut self.zip, &head(&columns)?)?,
        }
        let part = FilePart {
            file,
            step: step.to_owned(),
            rows: None,
            bytes: 0,
            sha256: String::new(),
            columns,
            about: about.clone(),
        };
        self.table = Some(Table { part, measured, rows: 0, sample: Sample::default() });
        Ok(())
    }

    /// Adds rows to the table that was begun.
    ///
    /// # Errors
    /// When the zip cannot go on.
    pub fn rows(&mut self, rows: &[Vec<Value>]) -> io::Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        let mut text = Vec::new();
        for row in rows {
            match self.format {
                Format::Json => write_object(&table.part.columns, row, table.rows == 0, &mut text)?,
                Format::Csv => write_record(row, &mut text)?,
            }
            table.rows += 1;
            table.sample.take(row);
        }
        table.measured.write(&mut self.zip, &text)
    }

    /// Ends the table.
    ///
    /// # Errors
    /// When the zip cannot go on.
    pub fn end(&mut self) -> io::Result<()> {
        let Some(mut table) = self.table.take() else { return Ok(()) };
        if self.format == Format::Json {
            let end: &[u8] = if table.rows == 0 { b"]\n" } else { b"\n]\n" };
            table.measured.write(&mut self.zip, end)?;
        }
        let (bytes, sha256) = table.measured.finish();
        let part = FilePart { rows: Some(table.rows), bytes, sha256, ..table.part };
        self.page.table(&part, &table.sample);
        self.files.push(part);
        Ok(())
    }

    /// The bytes of the package that are ready and have not been taken yet.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.ready.take()
    }

    /// Writes the manifest and the page, and ends the package; its last bytes.
    ///
    /// # Errors
    /// When the zip cannot go on.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        let (created_at, options) = (timestamp(self.created_at), self.options());
        let manifest = Manifest { heading: &self.heading, created_at: &created_at, files: &self.files };
        let manifest = serde_json::to_vec_pretty(&manifest)?;
        let page = self.page.render(&self.heading, &created_at);
        for (name, bytes) in [("manifest.json", manifest), ("index.html", page.into_bytes())] {
            self.zip.start_file(name, options)?;
            self.zip.write_all(&bytes)?;
        }
        self.zip.finish()?.into_inner().finish()?;
        Ok(self.ready.take())
    }

    fn options(&self) -> SimpleFileOptions {
        let at = self.created_at;
        let part = |number: u32| u8::try_from(number).unwrap_or_default();
        let modified = zip::DateTime::from_date_and_time(
            u16::try_from(at.year()).unwrap_or_default(),
            part(at.month()),
            part(at.day()),
            part(at.hour()),
            part(at.minute()),
            part(at.second()),
        );
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(modified.unwrap_or_default())
            // Its size is not known when it begins.
            .large_file(true)
    }
}

fn head(columns: &[Column]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        write_field(&column.name, &mut text)?;
    }
    text.extend(b"\r\n");
    Ok(text)
}

fn write_record(row: &[Value], text: &mut Vec<u8>) -> io::Result<()> {
    for (at, value) in row.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        value.write_csv(text)?;
    }
    text.extend(b"\r\n");
    Ok(())
}

/// One row to a line.
fn write_object(columns: &[Column], row: &[Value], is_first: bool, text: &mut Vec<u8>) -> io::Result<()> {
    text.extend(if is_first { "\n{" } else { ",\n{" }.as_bytes());
    for (at, (column, value)) in columns.iter().zip(row).enumerate() {
        if at > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut *text, &column.name)?;
        text.push(b':');
        value.write_json(text)?;
    }
    text.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests;
