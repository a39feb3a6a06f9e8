//! The key of a witness, which is in its own file.

use merkle_log::note::{KeyError, Kind, SigningKey, VerifyingKey, secret_text};
use zeroize::Zeroizing;

use super::seal::{DataKey, SealError};

/// Why no key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessKeyError {
    #[error(transparent)]
    Random(#[from] SealError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Makes a key at random: its text for the file, and its public half.
pub fn generate(name: &str) -> Result<(Zeroizing<String>, VerifyingKey), WitnessKeyError> {
    let seed = DataKey::generate()?.0;
    let key = SigningKey::from_seed(name, Kind::Witness, &seed)?;
    Ok((secret_text(name, Kind::Witness, &seed)?, key.verifying().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_each_time_and_survives_its_file() {
        let (text, public) = generate("witness.example/w1").unwrap();
        assert_eq!(SigningKey::parse(&text).unwrap().verifying(), &public);
        assert_ne!(generate("witness.example/w1").unwrap().1, public);
        let refused = generate("two words").err();
        assert_eq!(refused, Some(WitnessKeyError::Key(KeyError::Name)));
    }
}
