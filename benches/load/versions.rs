//! The same accepts and one-row commits on two versions of Postgres, in turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use private_postgres::Programs;

use crate::accept::{accepts, one_row_commits};
use crate::baseline;
use crate::environment::{Database, Environment};
use crate::rounds::{self, Subject};

/// Which, how long, how often.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folders that hold the programs of the two versions.
    #[arg(long, num_args = 2, required = true, value_names = ["PG_BIN", "OTHER_PG_BIN"])]
    postgres: Vec<PathBuf>,
    /// Connections, each two tables.
    #[arg(long, value_delimiter = ',', default_value = "1,64")]
    connections: Vec<usize>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
}

/// One server, the service's database on it and the baseline's.
struct Version {
    name: String,
    environment: Environment,
    served: Database,
    plain: Database,
}

impl Version {
    async fn start(pg_bin: &Path) -> anyhow::Result<Self> {
        let programs = Programs::find(Some(pg_bin))?;
        let name = format!("Postgres {}", programs.major());
        let environment = Environment::on(programs).await?;
        environment.keep_background_work_out().await?;
        let served = environment.database("served").await?;
        let plain = environment.empty_database("plain").await?;
        baseline::prepare(&plain).await?;
        Ok(Self { name, environment, served, plain })
    }
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let [one, other] = &arguments.postgres[..] else { anyhow::bail!("two are compared") };
    let versions = [Version::start(one).await?, Version::start(other).await?];
    let seconds = Duration::from_secs(arguments.seconds);
    for &connections in &arguments.connections {
        let subjects = || versions.each_ref().map(|version| Subject::new(&version.name));
        let (mut bare, mut accepting) = (subjects(), subjects());
        for round in 0..arguments.rounds {
            for place in rounds::order(round) {
                let Version { name, environment, served, plain } = &versions[place];
                let seen = one_row_commits(environment, plain, connections, seconds).await;
                bare[place].add(seen.with_context(|| name.clone())?);
                let seen = accepts(environment, served, "", connections, seconds).await;
                accepting[place].add(seen.with_context(|| name.clone())?);
            }
        }
        for (what, [one, other]) in [("one-row commits", &bare), ("accepts", &accepting)] {
            rounds::print(&format!("{connections} connections, {what}"), &[one, other]);
        }
    }
    Ok(())
}
