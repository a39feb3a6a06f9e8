//! Practice pairs for the demo's reviewers: drawn faces whose answer is known.

use cloudauth_sandbox::Sandbox;
use drawn_faces::{Face, Shot, draw, draw_card};
use verdict::domain::clock::Clock;
use verdict::images::format::Format;
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::vault::Vault;

use crate::golden;

const ANNA: Face = Face {
    skin: [238, 200, 172],
    hair: [58, 38, 28],
    iris: [92, 60, 34],
    width: 400,
    chin: 232,
    eyes_apart: 178,
    eye_size: 50,
    brow: 13,
    brow_slant: 10,
    nose: 190,
    nose_width: 72,
    mouth_width: 140,
    lips: 34,
    fringe: 30,
    has_long_hair: true,
};
const BO: Face = Face {
    skin: [222, 180, 146],
    hair: [30, 26, 26],
    iris: [54, 38, 26],
    width: 425,
    chin: 285,
    eyes_apart: 192,
    eye_size: 42,
    brow: 22,
    brow_slant: 22,
    nose: 215,
    nose_width: 96,
    mouth_width: 160,
    lips: 24,
    fringe: 0,
    has_long_hair: false,
};
/// Like `BO` at the first glance.
const CHEN: Face = Face {
    width: 402,
    chin: 238,
    eyes_apart: 168,
    eye_size: 49,
    brow: 14,
    brow_slant: -6,
    nose: 178,
    nose_width: 70,
    mouth_width: 126,
    lips: 34,
    ..BO
};
const DILEK: Face = Face {
    skin: [186, 134, 98],
    hair: [22, 18, 20],
    iris: [44, 30, 22],
    eye_size: 54,
    brow: 18,
    nose_width: 88,
    lips: 44,
    fringe: 70,
    ..ANNA
};

/// As on a card: even light, straight on.
const CARD: Shot = Shot {
    background: [214, 226, 236],
    clothes: [62, 70, 84],
    light: 0,
    lean: 0,
    turn: 0,
    smile: 0,
    has_glasses: false,
};
/// As a phone takes it at home.
const PHONE: Shot = Shot {
    background: [122, 112, 98],
    clothes: [150, 92, 74],
    light: -70,
    lean: 46,
    turn: 34,
    smile: 26,
    has_glasses: false,
};
const EVENING: Shot = Shot {
    background: [74, 82, 96],
    clothes: [52, 96, 92],
    light: 80,
    lean: -60,
    turn: -40,
    smile: 8,
    has_glasses: false,
};
const GLASSES: Shot = Shot { has_glasses: true, ..EVENING };

/// The person of the live face and how it was taken, the person of the reference picture, and whether
/// they are one.
const PAIRS: [(Face, Shot, Face, bool); 4] = [
    (ANNA, PHONE, ANNA, true),
    (BO, EVENING, CHEN, false),
    (DILEK, GLASSES, DILEK, true),
    (ANNA, EVENING, DILEK, false),
];

/// The person of every verification of the demo, with the portrait of the card.
const VERIFIED: (Face, Shot) = (
    Face {
        skin: [232, 190, 158],
        hair: [44, 32, 26],
        chin: 262,
        width: 410,
        brow: 17,
        nose: 198,
        fringe: 40,
        has_long_hair: false,
        ..ANNA
    },
    Shot { background: [96, 104, 92], turn: -22, lean: -24, light: 60, ..PHONE },
);

/// A pair that can be added.
pub(super) struct Pair {
    live: Vec<u8>,
    reference: Vec<u8>,
    is_same_person: bool,
}

pub(super) struct Drawn {
    pub(super) pairs: Vec<Pair>,
    pub(super) verified: Verified,
}

/// The pictures that the simulated provider shows for every verification. They are drawn like the
/// practice pairs, so a reviewer cannot tell a pair from a case.
pub(super) struct Verified {
    face: Vec<u8>,
    card: Vec<u8>,
}

impl Verified {
    pub(super) fn show_to(self, provider: &Sandbox) {
        provider.set_image("face", self.face);
        provider.set_image("card-front", self.card);
    }
}

pub(super) fn draw_all() -> anyhow::Result<Drawn> {
    let (person, shot) = &VERIFIED;
    let verified = Verified { face: draw(person, shot)?, card: draw_card(person, &CARD)? };
    Ok(Drawn { pairs: pairs()?, verified })
}

fn pairs() -> anyhow::Result<Vec<Pair>> {
    let draw = |(live, shot, reference, is_same_person): &(Face, Shot, Face, bool)| {
        let (live, reference) = (draw(live, shot)?, draw_card(reference, &CARD)?);
        Ok(Pair { live, reference, is_same_person: *is_same_person })
    };
    PAIRS.iter().map(draw).collect()
}

pub(super) async fn add(
    store: &Store,
    vault: &Vault,
    pairs: Vec<Pair>,
    clock: &Clock,
) -> anyhow::Result<()> {
    let audit = AuditContext { actor: "cli:demo".to_owned(), purpose: None, at: clock.now() };
    for Pair { live, reference, is_same_person } in pairs {
        let pictures = ((live, Format::Png), (reference, Format::Png));
        golden::add(store, vault, pictures, is_same_person, &audit).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use verdict::images::format::Recognised;

    use super::*;

    #[test]
    fn drawn_pictures_are_plain_and_differ() {
        let Drawn { pairs, verified: Verified { face, card } } = draw_all().unwrap();
        let files: Vec<_> = pairs
            .iter()
            .flat_map(|pair| [&pair.live, &pair.reference])
            .chain([&face, &card])
            .collect();
        for file in &files {
            let found = Recognised::of(file).unwrap();
            assert_eq!((found.format, found.unusual), (Format::Png, Vec::new()));
            assert!((10_000..200_000).contains(&file.len()), "{} bytes", file.len());
        }
        let references = [files[1], files[3], files[5]];
        assert!(references[0] != references[1] && references[1] != references[2]);
        assert!(pairs.iter().any(|pair| pair.is_same_person));
        assert!(pairs.iter().any(|pair| !pair.is_same_person));
    }
}
