//! Images: fetched from links that nobody vouches for, and kept where only the person's key opens
//! them.
//!
//! | File | Contents |
//! |---|---|
//! | [`guard`] | which links may be followed, and which addresses may be connected to |
//! | [`download`] | following one link, within limits |
//! | [`mod@format`] | what the bytes are, by themselves |
//! | [`archive`] | the object store |
//! | [`s3`] | reaching a store that speaks S3 |
//! | [`memory_budget`] | how many bytes of images may be in memory at once |
//!
//! A link comes from outside, through an answer that a phone had a hand in: whoever can put a link
//! of their own there would have us ask inside our network for them (SSRF). So a link has to pass
//! the list of hosts, each address it leads to has to be a public one, the connection is made to
//! the very address that was looked at, and nothing an answer says (a redirect, a length, a type)
//! is believed.

pub mod archive;
pub mod download;
pub mod format;
pub mod guard;
pub mod memory_budget;
pub mod s3;

pub use archive::Archive;
pub use download::{DownloadError, Downloader, Picture};
pub use guard::AllowedHosts;
