//! Selections that are followed through their own table.

use std::fmt::Write;

use rightful::{
    connectors::{CountOf, Cursor, Work},
    domain::compiled::{Action, Rows, Source},
};

use super::bench::{Bench, benches, keys, matching, text};

const TABLES: &str = "CREATE TABLE users (id :int PRIMARY KEY);
    CREATE TABLE comments (id :int PRIMARY KEY, author :int, parent_id :int REFERENCES comments (id) ON DELETE SET NULL);";

fn thread(bench: &Bench) -> Rows {
    let itself = bench.link(("comments", &["parent_id"]), ("comments", &["id"]), Source::Itself);
    bench.rows("comments", vec![bench.by_root("comments", "author", "id", 0), matching(itself)])
}

#[tokio::test]
async fn a_long_chain_is_followed_to_its_end() {
    let mut tables = TABLES.replace(" REFERENCES comments (id) ON DELETE SET NULL", "");
    tables.push_str(" INSERT INTO comments VALUES (1, 7, NULL)");
    for id in 2..=3_000 {
        write!(tables, ", ({id}, 8, {})", id - 1).expect("a text takes everything");
    }
    for bench in benches(&tables).await {
        let keys = keys(vec![text("7")]);
        let found = bench.count(&thread(&bench), &Action::Delete, &keys, CountOf::Matched).await;
        assert_eq!(found, 3_000, "{:?}", bench.dialect());
    }
}

#[tokio::test]
async fn a_row_that_is_somebody_elses_by_now_is_left() {
    let tables =
        format!("{TABLES} INSERT INTO comments VALUES (1, 7, NULL), (2, 7, 1), (3, 7, 1), (4, 7, 1);");
    for bench in benches(&tables).await {
        let (rows, keys) = (thread(&bench), keys(vec![text("7")]));
        let work = Work { rows: &rows, action: &Action::Delete, alternative: 0, keys: &keys, root: None };
        let mut cursor = Cursor::default();
        assert_eq!(bench.batch(&work, &mut cursor, 1).await.affected, 1);
        let left = bench.list("SELECT id FROM comments WHERE id > 1 ORDER BY id").await;
        let [reused, moved] = &left[..] else { panic!("two leaves are left") };
        bench
            .target
            .execute(&format!("UPDATE comments SET author = 8, parent_id = NULL WHERE id = {reused}"));
        bench.target.execute(&format!("UPDATE comments SET author = 7 WHERE id = {moved}"));
        while !bench.batch(&work, &mut cursor, 1).await.done {}
        let left = bench.list("SELECT id FROM comments ORDER BY id").await;
        assert_eq!(left, std::slice::from_ref(reused), "{:?}", bench.dialect());
    }
}

#[tokio::test]
async fn rows_that_point_at_each_other_go_one_by_one() {
    let tables = format!(
        "{TABLES} INSERT INTO comments VALUES (1, 7, NULL), (2, 8, 1), (3, 8, 2), (4, 8, NULL);
         UPDATE comments SET parent_id = 3 WHERE id = 1;"
    );
    for bench in benches(&tables).await {
        let rows = thread(&bench);
        let keys = keys(vec![text("7")]);
        assert_eq!(bench.run(&rows, &Action::Delete, &keys, 1).await, 3, "{:?}", bench.dialect());
        assert_eq!(bench.list("SELECT id FROM comments").await, ["4"], "{:?}", bench.dialect());
    }
}
