//! A mailing service over real HTTP on a free port: contacts by e-mail address, a token, and answers that can be made to
//! go wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use rightful::{
    connectors::{http::HttpService, web::WebClient},
    domain::call::CallTemplate,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub const TOKEN: &str = "Bearer a-token-of-the-tests";

/// What becomes of one call instead of the usual.
#[derive(Debug, Clone)]
pub enum Twist {
    /// Nothing but the usual: the next one is meant.
    Usual,
    Status(u16),
    /// A status with `Retry-After`.
    Busy(u16, String),
    /// To somewhere else, with a `Location`.
    Redirect,
    /// 202; the job ends after it was asked for that often. With a `Retry-After` on each answer.
    Accepted(u32, Option<&'static str>),
    /// 202 without a `Location`: it is done when the contact was looked for that often.
    AcceptedSilently(u32, Option<&'static str>),
    /// 202 with this `Location`.
    Elsewhere(&'static str),
    /// It is done, and the connection breaks before the answer.
    LostReply,
    /// The answer takes that long.
    Slow(Duration),
    /// It says that it is done, and is not.
    Lie,
    /// A contact gets its new address and nothing else.
    Partly,
    /// It is found, and gone a moment later.
    Vanish,
    /// A body of that many bytes of that type.
    Body(&'static str, Vec<u8>),
}

/// One call as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub idempotency_key: Option<String>,
}

struct Job {
    email: String,
    left: u32,
    retry_after: Option<&'static str>,
}

struct State {
    contacts: BTreeMap<String, Value>,
    twists: Vec<(&'static str, Twist)>,
    seen: Vec<Seen>,
    jobs: Vec<Job>,
    silent: Option<(String, u32)>,
    health: u16,
}

/// The service; gone with the last handle.
pub struct Mailer {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Mailer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mailer {
    pub async fn start(contacts: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let contacts = contacts
            .iter()
            .map(|email| ((*email).to_owned(), json!({ "email": email, "name": "A name" })))
            .collect();
        let state = Arc::new(Mutex::new(State {
            contacts,
            twists: Vec::new(),
            seen: Vec::new(),
            jobs: Vec::new(),
            silent: None,
            health: 200,
        }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, state, task }
    }

    /// As the configuration would name it.
    pub fn service(&self) -> HttpService {
        self.service_with(TOKEN, Some("GET /health"), &["127.0.0.1"])
    }

    pub fn service_with(&self, token: &str, probe: Option<&str>, private_hosts: &[&str]) -> HttpService {
        let client = WebClient::new(private_hosts.iter().map(|host| (*host).to_owned())).unwrap();
        let headers = [("authorization".to_owned(), token.to_owned())];
        let probe = probe.map(|probe| CallTemplate::parse(probe).unwrap());
        HttpService::new(client, &self.url, &headers, probe).unwrap()
    }

    /// The next call with that method to a contact is answered like that.
    pub fn next(&self, method: &'static str, twist: Twist) {
        self.lock().twists.push((method, twist));
    }

    pub fn set_health(&self, status: u16) {
        self.lock().health = status;
    }

    /// The calls that arrived so far, but for probes.
    pub fn seen(&self, method: &str) -> Vec<Seen> {
        self.lock().seen.iter().filter(|seen| seen.method == method).cloned().collect()
    }

    pub fn contacts(&self) -> Vec<String> {
        self.lock().contacts.keys().cloned().collect()
    }

    /// Somebody changes a contact by hand.
    pub fn set(&self, email: &str, field: &str, value: &str) {
        self.lock().contacts.get_mut(email).unwrap()[field] = value.into();
    }

    pub fn forget(&self, email: &str) {
        self.lock().contacts.remove(email);
    }

    pub fn contact(&self, email: &str) -> Option<Value> {
        self.lock().contacts.get(email).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Asked {
    method: String,
    path: String,
    token: Option<String>,
    idempotency_key: Option<String>,
    body: Vec<u8>,
}

struct Told {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn told(status: u16) -> Told {
    Told { status, headers: Vec::new(), body: Vec::new() }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some(asked) = read(&mut stream).await else { return };
    let (answer, pause) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        answer(&mut state, &asked)
    };
    tokio::time::sleep(pause).await;
    let Some(answer) = answer else { return };
    let mut text = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.status != 204 {
        text.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    text.push_str("\r\n");
    // Who has had enough of the answer goes away.
    let _ = stream.write_all(&[text.as_bytes(), &answer.body].concat()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    let read = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[read..]).await.ok()?;
    Some(Asked {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        token: headers.get("authorization").cloned(),
        idempotency_key: headers.get("idempotency-key").cloned(),
        body,
    })
}

/// `None`: the connection breaks.
fn answer(state: &mut State, asked: &Asked) -> (Option<Told>, Duration) {
    let at_once = |told: Told| (Some(told), Duration::ZERO);
    if asked.path == "/api/health" {
        let status = if asked.token.as_deref() == Some(TOKEN) { state.health } else { 401 };
        return at_once(told(status));
    }
    state.seen.push(Seen {
        method: asked.method.clone(),
        path: asked.path.clone(),
        idempotency_key: asked.idempotency_key.clone(),
    });
    if asked.token.as_deref() != Some(TOKEN) {
        return at_once(told(401));
    }
    if let Some(number) = asked.path.strip_prefix("/api/jobs/") {
        return at_once(job(state, number.parse().unwrap()));
    }
    let Some(email) = asked.path.strip_prefix("/api/contacts/") else { return at_once(told(404)) };
    let email = percent_decode_str(email).decode_utf8().unwrap().into_owned();
    let twist = state.twists.iter().position(|(method, _)| *method == asked.method);
    let Some((_, twist)) = twist.map(|at| state.twists.remove(at)) else {
        return at_once(usual(state, asked, &email));
    };
    let answer = match twist {
        Twist::Usual => usual(state, asked, &email),
        Twist::Status(status) => told(status),
        Twist::Busy(status, after) => Told { headers: vec![("retry-after", after)], ..told(status) },
        Twist::Redirect => Told { headers: vec![("location", "/api/health".to_owned())], ..told(302) },
        Twist::Accepted(left, retry_after) => {
            state.jobs.push(Job { email, left, retry_after });
            let mut headers = vec![("location", format!("/api/jobs/{}", state.jobs.len() - 1))];
            headers.extend(retry_after.map(|after| ("retry-after", after.to_owned())));
            Told { headers, ..told(202) }
        }
        Twist::AcceptedSilently(left, retry_after) => {
            state.silent = Some((email, left));
            let headers = retry_after.map(|after| ("retry-after", after.to_owned()));
            Told { headers: headers.into_iter().collect(), ..told(202) }
        }
        Twist::Elsewhere(location) => Told { headers: vec![("location", location.to_owned())], ..told(202) },
        Twist::LostReply => {
            usual(state, asked, &email);
            return (None, Duration::ZERO);
        }
        Twist::Slow(pause) => return (Some(usual(state, asked, &email)), pause),
        Twist::Lie => told(200),
        Twist::Partly => {
            let changes: Value = serde_json::from_slice(&asked.body).unwrap();
            let mut contact = state.contacts.remove(&email).unwrap();
            contact["email"] = changes["email"].clone();
            state.contacts.insert(changes["email"].as_str().unwrap().to_owned(), contact);
            told(200)
        }
        Twist::Vanish => {
            let found = usual(state, asked, &email);
            state.contacts.remove(&email);
            found
        }
        Twist::Body(content_type, body) => {
            Told { headers: vec![("content-type", content_type.to_owned())], body, ..told(200) }
        }
    };
    at_once(answer)
}

fn usual(state: &mut State, asked: &Asked, email: &str) -> Told {
    if let Some((waiting, left)) = state.silent.take_if(|(waiting, _)| waiting == email) {
        match left {
            0 => drop(state.contacts.remove(&waiting)),
            left => state.silent = Some((waiting, left - 1)),
        }
    }
    match (asked.method.as_str(), state.contacts.get_mut(email)) {
        (_, None) => told(404),
        ("DELETE", Some(_)) => {
            state.contacts.remove(email);
            told(204)
        }
        ("PATCH", Some(contact)) => {
            let changes: Value = serde_json::from_slice(&asked.body).unwrap();
            for (name, value) in changes.as_object().unwrap() {
                contact[name] = value.clone();
            }
            // It goes by the address.
            if let Some(new) = changes["email"].as_str() {
                let contact = contact.clone();
                state.contacts.remove(email);
                state.contacts.insert(new.to_owned(), contact);
            }
            told(200)
        }
        (_, Some(contact)) => Told {
            headers: vec![("content-type", "application/json".to_owned())],
            body: contact.to_string().into_bytes(),
            ..told(200)
        },
    }
}

fn job(state: &mut State, number: usize) -> Told {
    let job = &mut state.jobs[number];
    if job.left == 0 {
        state.contacts.remove(&job.email);
        return told(200);
    }
    job.left -= 1;
    let headers = job.retry_after.map(|after| ("retry-after", after.to_owned())).into_iter().collect();
    Told { headers, ..told(202) }
}
