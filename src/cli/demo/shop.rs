//! The sample shop: always the same rows, made up here. No name belongs to anybody.

use std::{fmt::Write, fs::File, path::Path};

use crate::cli::Failure;

pub(super) const PEOPLE: u64 = 3_000;
/// Who asks: a person with enough rows for a bar to be seen.
pub(super) const PERSON: &str = "jane.miller@example.com";
const PERSON_ID: u64 = 42;
/// Below the demo's folder.
pub(super) const FIXTURES: &str = "fixtures";

/// The plan of the demo, with every kind of step that an erasure knows.
pub(super) const PLAN: &str = "\
# The person's row is deleted last; the order of steps is worked out from `match` and the foreign keys.
plan: customer
about:                                 # what a copy tells (Art. 15(1))
  purpose: selling things for the home
  legal_basis: \"contract, Art. 6(1)(b)\"
  categories: [contact data, orders, messages]
  retention: as long as there is an account; invoices for ten years
subject:
  user_id: shop.users.id
  email: { column: shop.users.email, ignore_case: true }
connections:
  shop:
    users:
      erase: delete
      portable: [email, name, phone]
      rectify: [email, name, phone]
    profiles:
      match: { user_id: users.id }
      erase: delete
      rectify: [birthday, bio]
    addresses:
      match: { id: users.address_id }    # households share one
      erase: delete_if_unreferenced
    orders:
      match: { user_id: users.id }
      erase:
        mask: { name: { string_rewrite: \"[erased]\" }, email: { hmac: {} }, address: null_rewrite, user_id: null_rewrite }
        basis: \"total and date stay for accounting, no longer tied to a person\"
    order_items:
      match: { order_id: orders.id }
      erase: { keep: \"part of the invoice\" }
    messages:
      match: [{ sender_id: users.id }, { recipient_id: users.id }]
      erase: delete
    comments:
      - match: { user_id: users.id }
        erase: delete
      - name: replies                    # other people's answers lose the pointer only
        match: { parent_id: comments.id }
        erase: unlink
";

/// What every demo begins with, as files that people may look at: the tables, and who is named.
const SCHEMA: (&str, &str) = ("01_schema.sql", include_str!("fixtures/shop/01_schema.sql"));
const NAMED: (&str, &str) = ("02_people.yaml", include_str!("fixtures/shop/02_people.yaml"));
/// The crowd, made up here.
const CROWD: &str = "03_crowd.sql";

const FIRST: [&str; 12] =
    ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ines", "Jon", "Kim", "Lea"];
const LAST: [&str; 10] =
    ["Adler", "Berg", "Costa", "Dietz", "Ek", "Fuchs", "Garcia", "Holm", "Ito", "Jansen"];
const CITIES: [&str; 6] = ["Lisbon", "Vienna", "Utrecht", "Malmo", "Graz", "Ghent"];
const PRODUCTS: [&str; 8] = ["lamp", "chair", "teapot", "notebook", "blanket", "clock", "mug", "rug"];

/// Writes the fixtures of the shop, and the empty database that they are loaded into; how many rows they hold.
pub(super) fn write(folder: &Path) -> Result<u64, Failure> {
    let mut rows = Rows::default();
    rows.people();
    rows.trade();
    rows.talk();
    let fixtures = folder.join(FIXTURES).join("shop");
    let write = || {
        std::fs::create_dir_all(&fixtures)?;
        for (name, text) in [SCHEMA, NAMED, (CROWD, &rows.sql())] {
            std::fs::write(fixtures.join(name), text)?;
        }
        // A target that does not exist is never created by a connector; an empty file is an empty database.
        File::create_new(folder.join("shop.db"))
    };
    write().map_err(|error| Failure::new(format!("{}: {}", folder.display(), error.kind())))?;
    // One row on each such line.
    let named = NAMED.1.lines().filter(|line| line.trim_start().starts_with("- {")).count();
    Ok(rows.count + named as u64)
}

/// Rows as INSERT statements, in the order of their foreign keys.
#[derive(Default)]
struct Rows {
    tables: Vec<(&'static str, Vec<String>)>,
    count: u64,
    state: u64,
}

impl Rows {
    fn add(&mut self, table: &'static str, values: String) -> u64 {
        self.count += 1;
        if self.tables.last().is_none_or(|(name, _)| *name != table)
            && !self.tables.iter().any(|(name, _)| *name == table)
        {
            self.tables.push((table, Vec::new()));
        }
        let Some((_, rows)) = self.tables.iter_mut().find(|(name, _)| *name == table) else { return 0 };
        rows.push(values);
        rows.len() as u64
    }

    fn sql(&self) -> String {
        let mut sql = String::new();
        for (table, rows) in &self.tables {
            for rows in rows.chunks(400) {
                // Writing to a String cannot fail.
                let _ = writeln!(sql, "INSERT INTO {table} VALUES {};", rows.join(","));
            }
        }
        sql
    }

    /// SplitMix64: a sample needs no better, and no dependency.
    fn random(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        let at = self.random(from.len() as u64);
        usize::try_from(at).ok().and_then(|at| from.get(at)).copied().unwrap_or_default()
    }

    fn people(&mut self) {
        for id in 1..=PEOPLE {
            // She and her flatmate are named.
            if id == PERSON_ID || id == PERSON_ID + 1 {
                continue;
            }
            // Every fifth lives with the one before.
            let address = if id % 5 == 0 {
                format!("(SELECT max(id) FROM addresses WHERE id < {id})")
            } else {
                let (city, number) = (self.pick(&CITIES), self.random(200) + 1);
                self.add("addresses", format!("({id},'{number} Sample Street','{city}')"));
                id.to_string()
            };
            let (first, last) = (self.pick(&FIRST), self.pick(&LAST));
            let name = format!("{first} {last}");
            let email = format!("{}.{}.{id}@example.com", first.to_lowercase(), last.to_lowercase());
            let phone = 1_000_000 + self.random(8_999_999);
            self.add("users", format!("({id},'{email}','{name}','+49 {phone}',{address})"));
            let (year, city) = (1950 + self.random(55), self.pick(&CITIES));
            self.add("profiles", format!("({id},'{year}-06-15','I live in {city}.')"));
        }
    }

    fn trade(&mut self) {
        for user in 1..=PEOPLE {
            let orders = if user == PERSON_ID { 400 } else { self.random(5) };
            for _ in 0..orders {
                let (cents, day, city) = (self.random(20_000), self.random(28) + 1, self.pick(&CITIES));
                let order = self.add(
                    "orders",
                    format!("(NULL,{user},'customer {user}','c{user}@example.com','{city}','2026-03-{day:02}',{cents})"),
                );
                for _ in 0..=self.random(3) {
                    let (product, cents) = (self.pick(&PRODUCTS), self.random(9_000));
                    self.add("order_items", format!("(NULL,{order},'{product}',{cents})"));
                }
            }
        }
    }

    fn talk(&mut self) {
        for number in 0..40_000 {
            let (mut from, mut to) = (self.random(PEOPLE) + 1, self.random(PEOPLE) + 1);
            match number % 4 {
                0 => from = PERSON_ID,
                1 => to = PERSON_ID,
                _ => {}
            }
            let product = self.pick(&PRODUCTS);
            self.add("messages", format!("(NULL,{from},{to},'Is the {product} still there?')"));
        }
        for number in 1..=12_000_u64 {
            let user = if number % 6 == 0 { PERSON_ID } else { self.random(PEOPLE) + 1 };
            // A third answers an earlier comment.
            let parent = match number % 3 {
                1 if number > 10 => (self.random(number - 1) + 1).to_string(),
                _ => "NULL".to_owned(),
            };
            let product = self.pick(&PRODUCTS);
            self.add("comments", format!("({number},{user},{parent},'About the {product}')"));
        }
    }
}
