//! Everything our tables still hold after an erasure is used to find the person again.
