//! What a killed worker held, and a restarted Postgres: how long until the work goes on.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};

use crate::end_to_end::UNLIMITED;
use crate::environment::{Database, Environment};
use crate::load::{Callbacks, Connection, Latencies};
use crate::table::{self, millis};

/// How often.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How often each is done.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
}

/// Calls a worker has in hand when it is killed.
const IN_HAND: i64 = 16;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let (mut taken_up, mut decided) = killed(&environment, arguments.rounds).await?;
    let mut serving = restarted(&environment, arguments.rounds).await?;
    let row = |what: &str, seen: &mut Latencies| {
        vec![
            what.to_owned(),
            seen.len().to_string(),
            millis(seen.percentile(0.5)),
            millis(seen.percentile(1.0)),
        ]
    };
    table::print(
        &["from", "times", "median", "worst"],
        &[
            row("kill -9 of a worker to all it held in another's hands", &mut taken_up),
            row("the same to all decided, by calls of 1.5 s", &mut decided),
            row("Postgres up again after a crash to the first 202", &mut serving),
        ],
    );
    Ok(())
}

async fn killed(environment: &Environment, rounds: u32) -> anyhow::Result<(Latencies, Latencies)> {
    let provider = environment.provider().await?;
    let database = environment.database("killed").await?;
    let api = environment.serve("api", "api", &database, None, UNLIMITED).await?;
    let serve = |round: u32| {
        let (environment, database, provider) = (&environment, &database, provider.address);
        async move {
            let name = format!("worker-{round}");
            environment.serve(&name, "worker", database, Some(provider), UNLIMITED).await
        }
    };
    let callbacks = Callbacks::about("slow-1500_")?;
    let mut connection = Connection::open(api.http).await?;
    let (mut taken_up, mut decided) = (Latencies::default(), Latencies::default());
    let mut worker = serve(0).await?;
    for round in 1..=rounds {
        for _ in 0..IN_HAND {
            let (status, _) = connection.exchange(|request| callbacks.write(request)).await?;
            ensure!(status == 202, "status {status}");
        }
        let held = "select count(*) from verifications where lease_until > now()";
        until(&database, held, IN_HAND).await?;
        let successor = serve(round).await?;
        // Dropped, it is killed.
        drop(std::mem::replace(&mut worker, successor));
        let killed_at = Instant::now();
        let all = IN_HAND * i64::from(round);
        until(&database, "select count(*) from verifications where attempts > 1", all).await?;
        taken_up.add(killed_at.elapsed());
        until(&database, "select count(*) from decisions", all).await?;
        decided.add(killed_at.elapsed());
    }
    Ok((taken_up, decided))
}

async fn until(database: &Database, query: &'static str, count: i64) -> anyhow::Result<()> {
    while database.count(query).await? < count {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn restarted(environment: &Environment, rounds: u32) -> anyhow::Result<Latencies> {
    let provider = environment.provider().await?;
    let database = environment.database("restarted").await?;
    let service =
        environment.serve("restarted", "all", &database, Some(provider.address), UNLIMITED).await?;
    let callbacks = Callbacks::new()?;
    let mut connection = Connection::open(service.http).await?;
    let mut serving = Latencies::default();
    for _ in 0..rounds {
        while connection.exchange(|request| callbacks.write(request)).await?.0 != 202 {}
        // A backend that dies makes Postgres end all others and recover, as after a crash.
        let mut victim = PgConnection::connect(&database.url).await?;
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut victim).await?;
        kill_process(Pid::from_raw(pid).context("no pid")?, Signal::KILL)?;
        while sqlx::query("select 1").execute(&mut victim).await.is_ok() {}
        while PgConnection::connect(&database.url).await.is_err() {
            tokio::time::sleep(LOOK).await;
        }
        let up_at = Instant::now();
        while connection.exchange(|request| callbacks.write(request)).await?.0 != 202 {
            tokio::time::sleep(LOOK).await;
        }
        serving.add(up_at.elapsed());
    }
    Ok(serving)
}
