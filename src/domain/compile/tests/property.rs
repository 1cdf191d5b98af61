//! Random schemas, plans and rows: whatever compiles can be carried out row by row without a foreign key in the way,
//! takes exactly the rows that the plan says, and changes nothing of anyone else.

use std::{cell::Cell, collections::BTreeMap, fmt::Write as _};

use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{
    shown, try_compile,
    world::{Key, Row, World},
};
use crate::domain::compiled::{Action, CompiledPlan, Step};

const CASES: u32 = 4_000;
const ROWS: u32 = 6;
const USERS: u32 = 3;

/// SplitMix64: everything of a case follows from its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % u64::from(bound)).unwrap()
    }

    fn one_in(&mut self, chance: u32) -> bool {
        self.below(chance) == 0
    }
}

/// A column that points at another table's `id`, with a foreign key or without.
struct Pointer {
    column: String,
    target: String,
    nullable: bool,
    key: bool,
}

struct Case {
    catalog: String,
    plan: String,
    world: World,
}

fn case(seed: u64) -> Case {
    let dice = &mut Dice(seed);
    let names: Vec<String> = (0..=dice.below(4)).map(|index| format!("t{index}")).collect();
    let mut schema: BTreeMap<String, Vec<Pointer>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let mut pointers = Vec::new();
        for number in 0..=dice.below(3) {
            let target = match dice.below(10) {
                0..=3 => "users".to_owned(),
                4..=6 => names[dice.below(u32::try_from(index).unwrap() + 1) as usize].clone(),
                _ => names[dice.below(u32::try_from(names.len()).unwrap()) as usize].clone(),
            };
            let nullable = target == *name || dice.one_in(2);
            pointers.push(Pointer { column: format!("c{number}"), target, nullable, key: !dice.one_in(4) });
        }
        schema.insert(name.clone(), pointers);
    }
    let to = if dice.one_in(3) { names[0].clone() } else { "users".to_owned() };
    schema.insert(
        "users".to_owned(),
        vec![Pointer { column: "c0".to_owned(), target: to, nullable: true, key: dice.one_in(2) }],
    );
    let catalog = schema.iter().fold(String::new(), |mut text, (name, pointers)| {
        write!(text, "{name}: id int pk, note text").unwrap();
        for pointer in pointers {
            let null = if pointer.nullable { " null" } else { "" };
            let key = if pointer.key { format!(" -> {}.id", pointer.target) } else { String::new() };
            write!(text, ", {} int{null}{key}", pointer.column).unwrap();
        }
        text + "\n"
    });
    let plan = plan(dice, &names, &schema);
    Case { catalog, plan, world: world(dice, &schema) }
}

fn plan(dice: &mut Dice, names: &[String], schema: &BTreeMap<String, Vec<Pointer>>) -> String {
    let mut text = "plan: p\nsubject: { id: shop.users.id }\nconnections:\n  shop:\n".to_owned();
    let root = ["delete", "delete", "delete", "{ keep: law }", "{ mask: { note: { string_rewrite: x } } }"];
    writeln!(text, "    users:\n      - {{ erase: {} }}", root[dice.below(5) as usize]).unwrap();
    let back = &schema["users"][0];
    if back.target == "users" && !dice.one_in(3) {
        text += "      - { name: back, match: { c0: users.id }, erase: unlink }\n";
    }
    for name in names {
        let pointers = &schema[name];
        if dice.one_in(2) {
            text += &thoughtful(dice, name, pointers);
            continue;
        }
        let entries = if dice.one_in(8) { 0 } else { 1 + dice.below(2) };
        let mut lines = String::new();
        for index in 0..entries {
            let mut matches: Vec<String> = Vec::new();
            for pointer in pointers.iter().filter(|_| !dice.one_in(3)) {
                matches.push(format!("{{ {}: {}.id }}", pointer.column, pointer.target));
            }
            if dice.one_in(8) && !schema["users"].iter().any(|pointer| pointer.target == "users") {
                matches.push("{ id: users.c0 }".to_owned());
            }
            if matches.is_empty() {
                continue;
            }
            let label = if lines.is_empty() { String::new() } else { format!("name: e{index}, ") };
            let column = pointers[dice.below(u32::try_from(pointers.len()).unwrap()) as usize].column.clone();
            let erase = match dice.below(12) {
                0..=4 => "delete".to_owned(),
                5..=7 => "unlink".to_owned(),
                8 => "{ keep: law }".to_owned(),
                9 => "delete_if_unreferenced".to_owned(),
                10 => format!("{{ mask: {{ {column}: null_rewrite }} }}"),
                _ => "{ mask: { note: { string_rewrite: x } } }".to_owned(),
            };
            writeln!(lines, "      - {{ {label}match: [ {} ], erase: {erase} }}", matches.join(", "))
                .unwrap();
        }
        if !lines.is_empty() {
            write!(text, "    {name}:\n{lines}").unwrap();
        }
    }
    text
}

/// What a person would write: my rows are deleted or masked, other people's pointers to them become NULL.
fn thoughtful(dice: &mut Dice, name: &str, pointers: &[Pointer]) -> String {
    let through = |pointer: &Pointer| format!("{{ {}: {}.id }}", pointer.column, pointer.target);
    let (mut own, mut others): (Vec<&Pointer>, Vec<&Pointer>) = (Vec::new(), Vec::new());
    for pointer in pointers {
        let unlinks = pointer.nullable && (pointer.target != "users" || !own.is_empty()) && !dice.one_in(3);
        if unlinks { others.push(pointer) } else { own.push(pointer) }
    }
    if own.is_empty() {
        return String::new();
    }
    let matches: Vec<String> = own.iter().map(|pointer| through(pointer)).collect();
    let nulls = own.iter().all(|pointer| pointer.nullable);
    let erase = match dice.below(4) {
        0 if nulls => {
            let columns: Vec<String> =
                own.iter().map(|pointer| format!("{}: null_rewrite", pointer.column)).collect();
            format!("{{ mask: {{ {} }} }}", columns.join(", "))
        }
        _ => "delete".to_owned(),
    };
    let mut text = format!("    {name}:\n      - {{ match: [ {} ], erase: {erase} }}\n", matches.join(", "));
    for pointer in others {
        let entry = format!("name: {}, match: {}, erase: unlink", pointer.column, through(pointer));
        writeln!(text, "      - {{ {entry} }}").unwrap();
    }
    text
}

fn world(dice: &mut Dice, schema: &BTreeMap<String, Vec<Pointer>>) -> World {
    let mut world = World::default();
    let size = |table: &str| if table == "users" { USERS } else { ROWS };
    for (name, pointers) in schema {
        let mut rows = BTreeMap::new();
        for id in 1..=size(name) {
            let mut row = Row::from([
                ("id".to_owned(), Some(id.to_string())),
                ("note".to_owned(), Some("n".to_owned())),
            ]);
            for pointer in pointers {
                // Rows of one table point at earlier ones: no circles of rows.
                let bound = if pointer.target == *name { id - 1 } else { size(&pointer.target) };
                let null = bound == 0 || (pointer.nullable && dice.one_in(3));
                let value = (!null).then(|| (1 + dice.below(bound)).to_string());
                row.insert(pointer.column.clone(), value);
            }
            rows.insert(id, row);
        }
        world.tables.insert(name.clone(), rows);
        for pointer in pointers.iter().filter(|pointer| pointer.key) {
            world.keys.push(Key {
                child: name.clone(),
                column: pointer.column.clone(),
                parent: pointer.target.clone(),
            });
        }
    }
    world
}

#[test]
fn what_compiles_can_be_carried_out() {
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let accepted = Cell::new(0_u32);
    let outcome = runner.run(&proptest::num::u64::ANY, |seed| {
        let case = case(seed);
        let Ok(compiled) = try_compile(&case.plan, &[("shop", &case.catalog)]) else { return Ok(()) };
        accepted.set(accepted.get() + 1);
        check(&case, &compiled.plan).map_err(|reason| {
            TestCaseError::fail(format!("{reason}\n{}{}\n{:#?}", case.catalog, case.plan, case.world.tables))
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(
        accepted.get() > CASES / 20,
        "only {} plans of {CASES} compiled: the test proves little",
        accepted.get()
    );
}

fn check(case: &Case, plan: &CompiledPlan) -> Result<(), String> {
    let before = &case.world;
    let mut world = before.clone();
    let run = before.begin(plan, 1);
    let matched: Vec<_> = plan.erasure.iter().map(|step| before.select(&run, &step.rows)).collect();
    for (index, step) in plan.erasure.iter().enumerate() {
        for &earlier in &step.cuts {
            if earlier >= index {
                return Err(format!("{} cuts a later step", step.name));
            }
        }
        let now = world.select(&run, &step.rows);
        if now != matched[index] {
            return Err(format!(
                "{}: matched {:?}, but {now:?} when its turn came",
                step.name, matched[index]
            ));
        }
        let affected = world.carry_out(&run, step).map_err(|held| format!("{}: {held}", step.name))?;
        let all = matches!(step.action, Action::Delete | Action::Unlink { .. });
        if all && affected != matched[index].len() {
            return Err(format!("{}: {affected} of {:?}", step.name, matched[index]));
        }
    }
    compare(before, &world, plan, &matched, &run)
}

/// Every row is as the steps that matched it say, and everything else as it was.
fn compare(
    before: &World,
    after: &World,
    plan: &CompiledPlan,
    matched: &[std::collections::BTreeSet<u32>],
    run: &super::world::Run,
) -> Result<(), String> {
    for (table, rows) in &before.tables {
        for (id, old) in rows {
            let mut expected = Some(old.clone());
            let mut lenient = false;
            let here = |step: &&Step| step.rows.table.name == *table;
            for (step, matched) in plan.erasure.iter().zip(matched).filter(|(step, _)| here(step)) {
                let opened = step.openers.as_ref().is_some_and(|rows| before.select(run, rows).contains(id));
                if !matched.contains(id) && !opened {
                    continue;
                }
                match (&step.action, &mut expected) {
                    (Action::Delete, expected) => *expected = None,
                    (Action::DeleteIfUnreferenced { .. }, _) => lenient = true,
                    (Action::Unlink { columns }, Some(row)) => {
                        columns.iter().for_each(|column| drop(row.insert(column.name.clone(), None)));
                    }
                    (Action::Mask(mask), Some(row)) => {
                        for assignment in &mask.assignments {
                            let null = assignment.strategy == crate::domain::compiled::Strategy::NullRewrite;
                            row.insert(assignment.column.name.clone(), (!null).then(|| "x".to_owned()));
                        }
                    }
                    _ => {}
                }
            }
            let found = after.tables[table].get(id);
            if found != expected.as_ref() && !(lenient && found.is_none()) {
                return Err(format!("{table} {id} is {found:?}, expected {expected:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn seeds_are_reproducible() {
    let (one, two) = (case(7), case(7));
    assert_eq!(one.plan, two.plan);
    let faults = try_compile("plan: p\n", &[("shop", &one.catalog)]).unwrap_err();
    assert!(!shown(&faults).is_empty());
}
