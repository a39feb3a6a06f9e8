//! Formats of images, by their media types.

/// The formats that are accepted as images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `image/jpeg`.
    Jpeg,
    /// `image/png`.
    Png,
    /// `image/webp`.
    Webp,
    /// `image/heic`.
    Heic,
    /// `image/heic-sequence`.
    HeicSequence,
    /// `image/heif`.
    Heif,
    /// `image/avif`.
    Avif,
    /// `video/mp4`.
    Mp4,
    /// `video/quicktime`.
    QuickTime,
    /// `video/webm`.
    Webm,
    /// `image/gif`.
    Gif,
    /// `image/bmp`.
    Bmp,
    /// `image/tiff`.
    Tiff,
    /// `image/jxl`.
    Jxl,
    /// `image/jp2`.
    Jp2,
}

impl Format {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Heic => "image/heic",
            Self::HeicSequence => "image/heic-sequence",
            Self::Heif => "image/heif",
            Self::Avif => "image/avif",
            Self::Mp4 => "video/mp4",
            Self::QuickTime => "video/quicktime",
            Self::Webm => "video/webm",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Jxl => "image/jxl",
            Self::Jp2 => "image/jp2",
        }
    }
}
