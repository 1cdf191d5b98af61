//! How the lives of a service end, and what it was asked for meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rightful::points::Point;
use serde_json::{Value, json};

use crate::{
    properties::random::Random,
    support::{
        environment,
        site::{Process, Site},
    },
};

/// How long a service may take until it passes a point.
const PATIENCE: Duration = Duration::from_secs(90);
const SIGKILL: i32 = 9;

/// Where lives end.
#[derive(Debug, Clone)]
pub enum Kills {
    /// As many as `RIGHTFUL_KILLS` says, at moments that a seed decides.
    Random,
    /// One, after what goes on in it was done once.
    Once,
    /// One, where the service passes a point for the nth time.
    At(Point, u64),
    /// First there, then as those say.
    After(Point, Box<Kills>),
    /// One, when all of these were passed.
    Past(BTreeSet<Point>),
}

/// How many kills the environment asks for.
pub fn kills() -> Option<usize> {
    environment("RIGHTFUL_KILLS").and_then(|kills| kills.parse().ok())
}

/// Lives of a service that all end with SIGKILL. `life` is what goes on in each, again and again where its end takes a
/// while; there may be nobody who answers.
pub async fn through_kills(site: &Site, kills: &Kills, mut life: impl AsyncFnMut(&mut Random)) {
    let seed = u64::from(std::process::id());
    let mut random = Random::new(seed);
    let mut kills = kills;
    if let Kills::After(point, then) = kills {
        until_dead_at(site, (*point, 1), &mut random, &mut life).await;
        kills = then;
    }
    match kills {
        Kills::Random | Kills::Once => {
            let count = if matches!(kills, Kills::Once) { 1 } else { self::kills().unwrap_or(8) };
            println!("seed {seed}, {count} kills");
            for _ in 0..count {
                let process = site.serve().await;
                life(&mut random).await;
                tokio::time::sleep(Duration::from_millis(random.below(60) as u64)).await;
                drop(process);
            }
        }
        Kills::At(point, nth) => until_dead_at(site, (*point, *nth), &mut random, &mut life).await,
        Kills::Past(points) => until_past(site, points, &mut random, &mut life).await,
        Kills::After(..) => panic!("after two others"),
    }
}

async fn until_dead_at(
    site: &Site,
    (point, nth): (Point, u64),
    random: &mut Random,
    life: &mut impl AsyncFnMut(&mut Random),
) {
    let at = format!("{}:{nth}", point.name());
    let variables = [("RUST_LOG", "warn"), ("RIGHTFUL_CRASH_AT", &*at)];
    let mut process = site.start_with(&variables, |line| eprintln!("  | {line}"));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it never passed {at}");
        go_on(random, life).await;
    };
    assert_eq!(status.signal(), Some(SIGKILL), "it ended by itself: {status}");
}

async fn until_past(
    site: &Site,
    points: &BTreeSet<Point>,
    random: &mut Random,
    life: &mut impl AsyncFnMut(&mut Random),
) {
    let left: BTreeSet<String> = points.iter().map(|point| format!("\"{}\"", point.name())).collect();
    let left = Arc::new(Mutex::new(left));
    let passing = left.clone();
    let process: Process = site.start_with(&[("RUST_LOG", "warn,rightful::points=trace")], move |line| {
        match line.rsplit_once("reached point=") {
            Some((_, point)) => drop(passing.lock().unwrap().remove(point.trim_end())),
            None => eprintln!("  | {line}"),
        }
    });
    let begun = Instant::now();
    while !left.lock().unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "it never passed {:?}", left.lock().unwrap());
        go_on(random, life).await;
    }
    drop(process);
}

/// Once more of what goes on in a life.
async fn go_on(random: &mut Random, life: &mut impl AsyncFnMut(&mut Random)) {
    life(random).await;
    tokio::time::sleep(Duration::from_millis(random.between(5, 60) as u64)).await;
}

/// What was asked for, each under a key of its own, by number; and the request, where that was answered.
#[derive(Default)]
pub struct Asked(BTreeMap<usize, (Value, Option<String>)>);

impl Asked {
    /// Asks for an erasure.
    pub async fn erase(&mut self, site: &Site, user: usize) {
        let body = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": user } });
        self.submit(site, user, body).await;
    }

    /// Asks; the same for the same number each time.
    pub async fn submit(&mut self, site: &Site, number: usize, body: Value) {
        let answer = site.submit_body(&body, Some(&format!("key-{number}"))).await;
        let (_, known) = self.0.entry(number).or_insert((body, None));
        if let Some(request) = answer {
            let id = request["id"].as_str().unwrap();
            assert!(known.as_deref().is_none_or(|known| known == id), "one request under one key");
            *known = Some(id.to_owned());
        }
    }

    /// The request of a number, where it was answered.
    pub fn of(&self, number: usize) -> Option<&str> {
        self.0.get(&number)?.1.as_deref()
    }

    /// All of them. Who was not answered does not know whether it was accepted, and asks again.
    pub async fn all(&mut self, site: &Site) -> BTreeMap<usize, String> {
        for (number, (body, known)) in self.0.clone() {
            if known.is_none() {
                self.submit(site, number, body).await;
            }
        }
        let all = self.0.iter().map(|(number, (_, id))| (*number, id.clone().expect("an answer")));
        let all: BTreeMap<usize, String> = all.collect();
        assert!(!all.is_empty(), "nothing was asked for before a kill");
        all
    }
}
