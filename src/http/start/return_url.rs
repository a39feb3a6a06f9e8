//! The address to which the provider's page leads back: one of ours, or one that the configuration
//! lists. Any other would make the page a way to redirect users anywhere.

use std::borrow::Cow;

use url::Url;

use crate::http::sources::Source;

pub(super) const MUST_BE_LISTED: &str = "must be /v1/returns/ and the source below http.public_url, or one of the return_urls of the \
     source; name the source where several are configured";

/// Whether users of this source may be sent there.
pub(super) fn is_allowed(text: &str, public_url: Option<&Url>, source: Option<&Source>) -> bool {
    let (Some(source), Ok(url)) = (source, Url::parse(text)) else { return false };
    is_listed(&url, source) || public_url.is_some_and(|base| is_ours(&url, base, source))
}

fn is_listed(url: &Url, source: &Source) -> bool {
    source.return_urls.choose(Some(url.as_str())) == Some(url)
}

/// `<base>/v1/returns/{source}`, perhaps with `?to=` and a listed address.
fn is_ours(url: &Url, base: &Url, source: &Source) -> bool {
    let path = format!("{}/v1/returns/{}", base.path().trim_end_matches('/'), source.access.name);
    let to: Vec<(Cow<'_, str>, Cow<'_, str>)> = url.query_pairs().collect();
    let to = match to.as_slice() {
        [] => url.query().is_none(),
        [(name, to)] if name == "to" => Url::parse(to).is_ok_and(|to| is_listed(&to, source)),
        _ => false,
    };
    let place = |url: &Url| (url.scheme().to_owned(), url.authority().to_owned());
    place(url) == place(base) && url.path() == path && url.fragment().is_none() && to
}
