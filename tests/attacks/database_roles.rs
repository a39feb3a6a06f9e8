//! Each database role tries everything its grants and the schema's functions let it reach.
