//! Policies written to use up CPU, and more backtests than the service can run.
