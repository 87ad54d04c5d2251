//! Typed reads of storage at one block.

use codec::{Decode, DecodeAll};

use crate::{
    account::AccountId,
    client::{ChainClient, ChainError},
};

/// Keys asked for at once.
const PAGE: u32 = 512;

/// Storage at one block. Items are named as in the metadata; their values are decoded as whatever is asked for.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    pub(crate) client: &'a ChainClient,
    pub(crate) at: [u8; 32],
}

/// `System::Account` as far as it is of interest; more of the balance follows.
#[derive(Decode)]
struct AccountInfo {
    _references: (u32, u32, u32, u32),
    free: u128,
    reserved: u128,
}

/// Decodes a whole value.
pub(crate) fn decode<T: Decode>(item: &'static str, bytes: &[u8]) -> Result<T, ChainError> {
    T::decode_all(&mut &bytes[..]).map_err(|_| ChainError::Undecodable(item))
}

impl State<'_> {
    /// A value without keys.
    pub async fn value<T: Decode>(&self, pallet: &str, item: &'static str) -> Result<Option<T>, ChainError> {
        let key = self.client.interface().prefix(pallet, item)?;
        self.at_key(key, item).await
    }

    /// An entry of a map; `key` in SCALE.
    pub async fn entry<T: Decode>(
        &self,
        pallet: &str,
        item: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, ChainError> {
        let key = self.client.interface().map_key(pallet, item, key)?;
        self.at_key(key, item).await
    }

    /// Free and held balance of an account, in smallest units; 0 and 0 if it does not exist.
    pub async fn balance(&self, account: &AccountId) -> Result<(u128, u128), ChainError> {
        let key = self.client.interface().map_key("System", "Account", account)?;
        let values = self.client.rpc().storage(&[key], self.at).await?;
        let Some(Some(bytes)) = values.first() else { return Ok((0, 0)) };
        let info = AccountInfo::decode(&mut &bytes[..]).map_err(|_| ChainError::Undecodable("Account"))?;
        Ok((info.free, info.reserved))
    }

    async fn at_key<T: Decode>(&self, key: Vec<u8>, item: &'static str) -> Result<Option<T>, ChainError> {
        let values = self.client.rpc().storage(&[key], self.at).await?;
        values.into_iter().next().flatten().map(|bytes| decode(item, &bytes)).transpose()
    }

    /// Storage keys of a map, in their order.
    pub(crate) async fn keys(&self, pallet: &str, item: &str) -> Result<Vec<Vec<u8>>, ChainError> {
        let prefix = self.client.interface().prefix(pallet, item)?;
        self.keys_below(&prefix).await
    }

    /// Values of all keys that begin with these bytes, in the order of the keys.
    pub(crate) async fn values_below(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
        let keys = self.keys_below(prefix).await?;
        let mut values = Vec::with_capacity(keys.len());
        for page in keys.chunks(PAGE as usize) {
            values.extend(self.client.rpc().storage(page, self.at).await?.into_iter().flatten());
        }
        Ok(values)
    }

    async fn keys_below(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let page = self.client.rpc().keys(prefix, PAGE, keys.last().map(Vec::as_slice), self.at).await?;
            let is_last = page.len() < PAGE as usize;
            keys.extend(page);
            if is_last {
                return Ok(keys);
            }
        }
    }

    /// All entries of a map whose keys are 32 bytes.
    pub async fn entries<T: Decode>(
        &self,
        pallet: &str,
        item: &'static str,
    ) -> Result<Vec<([u8; 32], T)>, ChainError> {
        let entries = self.raw_entries(pallet, item).await?.into_iter();
        entries.map(|(id, bytes)| Ok((id, decode(item, &bytes)?))).collect()
    }

    /// The same without decoding the values.
    pub(crate) async fn raw_entries(
        &self,
        pallet: &str,
        item: &'static str,
    ) -> Result<Vec<([u8; 32], Vec<u8>)>, ChainError> {
        let offset = self.client.interface().map_key_offset(pallet, item)?;
        let keys = self.keys(pallet, item).await?;
        let mut entries = Vec::with_capacity(keys.len());
        for page in keys.chunks(PAGE as usize) {
            let values = self.client.rpc().storage(page, self.at).await?;
            for (key, value) in page.iter().zip(values) {
                let id = key.get(offset..).and_then(|id| id.try_into().ok());
                let id: [u8; 32] = id.ok_or(ChainError::Undecodable(item))?;
                if let Some(bytes) = value {
                    entries.push((id, bytes));
                }
            }
        }
        Ok(entries)
    }
}
