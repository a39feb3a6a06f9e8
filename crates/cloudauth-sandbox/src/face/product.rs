//! The product codes of `InitFaceVerify`: what a scheme compares, and what it needs.

/// `ProductCode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Live face against the authority's photo.
    IdPro,
    /// The same, and against the photographed card.
    IdPlus,
    /// Live face against a picture that is handed in.
    PvFv,
    /// Liveness only.
    LrFr,
    /// Willingness.
    Mfvc,
}

impl Product {
    /// The one with that code.
    pub fn parse(code: &str) -> Option<Self> {
        let all = [Self::IdPro, Self::IdPlus, Self::PvFv, Self::LrFr, Self::Mfvc];
        all.into_iter().find(|product| product.code() == code)
    }

    /// Its code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::IdPro => "ID_PRO",
            Self::IdPlus => "ID_PLUS",
            Self::PvFv => "PV_FV",
            Self::LrFr => "LR_FR",
            Self::Mfvc => "MFVC",
        }
    }

    /// It compares the live face with another, so there is a `verifyScore`.
    pub const fn compares(self) -> bool {
        matches!(self, Self::IdPro | Self::IdPlus | Self::PvFv)
    }

    /// The parameters without which a start is refused.
    pub const fn required(self) -> &'static [&'static str] {
        match self {
            Self::IdPro => &["CertType", "CertName", "CertNo", "MetaInfo"],
            Self::IdPlus | Self::Mfvc => &["MetaInfo"],
            Self::PvFv | Self::LrFr => &["MetaInfo", "UserId"],
        }
    }
}
