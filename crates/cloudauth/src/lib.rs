//! A client for real-person verification by Alibaba Cloud (Cloudauth).
#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod client;
mod clock;
pub mod credentials;
mod decoding;
pub mod face_verify;
pub mod signing;
pub mod text;
mod transport;
pub mod wire;

pub use client::{
    Answer, Client, DeletionAnswer, FaceVerifyAnswer, FoundAnswer, StartAnswer, TokenAnswer,
    Unanswered,
};
pub use clock::{Clock, Nonces};
pub use credentials::{Chain, Credentials};
