//! The pages of a reviewer over HTTP, each beside the queries it is made from, on one connection.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use verdict::domain::case::Judgement;
use verdict::domain::ids::{AssignmentId, Ids, SessionId, UserId, VerificationId};
use verdict::store::Store;
use verdict::store::cases::Filter;
use verdict::store::listing::Filter as Listed;
use verdict::store::policies::Use;
use verdict::vault::token;

use crate::console::{now, targets};
use crate::environment::{Database, Environment};
use crate::load::{Connection, Latencies};
use crate::table::{self, millis, thousands};

const MORE: &str =
    "[console]\nlisten = \"127.0.0.1:0\"\n[reviews]\ngolden_share = 0\nagain_share = 0";
const LEASE: Duration = Duration::from_mins(10);

/// A person who is signed in.
struct Reader {
    user: UserId,
    token: String,
    connection: Connection,
}

impl Reader {
    async fn sign_in(
        database: &Database,
        user: UserId,
        address: std::net::SocketAddr,
    ) -> anyhow::Result<Self> {
        let token = token::generate().map_err(|_| anyhow::anyhow!("no randomness"))?.to_string();
        sqlx::query(
            "insert into user_sessions (digest, id, user_id, method, browser, created_at,
                 confirmed_at, seen_at, ends_at)
             values ($1, $2, $3, 'password', 'bench', verdict_now(), verdict_now(),
                 verdict_now(), verdict_now() + interval '8 hours')",
        )
        .bind(&token::digest(&token)[..])
        .bind(Ids::random().next::<SessionId>(now()).0)
        .bind(user.0)
        .execute(&database.pool)
        .await?;
        Ok(Self { user, token, connection: Connection::open(address).await? })
    }

    /// Bytes of the page.
    async fn get(&mut self, path: &str) -> anyhow::Result<usize> {
        let head = self.head("GET", path);
        let request = |out: &mut Vec<u8>| drop(write!(out, "{head}\r\n"));
        let (status, body) = self.connection.exchange(request).await?;
        ensure!(status == 200, "GET {path}: {status}");
        Ok(body.len())
    }

    async fn post(&mut self, path: &str) -> anyhow::Result<()> {
        let body = format!("form_token={}", token::of_forms(&self.token));
        let mut head = self.head("POST", path);
        write!(
            head,
            "origin: http://console\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n",
            body.len()
        )?;
        let request = |out: &mut Vec<u8>| drop(write!(out, "{head}\r\n{body}"));
        let (status, _) = self.connection.exchange(request).await?;
        ensure!(status == 303, "POST {path}: {status}");
        Ok(())
    }

    fn head(&self, method: &str, path: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: console\r\ncookie: __Host-verdict_session={}\r\n",
            self.token
        )
    }
}

/// One line of the table.
struct Measured {
    name: &'static str,
    bytes: usize,
    page: Latencies,
    queries: Latencies,
}

impl Measured {
    fn row(self) -> Vec<String> {
        let (page, queries) = (self.page.percentile(0.5), self.queries.percentile(0.5));
        vec![
            self.name.to_owned(),
            thousands(self.bytes as f64),
            millis(page),
            millis(self.page.percentile(0.99)),
            millis(queries),
            format!("{:.2}×", f64::from(page) / f64::from(queries.max(1))),
        ]
    }
}

pub async fn run(
    environment: &Environment,
    database: &Database,
    user: UserId,
    rounds: usize,
) -> anyhow::Result<()> {
    let service = environment.serve("console", "console", database, None, MORE).await?;
    let address = service.console.context("no console")?;
    let mut reader = Reader::sign_in(database, user, address).await?;
    let store = database.store(1)?;
    let claim = claims(&mut reader, &store, rounds).await?;
    reader.post("/cases/next").await?;
    let case = store.assignments().open(user).await?.context("no case")?;
    let here = format!("/assignments/{case}");
    let queue = pages(&mut reader, &store, ("queue", "/cases"), rounds, Queries::Queue).await?;
    let first = ("case, the faces", here.as_str());
    let first = pages(&mut reader, &store, first, rounds, Queries::Faces(case)).await?;
    store.assignments().judge(case, user, Judgement::ProbablySame, LEASE).await?;
    let found = store.assignments().find(case, user).await?.context("no assignment")?;
    let (_, verification) = found.case().context("no case")?;
    let second = ("case, all that is known", here.as_str());
    let queries = Queries::Facts(case, verification);
    let second = pages(&mut reader, &store, second, rounds, queries).await?;
    let rows: Vec<_> = [queue, first, second].into_iter().map(Measured::row).collect();
    let headings = ["page", "bytes", "p50", "p99", "its queries by sqlx, p50", "page / queries"];
    table::print(&headings, &rows);

    println!(
        "Claiming the next case by its form: p50 {}, p99 {}. Console: serving after {} ms, peak \
         memory {:.1} MiB.",
        millis(claim.percentile(0.5)),
        millis(claim.percentile(0.99)),
        service.startup.as_millis(),
        service.peak_rss()
    );
    Ok(())
}

async fn claims(reader: &mut Reader, store: &Store, rounds: usize) -> anyhow::Result<Latencies> {
    let mut seen = Latencies::default();
    for _ in 0..rounds {
        let began = Instant::now();
        reader.post("/cases/next").await?;
        seen.add(began.elapsed());
        let open = store.assignments().open(reader.user).await?.context("no case")?;
        store.assignments().release(open, reader.user).await?;
    }
    Ok(seen)
}

/// Page and queries in alternation, so that a disturbance hits both.
async fn pages(
    reader: &mut Reader,
    store: &Store,
    (name, path): (&'static str, &str),
    rounds: usize,
    queries: Queries,
) -> anyhow::Result<Measured> {
    let (mut page, mut alone, mut bytes) = (Latencies::default(), Latencies::default(), 0);
    for _ in 0..rounds {
        let began = Instant::now();
        bytes = reader.get(path).await?;
        page.add(began.elapsed());
        let began = Instant::now();
        queries.run(store, reader).await?;
        alone.add(began.elapsed());
    }
    Ok(Measured { name, bytes, page, queries: alone })
}

/// The queries of a page.
#[derive(Clone, Copy)]
enum Queries {
    Queue,
    Faces(AssignmentId),
    Facts(AssignmentId, VerificationId),
}

impl Queries {
    async fn run(self, store: &Store, reader: &Reader) -> anyhow::Result<()> {
        let (user, assignments) = (reader.user, store.assignments());
        store.sign_ins().session(&token::digest(&reader.token), true).await?;
        match self {
            Self::Queue => {
                let cases = store.cases();
                cases.counts(None, &targets(), now()).await?;
                let all = Filter::default();
                cases.queue(&all, &targets(), now(), user, None, 51).await?;
                assignments.open(user).await?;
            }
            Self::Faces(case) => faces(store, case, user).await?,
            Self::Facts(case, verification) => {
                faces(store, case, user).await?;
                facts(store, verification).await?;
            }
        }
        assignments.pending(user).await?;
        assignments.untold(user).await?;
        Ok(())
    }
}

async fn faces(store: &Store, case: AssignmentId, user: UserId) -> anyhow::Result<()> {
    let found = store.assignments().find(case, user).await?.context("no assignment")?;
    let (_, verification) = found.case().context("no case")?;
    for _ in 0..2 {
        store.images().images_of(verification).await?;
    }
    Ok(())
}

async fn facts(store: &Store, id: VerificationId) -> anyhow::Result<()> {
    let found = store.verifications().find(id).await?.context("no verification")?;
    store.results().decisions_of(id).await?;
    store.results().results_of(id).await?;
    for scene in [found.biz_type.as_str(), ""] {
        store.policies().policy_in_use(Use::Shadow, scene).await?;
    }
    store.timeline().events_of(id).await?;
    let of_reference = Listed { reference: found.reference, ..Listed::default() };
    store.listing().list(&of_reference, Some(id), 10).await?;
    Ok(())
}
