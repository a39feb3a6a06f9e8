//! One seed: the processes, the choices, the end.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinHandle;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;

use super::defects::Defect;
use super::erasers::erase;
use super::process::{Intake, Surroundings, WorkerProcess};
use super::random::Random;
use super::receiver::Receiver;
use super::reckoning::reckon;
use super::senders::{Message, Senders};
use super::sim::{Fate, Key, Kind, Sim};
use super::world::{ACCOUNT, START, World, store_at};

/// Choices while there are faults.
const FAULTY: (u64, u64) = (60, 300);
/// The faults end earlier where nothing is left to do, which is found out this often.
const LOOK_EVERY: u64 = 10;
/// Choices after which everything must have come to rest without faults.
const PATIENCE: u32 = 1_000;

/// The course of one seed.
pub struct Report {
    pub trace: Vec<String>,
    /// Choices.
    pub steps: u32,
    pub broken: Vec<(&'static str, Vec<String>)>,
}

/// Runs one seed.
pub fn run(world: &World, seed: u64, defect: Option<&'static Defect>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    // While it waits, the simulated time goes on only when the simulation says so.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || ended.recv());
    let report = runtime.block_on(Simulation::whole(world, seed, defect));
    drop(end);
    report
}

/// How often which fault happens: drawn once for each seed, so that some have one kind only.
#[derive(Clone, Copy, Debug)]
struct Weights {
    lose: u32,
    lose_answer: u32,
    hold_commit: u32,
    hold_answer: u32,
    refuse: u32,
    kill: u32,
    cut: u32,
    time: u32,
    jump: u32,
}

impl Weights {
    fn draw(random: &mut Random) -> Self {
        let mut one = |most: u64| {
            let is_in = random.below(3) > 0;
            let weight = random.between(1, most);
            if is_in { u32::try_from(weight).expect("a small number") } else { 0 }
        };
        Self {
            lose: one(12),
            lose_answer: one(12),
            hold_commit: one(60),
            hold_answer: one(25),
            refuse: one(20),
            kill: one(4),
            cut: one(4),
            time: 1 + one(25),
            jump: one(30),
        }
    }
}

struct Simulation<'a> {
    of: Surroundings<'a>,
    look: PgConnection,
    random: Random,
    weights: Weights,
    is_faulty: bool,
    workers: Vec<WorkerProcess>,
    /// How many processes there have been.
    started: u32,
    senders: Arc<Senders>,
    /// Those who send and erase.
    clients: Vec<JoinHandle<()>>,
    steps: u32,
}

impl<'a> Simulation<'a> {
    async fn whole(world: &'a World, seed: u64, defect: Option<&'static Defect>) -> Report {
        let sim = Arc::new(Sim::default());
        let of = Surroundings {
            world,
            sim: Arc::clone(&sim),
            clock: Clock::fixed(START),
            defect,
            lines: std::sync::Mutex::default(),
        };
        let (_, url) = of.line("");
        let mut random = Random::new(seed);
        let weights = Weights::draw(&mut random);
        let mut simulation = Self {
            look: PgConnection::connect(&url).await.expect("the database answers"),
            of,
            random,
            weights,
            is_faulty: true,
            workers: Vec::new(),
            started: 0,
            senders: Arc::default(),
            clients: Vec::new(),
            steps: 0,
        };
        if let Some(defect) = defect {
            defect.plant_functions(&mut simulation.look).await;
        }
        let base = simulation.empty(&url).await;
        let is_strict = simulation.random.below(2) == 0;
        let sequence: i64 = simulation.number("select max(after) from event_epochs").await;
        let (receiver, address) = Receiver::start(&sim, is_strict, base - sequence).await;
        simulation.lead_endpoint_to(&format!("http://{address}/"), is_strict, base).await;
        simulation.begin().await;

        let mut broken = Vec::new();
        if !simulation.choose_until_rest(base).await {
            let waiting = sim.waiting().into_iter().map(|(key, _)| format!("{key:?}"));
            broken.push(("does not come to rest", waiting.collect()));
        }
        broken.extend(reckon(&mut simulation.look, base, &simulation.senders, &receiver).await);
        let steps = simulation.steps;
        simulation.end().await;
        Report { trace: sim.trace(), steps, broken }
    }

    /// Empties the database; the number of the newest event.
    async fn empty(&mut self, url: &str) -> i64 {
        let start = format!("update sim_clock set at = '{START}'");
        self.look.execute(AssertSqlSafe(start)).await.expect("the clock is set");
        self.look
            .execute(
                "begin; set local session_replication_role = replica;
                 delete from sim_leases; delete from shadow_decisions; delete from decisions;
                 delete from material; delete from results; delete from data_keys;
                 delete from callbacks; delete from cases; delete from verifications;
                 delete from accounts; delete from budgets; delete from tasks;
                 delete from erasures;
                 delete from webhook_pending; delete from webhook_attempts;
                 delete from events; delete from event_notes; delete from processes;
                 commit",
            )
            .await
            .expect("emptied");
        if self.of.world.wants_vacuum() {
            self.look.execute("vacuum").await.expect("vacuumed");
        }
        let store = store_at(url, 2);
        store.accounts().open_account(ACCOUNT).await.expect("an account");
        while store.events().number_step(1_000).await.expect("numbered") > 0 {}
        store.close().await;
        self.number("select number from event_log").await
    }

    async fn lead_endpoint_to(&mut self, url: &str, is_strict: bool, cursor: i64) {
        let ordering = if is_strict { "strict" } else { "per-verification" };
        sqlx::query(
            "update webhook_endpoints set url = $1, ordering = $2, cursor = $3, status = 'active',
                 lease_token = null, lease_until = null, due_at = null, failing_since = null,
                 failures = 0, warned = 0, next_try_at = null, disabled_because = null",
        )
        .bind(url)
        .bind(ordering)
        .bind(cursor)
        .execute(&mut self.look)
        .await
        .expect("the endpoint leads to the receiver");
    }

    async fn number(&mut self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.look).await.expect("a number")
    }

    /// Ids of a new process.
    fn ids(&mut self) -> Ids {
        Ids::counted(self.random.next())
    }

    async fn start_worker(&mut self) {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let ids = self.ids();
        self.workers.push(WorkerProcess::start(&self.of, name, ids).await);
    }

    fn start_intake(&mut self) {
        self.started += 1;
        let name = format!("intake-{}", self.started);
        let ids = self.ids();
        let intake = Intake::start(&self.of, name, ids);
        self.senders.add_intake(intake);
    }

    async fn begin(&mut self) {
        for _ in 0..2 {
            self.start_worker().await;
            self.start_intake();
        }
        let verifications = self.random.between(2, 6);
        for number in 1..=self.random.between(6, 16) {
            let message = Message {
                id: format!("message-{number}"),
                biz_id: format!("person-{}", self.random.between(1, verifications)),
                repeats: self.random.below(2) as u64,
                after: Duration::from_millis(self.random.weighted(&[(2, 0), (1, 300), (1, 3_000)])),
            };
            let senders = Arc::clone(&self.senders);
            let (sim, clock) = (Arc::clone(&self.of.sim), self.of.clock.clone());
            self.clients.push(tokio::spawn(senders.send(sim, clock, message.clone())));
            let is_erased = number == 1 && self.random.below(3) == 0;
            if is_erased {
                let senders = Arc::clone(&self.senders);
                let (sim, clock) = (Arc::clone(&self.of.sim), self.of.clock.clone());
                self.clients.push(tokio::spawn(erase(senders, sim, clock, message.biz_id)));
            }
        }
    }

    /// `false`: it has not come to rest.
    async fn choose_until_rest(&mut self, base: i64) -> bool {
        let faulty = self.random.between(FAULTY.0, FAULTY.1);
        for choice in 0..faulty + u64::from(PATIENCE) {
            self.of.sim.settle(&mut self.look).await;
            let is_time_to_look = self.is_faulty && choice % LOOK_EVERY == LOOK_EVERY - 1;
            if choice == faulty || is_time_to_look && self.is_at_rest(base).await {
                self.end_faults();
                continue;
            }
            self.steps += 1;
            let waiting = self.of.sim.waiting();
            if self.is_faulty {
                self.choose(waiting).await;
            } else if waiting.is_empty() {
                if self.is_at_rest(base).await {
                    return true;
                }
                let by = self.until_something_is_due().await;
                self.pass_time(by).await;
            } else {
                self.let_one_go(&waiting);
            }
        }
        false
    }

    async fn choose(&mut self, waiting: Vec<(Key, Kind)>) {
        #[derive(Clone, Copy)]
        enum Choice {
            Go,
            Time,
            Jump,
            Kill,
            Cut,
            Signal,
        }
        let Weights { kill, cut, time, jump, .. } = self.weights;
        let go = if waiting.is_empty() { 0 } else { 200 };
        let choice = self.random.weighted(&[
            (go, Choice::Go),
            (time, Choice::Time),
            (jump / 8, Choice::Jump),
            (kill, Choice::Kill),
            (cut, Choice::Cut),
            (5, Choice::Signal),
        ]);
        match choice {
            Choice::Go => self.let_one_go(&waiting),
            Choice::Time => {
                let most = self.random.weighted(&[(5, 20), (3, 400), (1, 1_500)]);
                let by = Duration::from_millis(self.random.between(1, most));
                self.pass_time(by).await;
            }
            Choice::Jump => {
                let by = Duration::from_millis(self.random.between(1_500, 12_000));
                self.pass_time(by).await;
            }
            Choice::Kill => self.kill_one().await,
            Choice::Cut => self.cut_one(),
            Choice::Signal => self.signal_one(),
        }
    }

    fn let_one_go(&mut self, waiting: &[(Key, Kind)]) {
        // Statements that are held stay so for some choices, so that others happen meanwhile.
        let is_held = |kind: Kind| [Kind::Commit, Kind::Answer].contains(&kind);
        let mut ready: Vec<_> = waiting.iter().filter(|(_, kind)| !is_held(*kind)).collect();
        if ready.is_empty() || self.random.below(4) == 0 {
            ready = waiting.iter().collect();
        }
        let (key, kind) = ready[self.random.below(ready.len())];
        let fate = self.fate(*kind);
        self.of.sim.go(key, fate);
    }

    fn fate(&mut self, kind: Kind) -> Fate {
        if kind == Kind::Post {
            let intakes = self.senders.intakes();
            let lost = if self.is_faulty { self.weights.lose_answer } else { 0 };
            let to = Fate::To(self.random.below(intakes));
            return self.random.weighted(&[(100, to), (lost, Fate::LoseAnswer)]);
        }
        if !self.is_faulty {
            return if kind == Kind::Call { Fate::Status(1) } else { Fate::Pass };
        }
        let Weights { lose, lose_answer, hold_commit, hold_answer, refuse, .. } = self.weights;
        let pass = (100, Fate::Pass);
        match kind {
            Kind::Statement => self.random.weighted(&[
                pass,
                (lose, Fate::Lose),
                (lose_answer, Fate::LoseAnswer),
                (hold_commit, Fate::HoldCommit),
                (hold_answer, Fate::HoldAnswer),
            ]),
            Kind::Commit => self.random.weighted(&[
                pass,
                (lose, Fate::Lose),
                (lose_answer, Fate::LoseAnswer),
                (hold_answer, Fate::HoldAnswer),
            ]),
            Kind::Answer => self.random.weighted(&[pass, (lose, Fate::Lose)]),
            Kind::Call => self.random.weighted(&[
                (50, Fate::Status(1)),
                (25, Fate::Status(7)),
                (25, Fate::Status(-1)),
                (lose_answer, Fate::Lose),
                (refuse, Fate::Refuse),
            ]),
            Kind::Delivery => self.random.weighted(&[
                pass,
                (lose, Fate::Lose),
                (lose_answer, Fate::LoseAnswer),
                (refuse, Fate::Refuse),
            ]),
            Kind::Post | Kind::Quiet => Fate::Pass,
        }
    }

    async fn pass_time(&mut self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).expect("a pause of less than a year");
        sqlx::query("update sim_clock set at = at + $1 * interval '1 microsecond'")
            .bind(micros)
            .execute(&mut self.look)
            .await
            .expect("the clock goes on");
        self.of.clock.advance(by);
        self.of.sim.advance(by).await;
        self.of.sim.note(&format!("time: {} ms", by.as_millis()));
    }

    /// Kills one process and starts another.
    async fn kill_one(&mut self) {
        if self.random.below(3) > 0 {
            let worker = self.workers.remove(self.random.below(self.workers.len()));
            self.of.sim.note(&format!("{} is killed", worker.name));
            worker.kill();
            self.start_worker().await;
        } else {
            let place = self.random.below(self.senders.intakes());
            let intake = self.senders.remove_intake(place);
            self.of.sim.note(&format!("{} is killed", intake.name));
            intake.line.cut();
            self.start_intake();
        }
    }

    /// Cuts one process off the database, or lets it back.
    fn cut_one(&mut self) {
        let place = self.random.below(self.workers.len());
        let worker = &self.workers[place];
        if self.random.below(2) == 0 {
            self.of.sim.note(&format!("{} is cut off", worker.name));
            worker.line.cut();
        } else {
            self.of.sim.note(&format!("{} has the database", worker.name));
            worker.line.restore();
        }
    }

    /// A notification arrives at one worker.
    fn signal_one(&mut self) {
        let place = self.random.below(self.workers.len());
        let worker = &self.workers[place];
        self.of.sim.note(&format!("{} is notified", worker.name));
        worker.signals.work_is_due();
        worker.signals.something_settled();
        worker.signals.events_logged();
    }

    /// From now on everything works.
    fn end_faults(&mut self) {
        self.is_faulty = false;
        self.of.sim.note("the faults end");
        for worker in &self.workers {
            worker.line.restore();
        }
    }

    async fn is_at_rest(&mut self, base: i64) -> bool {
        if !self.clients.iter().all(JoinHandle::is_finished) {
            return false;
        }
        let open: i64 = sqlx::query_scalar(
            "select (select count(*) from verifications where due_at is not null
                     or lease_token is not null)
                 + (select count(*) from decisions) + (select count(*) from event_notes)
                 - (select number - $1 from event_log)
                 + (select count(*) from webhook_pending)
                 + (select count(*) from erasures where completed_at is null)
                 + (select count(*) from webhook_endpoints where lease_token is not null
                     or cursor <> (select number from event_log))",
        )
        .bind(base)
        .fetch_one(&mut self.look)
        .await
        .expect("a count");
        open == 0
    }

    /// Until then nothing would happen but polls.
    async fn until_something_is_due(&mut self) -> Duration {
        let seconds: Option<f64> = sqlx::query_scalar(
            "select extract(epoch from min(at) - verdict_now())::float8 from (
                 select greatest(due_at, lease_until) as at from verifications
                 union all select spent_to from budgets
                 union all select probe_at from accounts where breaker <> 'closed'
                 union all select greatest(due_at, lease_until) from webhook_endpoints
                 union all select next_try_at from webhook_endpoints
                 union all select next_at from webhook_pending) as due
             where at > verdict_now()",
        )
        .fetch_one(&mut self.look)
        .await
        .expect("a time");
        Duration::from_secs_f64(seconds.unwrap_or(0.0).clamp(0.25, 60.0))
    }

    /// Gives all sessions with Postgres back.
    async fn end(mut self) {
        let sim = Arc::clone(&self.of.sim);
        sim.lose_all();
        let lines = std::mem::take(&mut *self.of.lines.lock().expect("not poisoned"));
        for line in &lines[1..] {
            line.cut();
        }
        while lines[1..].iter().any(|line| line.open() > 0) {
            sim.lose_all();
            sim.settle(&mut self.look).await;
        }
        self.look.close().await.expect("closed");
        while lines[0].open() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
