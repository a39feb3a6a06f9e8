//! Paths and headers, as the description of the API shows them.

use utoipa::IntoParams;

macro_rules! headers_and_paths {
    ($($(#[$doc:meta])* $name:ident in $place:ident { $($(#[$field:meta])* $member:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(IntoParams)]
        #[into_params(parameter_in = $place)]
        #[expect(dead_code, reason = "describes what handlers parse themselves")]
        pub(in crate::http) struct $name { $($(#[$field])* $member: $kind,)* }
    )*};
}

headers_and_paths! {
    /// One verification.
    VerificationPath in Path {
        /// The id in the answer to a callback.
        #[param(format = Uuid)]
        id: String,
    }
    /// One image of it.
    ImagePath in Path {
        /// The verification's id.
        #[param(format = Uuid)]
        id: String,
        /// `face`, `face-global`, `card-front`, `card-back`, or `video-1` to `video-9`.
        #[param(pattern = "^(face|face-global|card-front|card-back|video-[1-9])$")]
        kind: String,
    }
    /// One policy.
    PolicyPath in Path {
        /// `sha256:` and 64 hex digits.
        #[param(pattern = "^sha256:[0-9a-f]{64}$")]
        digest: String,
    }
    /// Two policies.
    PolicyPairPath in Path {
        /// `sha256:` and 64 hex digits.
        #[param(pattern = "^sha256:[0-9a-f]{64}$")]
        digest: String,
        /// The other one.
        #[param(pattern = "^sha256:[0-9a-f]{64}$")]
        other: String,
    }
    /// One backtest.
    BacktestPath in Path {
        /// Its id.
        #[param(format = Uuid)]
        id: String,
    }
    /// One webhook endpoint.
    EndpointPath in Path {
        /// Its id.
        #[param(format = Uuid)]
        id: String,
    }
    /// One sender of callbacks.
    SourcePath in Path {
        /// Its name in the configuration.
        source: String,
    }
    /// One account at the provider.
    AccountPath in Path {
        /// Its name in the configuration.
        #[param(example = "default")]
        account: String,
    }
    /// As Standard Webhooks has it.
    SignatureHeaders in Header {
        /// Identifies the callback; repeated, it gets the same answer.
        #[param(rename = "webhook-id", min_length = 1, max_length = 255)]
        id: String,
        /// Seconds since 1970, at most 5 minutes from our clock.
        #[param(rename = "webhook-timestamp")]
        timestamp: String,
        /// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several are separated by spaces.
        #[param(rename = "webhook-signature")]
        signature: String,
    }
    /// Conditional reading.
    IfNoneMatch in Header {
        /// Tags that you have: 304 if one is current.
        #[param(rename = "If-None-Match", required = false)]
        tags: String,
    }
    /// Conditional writing.
    IfMatch in Header {
        /// Tag of the verification that was reviewed.
        #[param(rename = "If-Match", required = false)]
        tags: String,
    }
    /// Taking a stream up again.
    LastEventId in Header {
        /// The last sequence that you have: counts in place of `after`. Browsers send it by themselves.
        #[param(rename = "Last-Event-ID", required = false, pattern = "^[0-9]{1,15}$")]
        sequence: String,
    }
    /// A part of an image.
    RangeHeader in Header {
        /// `bytes=0-1023` and the like (RFC 9110).
        #[param(rename = "Range", required = false)]
        range: String,
    }
    /// A purpose may be given.
    Purpose in Header {
        /// The reason, up to 200 visible characters, kept indefinitely: no name or number of a person.
        #[param(rename = "Verdict-Purpose", required = false, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\xa0\xad]*$")]
        purpose: String,
    }
    /// A purpose must be given.
    RequiredPurpose in Header {
        /// The reason, up to 200 visible characters, kept indefinitely: no name or number of a person.
        #[param(rename = "Verdict-Purpose", min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\xa0\xad]*$")]
        purpose: String,
    }
}
