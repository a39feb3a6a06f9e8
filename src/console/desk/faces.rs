//! The two pictures of a case or a golden pair, as a page shows them: by addresses of the assignment,
//! which do not tell one kind from the other.

use crate::console::frame::moments::Moments;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::verifications::pictures::{self, Picture, Shown};
use crate::domain::ids::VerificationId;
use crate::domain::image::ImageKind;
use crate::domain::scope::Scope;
use crate::store::assignments::Assignment;
use crate::store::images::ImageRow;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Live,
    Reference,
}

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Live, Self::Reference];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Reference => "reference",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|side| side.as_str() == text)
    }

    /// The kinds of image that show it, the best first.
    pub(super) const fn kinds(self) -> &'static [ImageKind] {
        match self {
            Self::Live => &[ImageKind::Face, ImageKind::FaceGlobal],
            Self::Reference => &[ImageKind::CardFront],
        }
    }

    /// Name and number are printed on a card, so only the place of its portrait shows. The same for a
    /// golden pair: nothing tells it from a case.
    const fn part(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Reference => "portrait",
        }
    }

    pub(super) const fn is_shown_in_part(self) -> bool {
        !self.part().is_empty()
    }
}

/// The newest stored image of this side, of the best kind.
pub(super) fn newest(rows: &[ImageRow], side: Side) -> Option<&ImageRow> {
    let of = |kind: &ImageKind| {
        let name = kind.to_string();
        rows.iter().rev().find(|row| row.kind == name && row.state == "archived")
    };
    side.kinds().iter().find_map(of)
}

#[derive(Debug)]
pub(super) struct Faces {
    pub(super) is_small: bool,
    /// Viewer and time, over both pictures.
    pub(super) mark: String,
    pub(super) pictures: Vec<Picture>,
}

/// The pictures of an assignment; `here` is its address.
pub(super) async fn of(
    console: &Console,
    who: &SignedIn,
    moments: &Moments,
    (assignment, here): (&Assignment, &str),
    is_small: bool,
) -> Result<Faces, Refused> {
    let t = moments.t;
    let mut faces = Vec::new();
    for side in Side::ALL {
        let (name, alt) = match side {
            Side::Live => (t.case.live, t.case.live_alt),
            Side::Reference => (t.case.reference, t.case.reference_alt),
        };
        let shown = match assignment.case() {
            _ if !who.has(Scope::ImagesRead) => Shown::Missing(t.case.no_right),
            Some((_, verification)) => found(console, moments, verification, side).await?,
            None => Shown::Image,
        };
        faces.push(Picture {
            href: format!("{here}/images/{}", side.as_str()),
            name,
            alt,
            part: side.part(),
            shown,
        });
    }
    Ok(Faces { is_small, mark: pictures::mark(who, moments), pictures: faces })
}

/// The newest image of this side.
async fn found(
    console: &Console,
    moments: &Moments,
    verification: VerificationId,
    side: Side,
) -> Result<Shown, Refused> {
    let rows = console.api.store.images().images_of(verification).await?;
    let case = &moments.t.case;
    let Some(row) = newest(&rows, side) else {
        let is_pending = rows.iter().any(|row| row.state == "pending");
        return Ok(Shown::Missing(if is_pending { case.still_fetched } else { case.no_picture }));
    };
    Ok(match pictures::shown(moments.t, row) {
        // The file is all of it.
        Shown::File(_) if side.is_shown_in_part() => Shown::Missing(case.whole_card_later),
        shown => shown,
    })
}
