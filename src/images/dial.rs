//! Vets the addresses of a name when it is dialled: the connection uses exactly the addresses that
//! were checked.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::{Refusal, vet};

/// Looks up names. It is a function, so that tests can define their own names.
pub type Lookup = Arc<dyn Fn(String) -> Answered + Send + Sync>;
/// The result of a lookup.
pub type Answered = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Whether this name may lead to this address, though it is not a public one.
type Exempt = Arc<dyn Fn(&str, IpAddr) -> bool + Send + Sync>;

/// Gives the connector the addresses of a name that were vetted, and no others.
pub struct Vetting {
    exempt: Exempt,
    lookup: Lookup,
}

impl Vetting {
    pub fn new(
        exempt: impl Fn(&str, IpAddr) -> bool + Send + Sync + 'static,
        lookup: Lookup,
    ) -> Self {
        Self { exempt: Arc::new(exempt), lookup }
    }
}

impl fmt::Debug for Vetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vetting").finish_non_exhaustive()
    }
}

impl Resolve for Vetting {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let exempt = Arc::clone(&self.exempt);
        let answered = (self.lookup)(name.clone());
        Box::pin(async move {
            let addresses = answered.await?;
            // One bad address spoils the name: an honest one has none.
            for address in &addresses {
                if !exempt(&name, *address) {
                    vet(*address)?;
                }
            }
            let addresses: Addrs =
                Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// The system's way of looking names up.
pub fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// The refusal that made a connection fail, if one did.
pub fn refusal_in(error: &reqwest::Error) -> Option<Refusal> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(*refusal);
        }
        source = cause.source();
    }
    None
}
