//! A node's worker carries the report of the validator service beside it, whatever that service does.

use std::sync::{Arc, Mutex};

use arion_types::{NodeQuality, quality::QualityStatement};
use codec::{Decode, Encode};
use frame_support::{
    assert_noop, assert_ok,
    pallet_prelude::*,
    traits::{Authorize, Hooks, UnfilteredDispatchable},
};
use parking_lot::RwLock;
use sp_core::{
    OpaquePeerId,
    offchain::{
        Externalities, HttpError, HttpRequestId, HttpRequestStatus, OffchainDbExt, OffchainWorkerExt,
        OpaqueNetworkState, Timestamp, TransactionPoolExt,
        testing::{PoolState, TestOffchainExt, TestTransactionPoolExt},
    },
};
use sp_keystore::{Keystore, KeystoreExt, testing::MemoryKeystore};
use sp_runtime::{
    AccountId32, RuntimeAppPublic, offchain::storage::StorageValueRef,
    transaction_validity::TransactionSource,
};

use crate::{
    Call, WeightReporters,
    mock::*,
    offchain::{
        FETCH_MS_MAX, REPORTER_KEY, ReporterId, ReporterSignature, STATEMENT_BYTES_MAX, URL_KEY, Unseated,
        is_loopback_url, report_message,
    },
};

const URL: &str = "http://127.0.0.1:9410/v1/quality";
/// Well into the last third of bucket 0, and after every reporter's turn.
const DUE: u64 = WEIGHT_BUCKET_BLOCKS - 3;

const NOW_MS: u64 = 1_700_000_000_000;

type Updates = Vec<(AccountId32, NodeQuality)>;

/// What the service does when it is asked.
#[derive(Clone, Debug)]
enum Service {
    Answers(u16, Vec<u8>),
    NeverAnswers,
    StopsWithin(Vec<u8>),
    BreaksOff,
    IsDown,
}

/// HTTP as a worker sees it, with one service behind every address.
struct Network {
    service: Service,
    asked: Arc<Mutex<Vec<String>>>,
    read: usize,
}

impl Network {
    /// Nobody waits without an end in sight.
    fn check_deadline(deadline: Option<Timestamp>) {
        let deadline = deadline.expect("a deadline is set").unix_millis();
        assert!(deadline <= NOW_MS + FETCH_MS_MAX);
    }
}

impl Externalities for Network {
    fn http_request_start(&mut self, method: &str, uri: &str, _: &[u8]) -> Result<HttpRequestId, ()> {
        assert_eq!(method, "GET");
        self.asked.lock().unwrap().push(uri.into());
        Ok(HttpRequestId(0))
    }
    fn http_request_write_body(
        &mut self,
        _: HttpRequestId,
        _: &[u8],
        deadline: Option<Timestamp>,
    ) -> Result<(), HttpError> {
        Self::check_deadline(deadline);
        if matches!(self.service, Service::IsDown) { Err(HttpError::IoError) } else { Ok(()) }
    }
    fn http_response_wait(
        &mut self,
        _: &[HttpRequestId],
        deadline: Option<Timestamp>,
    ) -> Vec<HttpRequestStatus> {
        Self::check_deadline(deadline);
        vec![match &self.service {
            Service::Answers(status, _) => HttpRequestStatus::Finished(*status),
            Service::NeverAnswers => HttpRequestStatus::DeadlineReached,
            Service::StopsWithin(_) | Service::BreaksOff => HttpRequestStatus::Finished(200),
            Service::IsDown => HttpRequestStatus::IoError,
        }]
    }
    fn http_response_read_body(
        &mut self,
        _: HttpRequestId,
        buffer: &mut [u8],
        deadline: Option<Timestamp>,
    ) -> Result<usize, HttpError> {
        Self::check_deadline(deadline);
        let body = match &self.service {
            Service::Answers(_, body) | Service::StopsWithin(body) => body,
            _ => return Err(HttpError::IoError),
        };
        let rest = &body[self.read..];
        if rest.is_empty() && matches!(self.service, Service::StopsWithin(_)) {
            return Err(HttpError::DeadlineReached);
        }
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.read += length;
        Ok(length)
    }
    fn timestamp(&mut self) -> Timestamp {
        Timestamp::from_unix_millis(NOW_MS)
    }
    fn is_validator(&self) -> bool {
        true
    }
    fn network_state(&self) -> Result<OpaqueNetworkState, ()> {
        Err(())
    }
    fn sleep_until(&mut self, _: Timestamp) {}
    fn random_seed(&mut self) -> [u8; 32] {
        [0; 32]
    }
    fn http_request_add_header(&mut self, _: HttpRequestId, _: &str, _: &str) -> Result<(), ()> {
        Ok(())
    }
    fn http_response_headers(&mut self, _: HttpRequestId) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }
    fn set_authorized_nodes(&mut self, _: Vec<OpaquePeerId>, _: bool) {}
}

/// The node around the pallet.
struct Node {
    asked: Arc<Mutex<Vec<String>>>,
    pool: Arc<RwLock<PoolState>>,
    reporter: ReporterId,
}

impl Node {
    /// The questions since the last look.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn work(&self, block: u64) {
        run_to(block);
        Arion::offchain_worker(block);
    }

    /// What was submitted since the last look.
    fn submitted(&self) -> Vec<Call<Test>> {
        let transactions = std::mem::take(&mut self.pool.write().transactions);
        transactions
            .iter()
            .map(|bytes| {
                let extrinsic = Extrinsic::decode(&mut &bytes[..]).unwrap();
                let RuntimeCall::Arion(call) = extrinsic.function else { panic!("another pallet's call") };
                call
            })
            .collect()
    }
}

fn statement(genesis: [u8; 32], bucket: u32, updates: Updates) -> Vec<u8> {
    QualityStatement::V1 { genesis, bucket, updates }.encode()
}

/// A service with a report for bucket 0.
fn good() -> Service {
    Service::Answers(200, statement(GENESIS, 0, updates()))
}

fn updates() -> Updates {
    vec![(account(20), quality(5, 6)), (account(21), quality(7, 8))]
}

/// A chain with two children and a node with the reporter key of validator 100, told where its service is.
fn node(service: Service, test: impl FnOnce(&Node)) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let (transactions, pool) = TestTransactionPoolExt::new();
    let keystore = MemoryKeystore::new();
    let reporter: ReporterId = keystore.sr25519_generate_new(REPORTER_KEY, None).unwrap().into();
    let mut chain = chain();
    chain.register_extension(OffchainDbExt::new(TestOffchainExt::new().0));
    chain.register_extension(OffchainWorkerExt::new(Network { service, asked: asked.clone(), read: 0 }));
    chain.register_extension(TransactionPoolExt::new(transactions));
    chain.register_extension(KeystoreExt::new(keystore));
    chain.execute_with(|| {
        Reporters::set(vec![(reporter.clone(), account(100))]);
        StorageValueRef::persistent(URL_KEY).set(&URL.as_bytes().to_vec());
        for (family, child) in [(1, 20), (2, 21)] {
            assert_ok!(register(family, child));
        }
        test(&Node { asked, pool, reporter });
        Arion::do_try_state().unwrap();
    });
}

fn validity(call: &Call<Test>) -> TransactionValidity {
    call.authorize(TransactionSource::External).expect("a report can be authorized").map(|(valid, _)| valid)
}

fn authorized() -> RuntimeOrigin {
    frame_system::RawOrigin::Authorized.into()
}

fn signed_report(node: &Node, bucket: u32, updates: Updates) -> Call<Test> {
    let signature = node.reporter.sign(&report_message(&GENESIS, bucket, &updates)).unwrap();
    report_call(node, bucket, updates, signature)
}

fn report_call(node: &Node, bucket: u32, updates: Updates, signature: ReporterSignature) -> Call<Test> {
    Call::report_node_quality {
        bucket,
        updates: updates.try_into().unwrap(),
        reporter: node.reporter.clone(),
        signature,
    }
}

#[test]
fn a_report_is_fetched_signed_accepted_and_stored() {
    node(good(), |node| {
        node.work(DUE);
        assert_eq!(node.asked(), [format!("{URL}?bucket=0")]);
        let [call] = node.submitted().try_into().unwrap();
        assert_eq!(validity(&call).unwrap().provides, vec![("ArionQuality", (0u32, account(100))).encode()]);
        assert_ok!(call.clone().dispatch_bypass_filter(authorized()));
        assert_eq!(WeightReporters::<Test>::get(0).into_inner(), [account(100)]);
        // Once it is on chain, neither the pool nor the worker bothers again.
        assert_eq!(validity(&call), InvalidTransaction::Stale.into());
        node.work(DUE);
        assert!(node.asked().is_empty() && node.submitted().is_empty());
    });
}

#[test]
fn nothing_is_asked_early_twice_or_too_late() {
    node(good(), |node| {
        node.work(WEIGHT_BUCKET_BLOCKS * 2 / 3 - 1);
        assert!(node.asked().is_empty());
        node.work(DUE);
        assert_eq!((node.asked().len(), node.submitted().len()), (1, 1));
        // The same block again, as after a reorganisation: an attempt was just made.
        node.work(DUE);
        node.work(WEIGHT_BUCKET_BLOCKS - 2);
        assert!(node.asked().is_empty());
    });
}

#[test]
fn without_url_key_or_seat_nothing_happens() {
    node(good(), |node| {
        Validators::set(vec![account(101)]);
        node.work(DUE);
        Validators::set(vec![account(100)]);
        Reporters::set(Vec::new());
        node.work(DUE);
        assert!(node.asked().is_empty());
    });
    node(good(), |node| {
        StorageValueRef::persistent(URL_KEY).clear();
        node.work(DUE);
        assert!(node.asked().is_empty());
    });
}

#[test]
fn a_missing_key_or_seat_is_told_once_per_bucket() {
    node(good(), |node| {
        let keys = [node.reporter.clone()];
        let first = WEIGHT_BUCKET_BLOCKS * 2 / 3;
        assert_eq!(Arion::unseated(first, &[]), Some(Unseated::NoKey));
        assert_eq!(Arion::unseated(first, &keys), None);
        Validators::set(vec![account(101)]);
        assert_eq!(Arion::unseated(first, &keys), Some(Unseated::NoSeat));
        let told = (0..WEIGHT_BUCKET_BLOCKS).filter(|block| Arion::unseated(*block, &[]).is_some());
        assert_eq!(told.count(), 1);
        // A node without any key: nothing is asked.
        let mut keyless = sp_io::TestExternalities::default();
        keyless.register_extension(OffchainDbExt::new(TestOffchainExt::new().0));
        keyless.register_extension(KeystoreExt::new(MemoryKeystore::new()));
        keyless.execute_with(|| {
            StorageValueRef::persistent(URL_KEY).set(&URL.as_bytes().to_vec());
            (0..WEIGHT_BUCKET_BLOCKS).for_each(Arion::offchain_worker);
        });
    });
}

/// The worker reports what it is told, and the chain what it knows: strangers among the miners are passed over, and a
/// report that was made by hand already is not made again.
#[test]
fn strangers_in_a_report_are_passed_over_and_a_second_report_is_refused() {
    let mut told = updates();
    told.push((account(77), quality(9, 9)));
    node(Service::Answers(200, statement(GENESIS, 0, told)), |node| {
        node.work(DUE);
        let [call] = node.submitted().try_into().unwrap();
        assert_ok!(call.clone().dispatch_bypass_filter(authorized()));
        let reported = Event::NodeQualityReported { validator: account(100), bucket: 0, updates: 2 };
        System::assert_last_event(reported.into());
        assert_eq!(
            call.dispatch_bypass_filter(authorized()).unwrap_err().error,
            Error::AlreadyReported.into()
        );
        assert_noop!(
            Arion::submit_node_quality(signed(100), 0, updates().try_into().unwrap()),
            Error::AlreadyReported
        );
    });
    node(good(), |node| {
        assert_ok!(Arion::submit_node_quality(signed(100), 0, updates().try_into().unwrap()));
        node.work(DUE);
        assert!(node.asked().is_empty() && node.submitted().is_empty());
    });
}

/// A failing service is asked again within the bucket, but not at once.
#[test]
fn a_service_that_was_down_is_asked_again() {
    node(Service::IsDown, |node| {
        let first = WEIGHT_BUCKET_BLOCKS * 2 / 3;
        for block in first..WEIGHT_BUCKET_BLOCKS {
            node.work(block);
        }
        let asked = node.asked().len() as u64;
        assert!(asked > 1 && asked <= (WEIGHT_BUCKET_BLOCKS - first) / 2, "{asked} times");
        assert!(node.submitted().is_empty());
    });
}

#[test]
fn a_service_elsewhere_is_not_asked() {
    for url in [
        "http://10.0.0.1:9410/",
        "https://127.0.0.1:9410/",
        "http://127.0.0.1.example.org:80/",
        "http://127.0.0.1:80@example.org:80/",
        "http://localhost:9410/",
        "http://127.0.0.1:9410/?bucket=1",
        "http://127.0.0.1:9410/ HTTP/1.1",
        "no url",
    ] {
        assert!(!is_loopback_url(url), "{url}");
        node(good(), |node| {
            StorageValueRef::persistent(URL_KEY).set(&url.as_bytes().to_vec());
            node.work(DUE);
            assert!(node.asked().is_empty());
        });
    }
    for url in [URL, "http://[::1]:80"] {
        assert!(is_loopback_url(url), "{url}");
    }
}

#[test]
fn a_service_that_is_down_slow_or_talks_nonsense_is_survived() {
    let answer = |body| Service::Answers(200, body);
    let mut trailing = statement(GENESIS, 0, updates());
    trailing.push(0);
    // 2^30 - 1 updates announced, and nothing behind it.
    let mut lying = statement(GENESIS, 0, Vec::new());
    lying.pop();
    lying.extend_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    let too_many = (0..=CHILDREN_MAX as u8).map(|n| (account(n), quality(1, 1))).collect();
    for service in [
        Service::IsDown,
        Service::NeverAnswers,
        Service::BreaksOff,
        Service::StopsWithin(statement(GENESIS, 0, updates())),
        Service::Answers(503, statement(GENESIS, 0, updates())),
        answer(statement([1; 32], 0, updates())),
        answer(statement(GENESIS, 7, updates())),
        answer(statement(GENESIS, 0, too_many)),
        answer(trailing),
        answer(lying),
        answer(b"<html>502</html>".to_vec()),
        answer(Vec::new()),
        answer(vec![0; STATEMENT_BYTES_MAX + 1]),
    ] {
        node(service.clone(), |node| {
            node.work(DUE);
            assert_eq!(node.asked().len(), 1, "{service:?}");
            assert!(node.submitted().is_empty(), "{service:?}");
        });
    }
}

#[test]
fn a_report_nobody_may_make_stays_out() {
    node(good(), |node| {
        let good = signed_report(node, 0, updates());
        assert_ok!(validity(&good));
        assert_eq!(validity(&signed_report(node, 1, updates())), InvalidTransaction::Future.into());
        let forged = report_call(node, 0, vec![(account(20), quality(9, 9))], {
            let Call::report_node_quality { signature, .. } = good.clone() else { panic!("it is a report") };
            signature
        });
        assert_eq!(validity(&forged), InvalidTransaction::BadProof.into());
        // What would fail in a block does not get into one.
        let unsorted = updates().into_iter().rev().collect();
        assert_eq!(validity(&signed_report(node, 0, unsorted)), InvalidTransaction::Call.into());
        assert_eq!(validity(&signed_report(node, 0, Vec::new())), InvalidTransaction::Call.into());
        let mut beyond = updates();
        beyond[0].1.uptime_permille = 1_001;
        assert_eq!(validity(&signed_report(node, 0, beyond)), InvalidTransaction::Call.into());
        Validators::set(vec![account(101)]);
        assert_eq!(validity(&good), InvalidTransaction::BadSigner.into());
        let Call::report_node_quality { bucket, updates, reporter, signature } = good else {
            panic!("it is a report")
        };
        assert_noop!(
            Arion::report_node_quality(
                authorized(),
                bucket,
                updates.clone(),
                reporter.clone(),
                signature.clone()
            ),
            Error::UnknownReporter
        );
        assert_noop!(
            Arion::report_node_quality(signed(100), bucket, updates, reporter, signature),
            DispatchError::BadOrigin
        );
        let other = Call::<Test>::set_lockup_enabled { enabled: false };
        assert_eq!(other.authorize(TransactionSource::External), None);
        run_to(WEIGHT_BUCKET_BLOCKS);
    });
}
