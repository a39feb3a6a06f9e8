//! The time zone in which a person reads times. The zones come with the binary: what a machine has
//! installed, or lacks, changes nothing.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use time::OffsetDateTime;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// An IANA time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of this name, such as `Asia/Shanghai`.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        ZONES.get(name).map(Self).map_err(|_| "must be a time zone, like Asia/Shanghai")
    }

    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Every name, in order.
    pub fn names() -> Vec<String> {
        ZONES.available().map(|name| name.to_string()).collect()
    }

    /// Date and time to the second: `2026-11-27 16:30:05`.
    pub fn second(&self, at: OffsetDateTime) -> String {
        self.formatted(at, "%Y-%m-%d %H:%M:%S")
    }

    /// Date and time to the minute: `2026-11-27 16:30`.
    pub fn minute(&self, at: OffsetDateTime) -> String {
        self.formatted(at, "%Y-%m-%d %H:%M")
    }

    /// The day: `2026-11-27`.
    pub fn day(&self, at: OffsetDateTime) -> String {
        self.formatted(at, "%Y-%m-%d")
    }

    /// When a day such as `2026-11-27` begins there.
    pub fn start_of(&self, day: &str) -> Option<OffsetDateTime> {
        self.beginning(day.parse().ok()?)
    }

    /// When the day after it begins.
    pub fn end_of(&self, day: &str) -> Option<OffsetDateTime> {
        self.beginning(day.parse::<Date>().ok()?.tomorrow().ok()?)
    }

    fn beginning(&self, day: Date) -> Option<OffsetDateTime> {
        let at = day.to_zoned_datetime(self.0.clone()).ok()?.timestamp().as_nanosecond();
        OffsetDateTime::from_unix_timestamp_nanos(at).ok()
    }

    fn formatted(&self, at: OffsetDateTime, format: &str) -> String {
        let at = Timestamp::from_nanosecond(at.unix_timestamp_nanos()).unwrap_or_default();
        at.to_zoned_datetime(self.0.clone()).strftime(format).to_string()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn times_are_those_of_the_zone() {
        let at = datetime!(2026-07-01 18:30:05 UTC);
        let shown = |name: &str| Zone::parse(name).unwrap().second(at);
        assert_eq!(shown("Asia/Shanghai"), "2026-07-02 02:30:05");
        // Summer time, and none.
        assert_eq!(shown("Europe/Berlin"), "2026-07-01 20:30:05");
        assert_eq!(
            Zone::parse("Europe/Berlin").unwrap().minute(datetime!(2026-12-01 18:30 UTC)),
            "2026-12-01 19:30"
        );
        assert_eq!(Zone::UTC.day(at), "2026-07-01");
        assert_eq!(Zone::parse("asia/shanghai").unwrap().name(), "Asia/Shanghai");
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        assert_eq!(zone.start_of("2026-07-02"), Some(datetime!(2026-07-01 16:00 UTC)));
        assert_eq!(zone.end_of("2026-07-01"), zone.start_of("2026-07-02"));
        assert!(zone.start_of("2026-02-30").is_none() && zone.start_of("x").is_none());
        assert!(Zone::parse("Mars/Olympus").is_err() && Zone::parse("").is_err());
        assert!(Zone::names().len() > 400);
    }
}
