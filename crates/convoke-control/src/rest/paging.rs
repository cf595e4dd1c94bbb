//! Long lists, a page at a time.
//!
//! Owns: where a page begins, and the link to the next one. Its token has letters, digits, `-` and `_`
//! only: clients encode and sign other characters each in its own way.
//! Never: counts pages; what comes and goes meanwhile moves nobody twice.

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{ApiError, Code};

/// One page that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// What the page before ended with.
    pub(crate) after: String,
    pub(crate) limit: usize,
    path: String,
    version: Option<String>,
}

impl Page {
    /// Reads the query. `original` is the URI as it was sent.
    pub(crate) fn read(original: &Uri, most: usize) -> Result<Self, ApiError> {
        let mut page = Self {
            after: String::new(),
            limit: most,
            path: original.path().to_owned(),
            version: None,
        };
        let query = original.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "continuation" => {
                    let after = URL_SAFE_NO_PAD.decode(&*value).ok();
                    let after = after.and_then(|after| String::from_utf8(after).ok());
                    page.after = after.ok_or_else(|| {
                        let text = "no page has this `continuation`; use `nextLink` as it is";
                        ApiError::new(Code::InvalidContinuation, text).target("continuation")
                    })?;
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
                    page.limit = limit.ok_or_else(|| {
                        let text = format!("`limit` must be a number from 1 to {most}");
                        ApiError::new(Code::BadRequest, text).target("limit")
                    })?;
                }
                "api-version" => page.version = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(page)
    }

    /// How many entries to read: one more than fits tells whether there is another page.
    pub(crate) fn read_limit(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Cuts a list to the page; the link to the next one, if there is one.
    pub(crate) fn cut<T>(&self, list: &mut Vec<T>, id: impl Fn(&T) -> String) -> Option<String> {
        if list.len() <= self.limit {
            return None;
        }
        list.truncate(self.limit);
        let last = id(list.last()?);
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(version) = &self.version {
            query.append_pair("api-version", version);
        }
        query.append_pair("limit", &self.limit.to_string());
        query.append_pair("continuation", &URL_SAFE_NO_PAD.encode(last));
        Some(format!("{}?{}", self.path, query.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_leads_on_from_the_last() {
        let page = Page::read(&"/base/rooms?api-version=2025-03-13".parse().unwrap(), 2).unwrap();
        assert_eq!((page.after.as_str(), page.read_limit()), ("", 3));
        let mut list = vec!["a", "8:acs:?~>", "c"];
        let next = page.cut(&mut list, |id| (*id).to_owned()).unwrap();
        assert_eq!(list.len(), 2);
        let query = next.split_once('?').unwrap().1;
        assert!(query.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=&".contains(&b)), "{next}");
        assert!(next.starts_with("/base/rooms?api-version=2025-03-13&"));
        let page = Page::read(&next.parse().unwrap(), 2).unwrap();
        assert_eq!(page.after, "8:acs:?~>");
        assert_eq!(page.cut(&mut vec!["c"], |id| (*id).to_owned()), None);
    }

    #[test]
    fn what_no_reply_named_is_refused() {
        for query in ["continuation=%20", "continuation=_w", "limit=0", "limit=101", "limit=x"] {
            let uri = format!("/rooms?{query}").parse().unwrap();
            assert!(Page::read(&uri, 100).is_err(), "{query}");
        }
    }
}
