//! The time zone in which a person reads times. The zones come with the binary: what a machine has
//! installed, or lacks, changes nothing.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
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
        assert!(Zone::parse("Mars/Olympus").is_err() && Zone::parse("").is_err());
        assert!(Zone::names().len() > 400);
    }
}
