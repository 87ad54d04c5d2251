//! Requests of any kind against the whole S3 edge of a gateway that has metadata and no miners.
//!
//! An input is up to [`REQUESTS_MAX`] requests, with a line `%%` between them: a line with method and address, headers, an empty line, the
//! body. They are signed, as presigned addresses are, by the account that has the buckets `open` and `site`; those whose method has `~`
//! before it are not. Every input finds the same metadata.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use arion_crypto::{DataKey, OperatorSecret, WrappedKey};
use arion_net::MemoryNetwork;
use arion_types::signing::node_id;
use ed25519_dalek::SigningKey;
use futures_util::StreamExt;
use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue},
};
use s3s::{Body, HttpRequest, HttpResponse};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    grid::{Grid, GridOptions},
    keyring::{KeyPlace, Keyring},
    keys::AccessKeys,
    keystore::Generations,
    manifest::{Manifest, PartManifest, StripeRecord},
    meta::{Allowance, BucketInfo, Condition, Meta, NewObject, Subresource},
    metrics::Metrics,
    object::{ObjectInfo, Properties, Versioning},
    placement::Maps,
    s3::{self, Domains, Front, Store},
};

const REQUESTS_MAX: usize = 6;
/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(20);
const REGION: &str = "us-east-1";
const ACCOUNT: &str = "alice";
const WEBSITES: &str = "pages.test";

/// A file of metadata in memory.
#[derive(Clone, Debug, Default)]
struct Copied(Arc<Mutex<Vec<u8>>>);

impl Copied {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl redb::StorageBackend for Copied {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        self.with(|bytes| out.copy_from_slice(&bytes[at..at + out.len()]));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|bytes| bytes.resize(len as usize, 0));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        self.with(|bytes| bytes[at..at + data.len()].copy_from_slice(data));
        Ok(())
    }
}

/// What all inputs begin with.
struct Template {
    runtime: Runtime,
    meta: Vec<u8>,
    keys: Arc<AccessKeys>,
    /// The file of the keys, which has no name any more.
    _file: File,
    access: String,
    secret: String,
}

fn keyring(meta: &Meta) -> Keyring {
    Keyring::new(meta.clone(), Generations::one(OperatorSecret::from_bytes([9; 32])))
}

/// An object whose bytes nobody has.
fn object(key: &str, size: u64, wrapped: WrappedKey) -> NewObject {
    let hashes = (0..30).map(|index| arion_types::ShardHash([index + 30 * key.len() as u8; 32])).collect();
    let len = u32::try_from(arion_crypto::ciphertext_len(size)).unwrap();
    let stripe = StripeRecord { epoch: 1, len, shard_len: len.div_ceil(10).max(64), data_shards: 10, hashes };
    let part = PartManifest {
        plain_len: size,
        cipher_len: len.into(),
        offset: 0,
        key: wrapped,
        stripes: vec![stripe],
    };
    let row = [u8::try_from(key.len()).unwrap(); 16];
    let properties = Properties { owner: ACCOUNT.into(), payer: ACCOUNT.into(), ..Default::default() };
    NewObject {
        info: ObjectInfo {
            manifest: row,
            size,
            etag: "0cc175b9c0f1b6a831c399e269772661".into(),
            modified_ms: 1_700_000_000_000,
            properties,
            ..Default::default()
        },
        manifest: Manifest::whole(part),
        bucket: "open".into(),
        key: key.into(),
        allowance: Allowance::NONE,
        condition: Condition::default(),
        origin: Default::default(),
    }
}

async fn fill(meta: &Meta) {
    let versions = BucketInfo { versioning: Versioning::Enabled, ..BucketInfo::new(ACCOUNT.into(), 1) };
    meta.create_bucket("open".into(), versions).await.unwrap();
    meta.create_bucket("site".into(), BucketInfo::new(ACCOUNT.into(), 1)).await.unwrap();
    for (key, size) in [("a", 1_000), ("dir/b", 70_000)] {
        let place = KeyPlace::new("open", key);
        let wrapped = keyring(meta).wrap(&place, None, &[DataKey::from_bytes([5; 32])]).await.unwrap();
        let object = object(key, size, wrapped[0].clone());
        let stripe = object.manifest.parts[0].stripes[0].clone();
        meta.begin_stripe(stripe.id(), stripe).await.unwrap();
        meta.put_object(object, 1_700_000_000_000).await.unwrap();
    }
    // Everybody may do everything with one of them.
    let policy = br#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::open","arn:aws:s3:::open/*"]}]}"#;
    let policy = Some(policy.to_vec());
    meta.put_subresource("open".into(), Subresource::Policy, policy).await.unwrap();
}

impl Template {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let copied = Copied::default();
        let meta = Meta::open_on(copied.clone()).unwrap();
        runtime.block_on(fill(&meta));
        drop(meta);
        // The writing thread lets go of it a moment later.
        while Arc::strong_count(&copied.0) > 1 {
            std::thread::yield_now();
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.toml");
        let (access, secret) = AccessKeys::new(&path).add(ACCOUNT, None, None).unwrap();
        let file = File::open(&path).unwrap();
        let keys = Arc::new(AccessKeys::new(format!("/proc/self/fd/{}", file.as_raw_fd())));
        Self { runtime, meta: copied.with(|bytes| bytes.clone()), keys, _file: file, access, secret }
    }

    fn front(&self) -> Front {
        let meta = Meta::open_on(Copied(Arc::new(Mutex::new(self.meta.clone())))).unwrap();
        let key = SigningKey::from_bytes(&[200; 32]);
        let transport = Arc::new(MemoryNetwork::new().transport(node_id(&key)));
        let keyring = keyring(&meta);
        let options = GridOptions::default();
        let grid = Grid::new(key, [7; 32], transport, Maps::default(), meta, options, Metrics::default());
        let store = Store {
            grid: Arc::new(grid),
            keyring: Arc::new(keyring),
            keys: self.keys.clone(),
            region: REGION.into(),
            webhooks: Default::default(),
            credit: Default::default(),
            part_bytes_min: 1_000,
        };
        let domains = Domains { s3: vec!["s3.test".into()], website: vec![WEBSITES.into()] };
        s3::service(store, domains).with_page(true)
    }

    /// The address as the account presigns it; `None` where it cannot be signed.
    fn signed(&self, method: &str, uri: &Uri, headers: &HeaderMap) -> Option<Uri> {
        let method = match method {
            "GET" => rusty_s3::Method::Get,
            "HEAD" => rusty_s3::Method::Head,
            "PUT" => rusty_s3::Method::Put,
            "POST" => rusty_s3::Method::Post,
            "DELETE" => rusty_s3::Method::Delete,
            _ => return None,
        };
        let host = headers.get(HOST)?.to_str().ok()?;
        let mut query: Vec<_> = s3::parameters(uri.query().unwrap_or("")).collect();
        query.sort();
        let mut amz: Vec<(&str, &str)> = Vec::new();
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-")) {
            amz.push((name.as_str(), value.to_str().ok()?));
        }
        amz.sort_unstable();
        let url = format!("http://{host}{}", uri.path()).parse().ok()?;
        let now = jiff::Timestamp::now();
        let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signed = rusty_s3::signing::sign(
            &now,
            method,
            url,
            &self.access,
            &self.secret,
            None,
            REGION,
            3_600,
            query,
            amz.into_iter(),
        );
        format!("{}?{}", signed.path(), signed.query()?).parse().ok()
    }

    fn request(&self, bytes: &[u8]) -> Option<HttpRequest> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
        let mut lines = std::str::from_utf8(head).ok()?.lines();
        let (method, target) = lines.next()?.split_once(' ')?;
        let mut uri: Uri = target.parse().ok().filter(|uri: &Uri| uri.path().starts_with('/'))?;
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("s3.test"))]);
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let (name, value) = (HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim()).ok()?);
            match name == HOST {
                true => headers.insert(name, value).is_some(),
                false => headers.append(name, value),
            };
        }
        let method = match method.strip_prefix('~') {
            Some(method) => method,
            None => {
                uri = self.signed(method, &uri, &headers)?;
                method
            }
        };
        let mut request = HttpRequest::new(Body::from(body.to_vec()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
        *request.uri_mut() = uri;
        headers.insert(CONTENT_LENGTH, body.len().into());
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Any sequence of requests is answered: nothing hangs, nothing fails inside, and who is refused is told why in S3's way.
///
/// Returns whether anything was done.
pub fn s3(bytes: &[u8]) -> bool {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    let template = TEMPLATE.get_or_init(Template::new);
    let mut parts = Vec::new();
    let mut rest = bytes;
    while parts.len() < REQUESTS_MAX {
        let Some(end) = rest.windows(4).position(|line| line == b"\n%%\n") else { break };
        parts.push(&rest[..end]);
        rest = &rest[end + 4..];
    }
    parts.push(rest);
    let requests: Vec<_> = parts.into_iter().filter_map(|part| template.request(part)).collect();
    if requests.is_empty() {
        return false;
    }
    template.runtime.block_on(async {
        let front = template.front();
        let mut is_done = false;
        for request in requests {
            let method = request.method().clone();
            let is_page = is_page(&request);
            let asked = format!("{method} {} {:?}", request.uri(), request.headers());
            let peer = ([127, 0, 0, 1], 1).into();
            let answered = timeout(PATIENCE, front.answer(request, peer)).await.expect("it hangs");
            let response = answered.expect("a connection is not ended for what was asked");
            is_done |= response.status().is_success();
            check(&asked, &method, is_page, response).await;
        }
        is_done
    })
}

/// Whether a page is asked for, and not S3: what is refused there is told as a page, too.
fn is_page(request: &HttpRequest) -> bool {
    // The status page's.
    if request.uri().path().starts_with("/-/") {
        return true;
    }
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let host = host.unwrap_or_default().to_ascii_lowercase();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => &host,
    };
    name.strip_suffix(WEBSITES).is_some_and(|bucket| bucket.len() > 1 && bucket.ends_with('.'))
}

async fn check(asked: &str, method: &Method, is_page: bool, response: HttpResponse) {
    let (status, mut body) = (response.status(), response.into_body());
    let mut bytes = Vec::new();
    loop {
        match timeout(PATIENCE, body.next()).await.expect("the body hangs") {
            Some(Ok(more)) => bytes.extend_from_slice(&more),
            // There is nobody to read an object from.
            Some(Err(_)) => return,
            None => break,
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{asked}: {text}");
    let is_refused = status.is_client_error() || status.is_server_error();
    let has_no_body = *method == Method::HEAD || is_page;
    let is_told = text.contains("<Error>") && text.contains("<Code>") && text.contains("<RequestId>");
    assert!(!is_refused || has_no_body || is_told, "{asked}: {status} {text}");
}
