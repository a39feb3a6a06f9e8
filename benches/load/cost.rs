//! What an operation costs: CPU time by process, bytes of WAL, the share of the machine.

use std::time::Instant;

use crate::environment::{Database, Environment, Provider, Service, WalPosition};
use crate::machine;

/// Per operation, unless it says otherwise. CPU times are microseconds.
#[derive(Clone, Debug)]
pub struct Cost {
    pub client: f64,
    pub service: Option<f64>,
    pub postgres: f64,
    pub provider: Option<f64>,
    pub wal_bytes: f64,
    /// Part of `wal_bytes`.
    pub full_page_bytes: f64,
    pub commits: f64,
    /// Of all cores, by the processes above, from 0 to 1.
    pub used: f64,
    /// Of all cores, by everything else: other programs, and the kernel's work for nobody.
    pub used_by_others: f64,
}

impl Cost {
    /// CPU microseconds of all processes but the simulated provider, which is no part of the product.
    pub fn cpu(&self) -> f64 {
        self.client + self.service.unwrap_or(0.0) + self.postgres
    }
}

/// Reads all counters twice.
pub struct Meter<'a> {
    environment: &'a Environment,
    database: &'a Database,
    services: Vec<&'a Service>,
    provider: Option<&'a Provider>,
    started: Instant,
    cpu: Cpu,
    wal: WalPosition,
}

#[derive(Clone, Copy)]
struct Cpu {
    client: f64,
    service: f64,
    postgres: f64,
    provider: f64,
    machine: f64,
}

impl<'a> Meter<'a> {
    pub async fn start(
        environment: &'a Environment,
        database: &'a Database,
        services: impl IntoIterator<Item = &'a Service>,
        provider: Option<&'a Provider>,
    ) -> anyhow::Result<Self> {
        let services: Vec<_> = services.into_iter().collect();
        let wal = environment.wal_position(database).await?;
        let cpu = Cpu::read(environment, &services, provider);
        let started = Instant::now();
        Ok(Self { environment, database, services, provider, started, cpu, wal })
    }

    /// What each of so many operations has cost since the start.
    pub async fn stop(self, operations: f64) -> anyhow::Result<Cost> {
        let took = self.started.elapsed().as_secs_f64();
        let now = Cpu::read(self.environment, &self.services, self.provider);
        let wal = self.environment.wal_position(self.database).await?;
        let written = self.environment.wal_between(&self.wal, &wal).await?;
        let client = now.client - self.cpu.client;
        let service = now.service - self.cpu.service;
        let postgres = now.postgres - self.cpu.postgres;
        let provider = now.provider - self.cpu.provider;
        let ours = client + service + postgres + provider;
        let available = machine::cores() * took;
        let micros = |seconds: f64| seconds * 1e6 / operations;
        Ok(Cost {
            client: micros(client),
            service: (!self.services.is_empty()).then(|| micros(service)),
            postgres: micros(postgres),
            provider: self.provider.map(|_| micros(provider)),
            wal_bytes: (wal.bytes - self.wal.bytes) / operations,
            full_page_bytes: written.full_pages / operations,
            commits: written.commits / operations,
            used: ours / available,
            used_by_others: (now.machine - self.cpu.machine - ours).max(0.0) / available,
        })
    }
}

impl Cpu {
    fn read(environment: &Environment, services: &[&Service], provider: Option<&Provider>) -> Self {
        let own = std::process::id();
        Self {
            // `pgbench` is a child of this process; nothing else ends while a meter runs.
            client: machine::cpu_of(own) + machine::cpu_of_ended_children(own),
            service: services.iter().map(|service| service.cpu()).sum(),
            postgres: environment.postgres_cpu(),
            provider: provider.map_or(0.0, Provider::cpu),
            machine: machine::busy(),
        }
    }
}
