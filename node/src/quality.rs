//! Where the offchain worker of a validator finds the report of the validator service: `--quality-url`.
//!
//! # Invariants
//! - What the command line said last holds: a node without the flag forgets the address an earlier run had.
//!
//! # Not here
//! Fetching, signing, submitting (`pallets/arion/src/offchain.rs`).

use codec::Encode;
use pallet_arion::offchain::{URL_KEY, is_loopback_url};
use sp_core::offchain::{OffchainStorage, STORAGE_PREFIX};

/// Parses the flag.
pub(crate) fn parse_url(text: &str) -> Result<String, String> {
    if is_loopback_url(text) {
        return Ok(text.into());
    }
    Err("the validator service is asked over http on this machine only, without a query: give \
         http://127.0.0.1:PORT/v1/quality, or [::1] instead of 127.0.0.1"
        .into())
}

/// Writes the address where the worker reads it, or removes what an earlier run has written.
pub(crate) fn note_url(storage: &mut impl OffchainStorage, url: Option<&str>) {
    match url {
        Some(url) => storage.set(STORAGE_PREFIX, URL_KEY, &url.as_bytes().encode()),
        None => storage.remove(STORAGE_PREFIX, URL_KEY),
    }
}

/// Says at the start what will happen.
pub(crate) fn announce(url: Option<&str>, is_validator: bool, has_workers: bool) {
    match url {
        Some(url) if is_validator && has_workers => {
            log::info!("Reports of quality are fetched from {url}, signed and submitted");
        }
        Some(_) => log::warn!(
            "--quality-url changes nothing: only the offchain worker of a validator reports quality; start with \
             --validator, and without --offchain-worker never"
        ),
        None if is_validator => {
            log::info!("This validator reports no quality of miners: --quality-url is not given");
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Decode;
    use sp_core::offchain::storage::InMemOffchainStorage;

    #[test]
    fn only_services_on_this_machine_are_asked() {
        for url in ["http://127.0.0.1:9410/v1/quality", "http://[::1]:9410/v1/quality"] {
            assert_eq!(parse_url(url).as_deref(), Ok(url));
        }
        for url in
            ["", "http://10.0.0.1:9410/v1/quality", "https://127.0.0.1:1/", "http://127.0.0.1:1/?bucket=1"]
        {
            assert!(parse_url(url).unwrap_err().contains("http://127.0.0.1:PORT/v1/quality"), "{url}");
        }
    }

    #[test]
    fn the_last_start_decides() {
        let mut storage = InMemOffchainStorage::default();
        let url = "http://127.0.0.1:9410/v1/quality";
        note_url(&mut storage, Some(url));
        let noted = storage.get(STORAGE_PREFIX, URL_KEY).unwrap();
        assert_eq!(Vec::<u8>::decode(&mut &noted[..]).unwrap(), url.as_bytes());
        note_url(&mut storage, None);
        assert_eq!(storage.get(STORAGE_PREFIX, URL_KEY), None);
    }
}
