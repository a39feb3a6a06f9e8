//! Times and spans of time as a person reads them: in the own zone and language.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::console::texts::Texts;
use crate::domain::zone::Zone;

/// Shows times to one person.
#[derive(Clone, Debug)]
pub struct Moments {
    pub zone: Zone,
    pub now: OffsetDateTime,
    pub t: &'static Texts,
}

impl Moments {
    /// `2026-11-27 16:31:05`.
    pub fn full(&self, at: OffsetDateTime) -> String {
        self.zone.second(at)
    }

    /// `16:31` today, `11-26 16:31` on another day of this year, else with the year.
    pub fn short(&self, at: OffsetDateTime) -> String {
        let (minute, today) = (self.zone.minute(at), self.zone.day(self.now));
        match minute.split_once(' ') {
            Some((day, clock)) if day == today => clock.to_owned(),
            Some((day, _)) if day.get(..5) == today.get(..5) => minute[5..].to_owned(),
            _ => minute,
        }
    }

    /// `16:31:05`.
    pub fn clock(&self, at: OffsetDateTime) -> String {
        let second = self.zone.second(at);
        second.split_once(' ').map_or(second.clone(), |(_, clock)| clock.to_owned())
    }

    /// For the `datetime` of `<time>`.
    pub fn machine(at: OffsetDateTime) -> String {
        at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
    }

    /// How long ago that was: `3 h 12 min`.
    pub fn ago(&self, at: OffsetDateTime) -> String {
        self.span((self.now - at).try_into().unwrap_or_default())
    }

    /// A span of time in its two largest units.
    pub fn span(&self, span: Duration) -> String {
        let words = &self.t.words;
        let minutes = span.as_secs() / 60;
        let (days, hours) = (minutes / 1440, minutes / 60);
        if days > 0 {
            return words.days.with("d", days).with("h", hours % 24).to_string();
        }
        if hours > 0 {
            return words.hours.with("h", hours).with("m", minutes % 60).to_string();
        }
        match minutes {
            0 => words.seconds.with("n", span.as_secs()).to_string(),
            _ => words.minutes.with("n", minutes).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::user::Language;

    #[test]
    fn times_are_in_the_persons_zone_and_spans_in_two_units() {
        let moments = Moments {
            zone: Zone::parse("Asia/Shanghai").expect("a bundled zone"),
            now: datetime!(2026-11-27 08:30:00 UTC),
            t: Texts::of(Language::Zh),
        };
        assert_eq!(moments.full(datetime!(2026-11-27 08:29:59 UTC)), "2026-11-27 16:29:59");
        assert_eq!(moments.short(datetime!(2026-11-26 16:30:00 UTC)), "00:30");
        assert_eq!(moments.short(datetime!(2026-11-26 15:30:00 UTC)), "11-26 23:30");
        assert_eq!(moments.short(datetime!(2025-11-26 15:30:00 UTC)), "2025-11-26 23:30");
        assert_eq!(moments.ago(datetime!(2026-11-27 08:29:55 UTC)), "5 秒");
        assert_eq!(moments.ago(datetime!(2026-11-27 05:18:00 UTC)), "3 小时 12 分");
        assert_eq!(moments.ago(datetime!(2026-11-27 09:18:00 UTC)), "0 秒");
        let english = Moments { t: Texts::of(Language::En), ..moments };
        assert_eq!(english.ago(datetime!(2026-11-24 05:18:00 UTC)), "3 d 3 h");
        assert_eq!(english.ago(datetime!(2026-11-27 08:18:00 UTC)), "12 min");
        assert_eq!(english.clock(datetime!(2026-11-27 08:18:05 UTC)), "16:18:05");
        assert_eq!(
            Moments::machine(datetime!(2026-11-27 08:18:05.123 UTC)),
            "2026-11-27T08:18:05Z"
        );
    }
}
