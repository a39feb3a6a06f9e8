//! What a command prints, and what becomes of it where it cannot be written.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// The first failure to write a result. The exit code depends on it.
static NOT_WRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Prints one line of result. A reader that went away (`| head`) is no error of ours; everything
/// else ([`not_written`]) makes the command fail at its end.
pub(super) fn say(line: impl Display) {
    if let Err(error) = written(line) {
        note(error);
    }
}

/// The same for a line with styles, which are left out where standard output is no terminal.
pub(super) fn say_styled(line: impl Display) {
    let mut stdout = anstream::AutoStream::auto(io::stdout());
    let line = format!("{line}\n");
    if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        note(error);
    }
}

/// Prints what was changed and cannot be undone: where standard output does not take it, standard
/// error gets it.
pub(super) fn say_done(line: impl Display) {
    if let Err(error) = written(&line) {
        let _ = writeln!(io::stderr(), "{line}");
        note(error);
    }
}

/// Prints one line, and says whether it was written.
pub(super) fn written(line: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes())?;
    stdout.flush()
}

/// Why a result was not written, if one was not.
pub(super) fn not_written() -> Option<&'static io::Error> {
    NOT_WRITTEN.get()
}

fn note(error: io::Error) {
    if error.kind() != ErrorKind::BrokenPipe {
        let _ = NOT_WRITTEN.set(error);
    }
}
