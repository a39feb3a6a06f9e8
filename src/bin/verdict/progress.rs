//! The progress of long work, for a person at a terminal: one line on standard error, drawn over
//! again and gone at the end. Programs see nothing of it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two drawings of a count.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Characters of the bar.
const BAR: u64 = 24;
/// Back to the beginning of the line, which becomes empty.
const CLEAR: &str = "\r\u{1b}[2K";

pub(crate) struct Progress {
    /// The things that are counted.
    what: &'static str,
    /// About how many there are, if that is known.
    total: Option<u64>,
    started: Instant,
    drawn: Option<Instant>,
    /// `None`: nobody is watching.
    terminal: Option<Box<dyn Write + Send>>,
}

impl Progress {
    /// `json`: the result is for a program.
    pub(crate) fn new(what: &'static str, json: bool) -> Self {
        Self::shown(what, !json)
    }

    /// Of an export, whose lines are the result. On a terminal they would run through the progress.
    pub(crate) fn of_export(what: &'static str) -> Self {
        Self::shown(what, !std::io::stdout().is_terminal())
    }

    fn shown(what: &'static str, is_wanted: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let stderr = std::io::stderr();
        let is_shown = is_wanted && !is_dumb && stderr.is_terminal();
        Self::on(what, is_shown.then(|| Box::new(stderr) as Box<dyn Write + Send>))
    }

    fn on(what: &'static str, terminal: Option<Box<dyn Write + Send>>) -> Self {
        Self { what, total: None, started: Instant::now(), drawn: None, terminal }
    }

    /// About how many there are.
    pub(crate) fn expect(&mut self, total: impl TryInto<u64>) {
        self.total = total.try_into().ok().filter(|total| *total > 0);
    }

    /// So many are done.
    pub(crate) fn at(&mut self, done: impl TryInto<u64>) {
        let done = done.try_into().unwrap_or_default();
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < DRAW_EVERY) {
            return;
        }
        let rate = self.rate(done);
        let (what, total) = (self.what, self.total);
        self.draw(|| line(what, done, total, rate));
    }

    /// The step that begins, in place of a count.
    pub(crate) fn step(&mut self, text: impl FnOnce() -> String) {
        self.draw(text);
    }

    /// Done per second so far.
    pub(crate) fn rate(&self, done: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for reading")]
        let done = done as f64;
        done / self.started.elapsed().as_secs_f64().max(0.001)
    }

    /// Takes the line away, before results are printed.
    pub(crate) fn clear(&mut self) {
        if let (Some(terminal), Some(_)) = (&mut self.terminal, self.drawn.take()) {
            let _ = write!(terminal, "{CLEAR}").and_then(|()| terminal.flush());
        }
    }

    fn draw(&mut self, text: impl FnOnce() -> String) {
        let Some(terminal) = &mut self.terminal else { return };
        self.drawn = Some(Instant::now());
        let _ = write!(terminal, "{CLEAR}{}", text()).and_then(|()| terminal.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(what: &str, done: u64, total: Option<u64>, rate: f64) -> String {
    let Some(total) = total else { return format!("{what}: {done} ({rate:.0}/s)") };
    let full = (done.min(total) * BAR) / total.max(1);
    let bar: String = (0..BAR).map(|n| if n < full { '█' } else { '·' }).collect();
    format!("{bar} {what}: {done} of about {total} ({rate:.0}/s)")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<Vec<u8>>>);

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Terminal {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn progress_is_drawn_over_and_gone_at_the_end() {
        let terminal = Terminal::default();
        let mut progress = Progress::on("rows", Some(Box::new(terminal.clone())));
        progress.expect(4);
        progress.at(1);
        let text = terminal.text();
        assert!(text.starts_with(CLEAR) && text.contains("██████··"), "{text}");
        assert!(text.contains(" rows: 1 of about 4 ("), "{text}");
        drop(progress);
        assert!(terminal.text().ends_with(CLEAR));
        // Nothing was drawn: nothing is taken away.
        let terminal = Terminal::default();
        Progress::on("rows", Some(Box::new(terminal.clone()))).clear();
        assert_eq!(terminal.text(), "");
    }

    #[test]
    fn nothing_is_drawn_where_nobody_watches() {
        // The tests' standard error may be a terminal; a program's result never has progress.
        for mut progress in [Progress::new("rows", true), Progress::on("rows", None)] {
            progress.at(1);
            progress.step(|| panic!("nobody watches"));
            assert!(progress.terminal.is_none());
        }
    }

    #[test]
    fn line_fits_whatever_is_known_of_the_total() {
        assert_eq!(line("rows", 12, None, 3.4), "rows: 12 (3/s)");
        let beyond = line("rows", 12, Some(4), 3.4);
        assert!(beyond.starts_with(&"█".repeat(24)), "{beyond}");
        assert!(!line("rows", 0, Some(1_000), 0.0).contains('█'));
    }
}
