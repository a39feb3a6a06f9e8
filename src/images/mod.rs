//! Images: fetched from links that nobody vouches for, and kept where only the person's key opens
//! them.
//!
//! | File | Contents |
//! |---|---|
//! | [`guard`] | which links may be followed, and which addresses may be connected to |
//! | [`dial`] | vetting addresses when a name is dialled |
//! | [`download`] | following one link, within limits |
//! | [`mod@format`] | what the bytes are, by themselves |
//! | [`archive`] | the object store |
//! | [`s3`] | reaching a store that speaks S3 |
//! | [`memory_budget`] | how many bytes of images may be in memory at once |
//!
//! A link comes from outside, in an answer that a phone influences. An attacker who can place a
//! link there could send our requests into our own network (SSRF). So a link must pass the list of
//! hosts, each of its addresses must be public, the connection goes to exactly the address that was
//! checked, and nothing in the response (a redirect, a length, a type) is trusted.

pub mod archive;
pub mod dial;
pub mod download;
pub mod format;
pub mod guard;
pub mod memory_budget;
pub mod s3;

pub use archive::Archive;
pub use download::{DownloadError, Downloader, Picture};
pub use guard::AllowedHosts;
