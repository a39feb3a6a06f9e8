//! The trace context that joins spans of several processes: W3C `traceparent`, and nothing else of
//! that recommendation. Callers may send anything in `tracestate` and baggage.

use std::fmt;

/// A span that others belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace: u128,
    /// The span in it; never 0.
    pub span: u64,
    /// The trace is recorded.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header's value. Later versions may have more after the flags.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.split_at_checked(2)?;
        let version = number(version)?;
        let rest = rest.strip_prefix('-')?;
        let (trace, rest) = rest.split_at_checked(32)?;
        let (span, rest) = rest.strip_prefix('-')?.split_at_checked(16)?;
        let (flags, more) = rest.strip_prefix('-')?.split_at_checked(2)?;
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        let parent = Self {
            trace: number(trace)?,
            span: u64::try_from(number(span)?).ok()?,
            sampled: number(flags)? & 1 == 1,
        };
        (fits && parent.trace != 0 && parent.span != 0).then_some(parent)
    }

    /// The id of the trace in hex.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

/// Lowercase hexadecimal only, by the recommendation.
fn number(text: &str) -> Option<u128> {
    let fits = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.bytes().all(fits).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn well_formed_traceparent_round_trips() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((parent.span, parent.sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(parent.to_string(), GOOD);
        let unsampled = GOOD.replace("-01", "-00");
        assert!(!TraceParent::parse(&unsampled).unwrap().sampled);
        let later = format!("01{}-more", &GOOD[2..]);
        assert_eq!(TraceParent::parse(&later), Some(parent));
    }

    #[test]
    fn malformed_traceparent_is_ignored() {
        let cut = &GOOD[..54];
        let more = format!("{GOOD}-more");
        let glued = format!("01{}more", &GOOD[2..]);
        for bad in [
            "",
            cut,
            &more,
            &glued,
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &GOOD.replace("4b", "+b"),
            &GOOD.replace("4b", "é"),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
