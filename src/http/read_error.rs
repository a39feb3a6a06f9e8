//! Why a read has no answer: a refusal as over HTTP, or the database.

use super::problem::Problem;
use crate::store;

#[derive(Debug)]
pub enum ReadError {
    /// As over HTTP.
    Refused(Problem),
    Store(store::Error),
}

impl From<Problem> for ReadError {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<store::Error> for ReadError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(problem) => problem,
            ReadError::Store(error) => error.into(),
        }
    }
}
