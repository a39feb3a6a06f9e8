//! Two sources of callbacks try to read, take over or block each other's verifications.
