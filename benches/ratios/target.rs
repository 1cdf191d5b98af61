//! A database of the benchmark's own, dropped at the end.

use tokio_postgres::{Client, NoTls};

pub struct Target {
    admin: String,
    name: String,
    pub client: Client,
}

impl Target {
    /// A fresh database.
    pub async fn new(name: &str) -> Self {
        let admin = std::option_env!("RIGHTFUL_BENCH_POSTGRES")
            .unwrap_or("postgres://postgres@127.0.0.1:5432/postgres")
            .to_owned();
        let name = format!("rightful_bench_{name}_{}", std::process::id());
        let client = connect(&admin).await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("CREATE DATABASE");
        let client = connect(&url(&admin, &name)).await;
        Self { admin, name, client }
    }

    /// For the configuration of the service, and for further sessions.
    pub fn url(&self) -> String {
        url(&self.admin, &self.name)
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{error}: {sql}")).get(0)
    }

    pub async fn session(&self) -> Client {
        connect(&self.url()).await
    }

    pub async fn drop(self) {
        let Self { admin, name, client } = self;
        drop(client);
        let client = connect(&admin).await;
        client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("DROP DATABASE");
    }
}

fn url(admin: &str, name: &str) -> String {
    let (server, _) = admin.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}
