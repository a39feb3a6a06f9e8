//! A proxy between Verdict and Postgres tries to strip TLS.
