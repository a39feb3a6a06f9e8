//! One server: made, started, watched and stopped.

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, io as failed};
use crate::home::Home;
use crate::layout::{DATA, UNFINISHED_DATA};
use crate::leftover::{self, POLL_INTERVAL};
use crate::programs::Programs;
use crate::settings::{self, Mode};

/// The superuser, and the only account that is there from the start.
const USER: &str = "verdict";
/// How long a start may take. A crash in durable mode is recovered first.
const START_WITHIN: Duration = Duration::from_mins(2);
/// How often a start is tried: another program may take the port between our choice and Postgres' bind.
const TRIES: u32 = 5;
/// Before the second try; each later pause is longer by the same time.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Waits for our end of the pipe in a separate process, then becomes Postgres. So Postgres has
/// the pid we know, and ends with us however we end: even `kill -9` closes a pipe. The waiting
/// process is detached twice, because Postgres takes any child that dies oddly for a crash of one
/// of its own; `done` tells it that there is nothing left to stop.
const WITH_GUARD: &str = r#"
exec 3<&0 </dev/null
( ( read -r word <&3; [ "$word" = done ] || kill -s "$1" $$ ) >/dev/null 2>&1 & )
exec 3<&-
shift
exec "$@"
"#;

/// A running server of ours. Dropping it stops the server in the background; [`Server::stop`]
/// waits for the end.
///
/// It does not depend on the runtime that started it: tests on different runtimes can share one.
pub struct Server {
    process: Process,
    home: Home,
    password: SecretString,
    port: u16,
    major: u32,
}

impl Server {
    /// Starts a server in `folder`, which is made if missing and belongs to one owner at a time.
    /// A server that an earlier owner left there is stopped first.
    pub async fn start(programs: &Programs, folder: &Path, mode: Mode) -> Result<Self, Error> {
        Self::start_on(programs, folder, mode, free_port).await
    }

    /// As [`Server::start`], with `choose` naming the port to try next.
    pub(crate) async fn start_on(
        programs: &Programs,
        folder: &Path,
        mode: Mode,
        mut choose: impl FnMut() -> io::Result<u16>,
    ) -> Result<Self, Error> {
        let home = Home::open(folder)?;
        let password = home.password()?;
        let data = home.data();
        if home.place().has(DATA) {
            same_major(programs, &home)?;
        } else {
            initialise(programs, &home, mode).await?;
        }
        let mut tries = 1;
        loop {
            leftover::stop(home.place()).await?;
            let port = choose().map_err(failed("find a free port for", &data))?;
            let mut process = Process::spawn(programs, &home, mode, port)?;
            match process.ready(&home).await {
                Ok(()) => {
                    let major = programs.major();
                    return Ok(Self { process, home, password, port, major });
                }
                Err(Error::Ended(_)) if tries < TRIES && passes(&home.read_log()) => {
                    tokio::time::sleep(BETWEEN_TRIES * tries).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where the superuser reaches `database`, password included: never log it. The database
    /// `postgres` exists from the start.
    pub fn url(&self, database: &str) -> String {
        self.url_as(USER, self.password.expose_secret(), database)
    }

    /// As [`Server::url`], for another account of the server.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The major version, such as 17.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The server's own log. It holds no statements and no values.
    pub fn log_path(&self) -> PathBuf {
        self.home.log()
    }

    /// The folder of the Unix socket, for `psql -h`, unless its path is too long for a socket.
    pub fn socket_folder(&self) -> Option<PathBuf> {
        self.home.socket_folder()
    }

    /// The server's first process, the parent of its others.
    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }

    /// Stops the server and waits until it is gone; what is committed stays.
    pub async fn stop(mut self) -> Result<(), Error> {
        let stopped = self.process.stop().await;
        self.home.unlock();
        stopped
    }

    #[cfg(test)]
    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    #[cfg(test)]
    pub(crate) fn data(&self) -> PathBuf {
        self.home.data()
    }

    /// Gives up the folder without stopping the server, as a crash between the two would.
    #[cfg(test)]
    pub(crate) fn unlock(&mut self) {
        self.home.unlock();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("port", &self.port).finish_non_exhaustive()
    }
}

/// The process, and the pipe whose closing ends it. Closing alone is enough: there is no need to
/// reap before we exit.
struct Process {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Process {
    fn spawn(programs: &Programs, home: &Home, mode: Mode, port: u16) -> Result<Self, Error> {
        let log = home.new_log()?;
        let again = log.try_clone().map_err(failed("open", &home.log()))?;
        let signal = match mode {
            Mode::Durable => "INT",
            Mode::ThrowAway => "QUIT",
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WITH_GUARD, "sh", signal]);
        command.arg(programs.postgres()).arg("-D").arg(home.data());
        command.args(settings::arguments(mode, port, home.socket_folder().as_deref()));
        environment(&mut command);
        command.current_dir(home.place().path());
        // In a separate process group, so that Ctrl-C reaches us, and Postgres through us.
        command.stdin(Stdio::piped()).stdout(log).stderr(again).process_group(0);
        if home.account.switched {
            command.uid(home.account.uid).gid(home.account.gid);
        }
        let mut child = command.spawn().map_err(failed("start", &programs.postgres()))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the server says in `postmaster.pid` that it takes connections.
    async fn ready(&mut self, home: &Home) -> Result<(), Error> {
        let pid = self.child.id().to_string();
        let waiting = async {
            loop {
                if home.postmaster_pid().is_some_and(|text| says_ready(&text, &pid)) {
                    return Ok(());
                }
                if self.ended() {
                    return Err(Error::Ended(home.log()));
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(START_WITHIN, waiting).await.unwrap_or_else(|_| {
            Err(Error::NotReady { seconds: START_WITHIN.as_secs(), log: home.log() })
        })
    }

    async fn stop(&mut self) -> Result<(), Error> {
        if self.ended() {
            return Ok(());
        }
        leftover::end(self.pid(), || self.ended()).await
    }

    /// Whether the process is gone. From then on its number may be another's, so the guard is
    /// told not to use it.
    fn ended(&mut self) -> bool {
        let gone = !matches!(self.child.try_wait(), Ok(None));
        if gone && let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        gone
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Tells the guard if it is over; else the closing pipe makes the guard stop the server.
        self.ended();
    }
}

/// Nothing of ours, which may hold credentials, reaches another account; and messages are in
/// English, because we look for two of them.
fn environment(command: &mut Command) {
    command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
}

/// The 8th line of `postmaster.pid` is the state (`pg_ctl` waits for it too, since version 10).
fn says_ready(postmaster_pid: &str, pid: &str) -> bool {
    let mut lines = postmaster_pid.lines();
    lines.next().is_some_and(|first| first.trim() == pid)
        && lines.nth(6).is_some_and(|state| state.trim() == "ready")
}

/// Whether a start failed for a reason that passes: the port was taken meanwhile; processes of a
/// server that was killed are still ending; a server whose owner was killed in the middle of its
/// start was quicker than we.
fn passes(log: &str) -> bool {
    log.contains("could not create any TCP/IP sockets")
        || log.contains("pre-existing shared memory block")
        || log.contains("lock file \"postmaster.pid\" already exists")
}

/// A port that is free now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn same_major(programs: &Programs, home: &Home) -> Result<(), Error> {
    let data = home.place().existing_subfolder(DATA)?;
    let found = data.read("PG_VERSION", 16)?.unwrap_or_default().trim().to_owned();
    let ours = programs.major();
    if found == ours.to_string() {
        return Ok(());
    }
    // Shown, so nothing but a number: Postgres' account may have put anything there.
    let number = !found.is_empty() && found.bytes().all(|b| b.is_ascii_digit());
    let found = if number { found } else { "another version".to_owned() };
    Err(Error::OtherMajor { data: data.path().to_owned(), found, ours })
}

/// Makes the data folder: aside first, then renamed, so that half a folder is never taken for one.
async fn initialise(programs: &Programs, home: &Home, mode: Mode) -> Result<(), Error> {
    let aside = home.place().path().join(UNFINISHED_DATA);
    if home.place().has(UNFINISHED_DATA) {
        // By the account itself, so that nothing else can be reached by what it planted.
        let mut command = tokio::process::Command::new("/bin/rm");
        command.arg("-rf").arg("--").arg(&aside);
        let removed = run(command, home).await.map_err(failed("remove", &aside))?;
        if !removed.status.success() {
            return Err(failed("remove", &aside)(io::Error::other("rm failed")));
        }
    }
    let mut command = tokio::process::Command::new(programs.initdb());
    command.arg("-D").arg(&aside).arg("--pwfile").arg(home.password_file());
    command.args(["--username", USER, "--auth=scram-sha-256", "--data-checksums"]);
    // The C locale exists on every machine and sorts the same on each.
    command.args(["--encoding=UTF8", "--locale=C", "--no-instructions"]);
    if mode == Mode::ThrowAway {
        command.arg("--no-sync");
    }
    let output = run(command, home).await.map_err(|error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        if denied && !home.account.reaches(programs.bin()) {
            return Error::ProgramsOutOfReach(programs.bin().to_owned());
        }
        failed("run", &programs.initdb())(error)
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Init(said.trim().lines().last().unwrap_or("no message").to_owned()));
    }
    home.place().rename(UNFINISHED_DATA, DATA)?;
    if mode == Mode::Durable {
        home.place().sync()?;
    }
    Ok(())
}

/// Runs a program to its end under Postgres' account.
async fn run(mut command: tokio::process::Command, home: &Home) -> io::Result<Output> {
    environment(command.as_std_mut());
    command.current_dir(home.place().path()).stdin(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    if home.account.switched {
        command.uid(home.account.uid).gid(home.account.gid);
    }
    command.output().await
}
