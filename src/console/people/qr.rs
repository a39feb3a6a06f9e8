//! A QR code as one path of an SVG: no style, no other colour than the stylesheet's.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

/// Light modules that surround a code, as the standard wants them.
const QUIET_ZONE: usize = 4;

/// A code to be drawn.
pub(super) struct Qr {
    /// Modules on each side, the quiet zone included.
    pub(super) size: usize,
    /// Every dark module, row by row.
    pub(super) path: String,
}

/// `None`: the text is too long for a code.
pub(super) fn of(text: &str) -> Option<Qr> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let (width, colors) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|one, next| one == next) {
            if run[0] == Color::Dark {
                let (left, top, length) = (x + QUIET_ZONE, y + QUIET_ZONE, run.len());
                let _ = write!(path, "M{left} {top}h{length}v1h-{length}z");
            }
            x += run.len();
        }
    }
    Some(Qr { size: width + 2 * QUIET_ZONE, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that a path fills.
    fn drawn(qr: &Qr) -> Vec<Vec<bool>> {
        let mut modules = vec![vec![false; qr.size]; qr.size];
        for run in qr.path.split_terminator('z') {
            let run = run.strip_prefix('M').unwrap();
            let (place, rest) = run.split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let length: usize = rest.split_once('v').unwrap().0.parse().unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            modules[y][x..x + length].fill(true);
        }
        modules
    }

    #[test]
    fn the_path_draws_the_code_within_its_quiet_zone() {
        let text =
            "otpauth://totp/Verdict:anna%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=Verdict";
        let qr = of(text).unwrap();
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let modules = drawn(&qr);
        for (y, row) in modules.iter().enumerate() {
            for (x, is_dark) in row.iter().enumerate() {
                let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|at| *at < code.width());
                let wanted = match (inside(x), inside(y)) {
                    (Some(x), Some(y)) => code[(x, y)] == Color::Dark,
                    _ => false,
                };
                assert_eq!(*is_dark, wanted, "{x} {y}");
            }
        }
        assert!(of(&"x".repeat(5_000)).is_none());
    }
}
