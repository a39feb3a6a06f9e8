//! Shared by the readers of all products: bytes in JSON or XML become one tree, and lenient readers
//! take single fields from it. Pure, and no product is named here.

pub(crate) mod envelope;
pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod malformed;
pub(crate) mod oddities;
pub(crate) mod tree;
mod xml;
