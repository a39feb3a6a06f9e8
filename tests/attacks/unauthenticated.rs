//! Strangers without a signature or key try to use up memory, connections and queries.
