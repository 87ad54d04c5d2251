//! Services: requested, assigned, accepted, delivered, paid or refunded.

use frame_support::{assert_noop, assert_ok};
use sp_core::H256;
use sp_io::hashing::blake2_256;
use sp_runtime::{DispatchError, DispatchResult};

use crate::{
    NextRequest, PeriodRevenue, RequestVotes, Requests,
    mock::*,
    types::{CREDIT, RefundReason, RequestStatus, ServiceTerms},
};

/// Price of a piece of service 1 in these stories.
const PRICE: u128 = 50;

fn request(n: u8, quantity: u32) -> DispatchResult {
    Marketplace::request_service(signed(n), 1, quantity, [9; 32], u128::MAX)
}

fn assign(validator: u8, id: u64, worker: u8) -> DispatchResult {
    Marketplace::assign_miner(signed(validator), id, node(worker))
}

fn status(id: u64) -> RequestStatus {
    Requests::<Test>::get(id).unwrap().status
}

/// Request 0 of client 1 for two pieces, with credits for three; moved on to a step by everybody's doing what
/// they should, one block later each.
fn story_at(step: RequestStatus, test: impl FnOnce()) {
    story(|| {
        offer(PRICE);
        buy(1, 3 * PRICE).unwrap();
        request(1, 2).unwrap();
        run_to(2);
        if step != RequestStatus::Requested {
            assign(100, 0, 11).unwrap();
            assign(101, 0, 11).unwrap();
            run_to(3);
        }
        if !matches!(step, RequestStatus::Requested | RequestStatus::Assigned) {
            Marketplace::accept_request(signed(5), 0).unwrap();
            run_to(4);
        }
        if matches!(step, RequestStatus::Delivered | RequestStatus::Disputed) {
            Marketplace::report_delivery(signed(5), 0, [8; 32]).unwrap();
            run_to(5);
        }
        if step == RequestStatus::Disputed {
            Marketplace::dispute_delivery(signed(1), 0).unwrap();
            run_to(6);
        }
        assert_eq!(status(0), step);
        events();
        test();
    });
}

const STEPS: [RequestStatus; 5] = [
    RequestStatus::Requested,
    RequestStatus::Assigned,
    RequestStatus::Accepted,
    RequestStatus::Delivered,
    RequestStatus::Disputed,
];

#[test]
fn a_request_reserves_its_price() {
    story(|| {
        assert_noop!(request(1, 1), Error::ServiceNotOffered);
        offer(PRICE);
        assert_noop!(request(1, 0), Error::ZeroAmount);
        assert_noop!(request(1, 1), Error::NotEnoughCredits);
        assert_ok!(buy(1, 2 * PRICE));
        assert_noop!(request(1, 3), Error::NotEnoughCredits);
        assert_noop!(
            Marketplace::request_service(signed(1), 1, 2, [9; 32], 2 * PRICE - 1),
            Error::PriceAboveLimit
        );
        events();
        assert_ok!(request(1, 2));
        assert_eq!(
            events(),
            [Event::ServiceRequested {
                request: 0,
                client: account(1),
                service: 1,
                quantity: 2,
                credits: 2 * PRICE,
                spec: [9; 32]
            }]
        );
        assert_eq!((available(1), NextRequest::<Test>::get()), (0, 1));
        let stored = Marketplace::service_request(0).unwrap();
        assert_eq!((stored.bought.credits, stored.bought.alpha), (2 * PRICE, 4 * PRICE));
        assert_eq!(stored.deadline, 1 + ASSIGNMENT);
    });
}

#[test]
fn from_request_to_payment() {
    story_at(RequestStatus::Delivered, || {
        let stored = Marketplace::service_request(0).unwrap();
        assert_eq!((stored.result, stored.deadline), (Some([8; 32]), 4 + DISPUTE));
        let assignment = stored.assignment.unwrap();
        assert_eq!((assignment.node_id, assignment.owner), (node(11), account(5)));
        assert_eq!((assignment.votes, assignment.validators, assignment.assigned_at), (2, 3, 2));

        assert_noop!(Marketplace::confirm_delivery(signed(2), 0), Error::NotClient);
        assert_ok!(Marketplace::confirm_delivery(signed(1), 0));
        let alpha_paid = 4 * PRICE;
        assert_eq!(
            events(),
            [
                Event::RewardCredited { account: account(5), amount: alpha_paid * 60 / 100 },
                Event::ServicePaid {
                    request: 0,
                    owner: account(5),
                    alpha: alpha_paid,
                    reward: alpha_paid * 60 / 100
                },
            ]
        );
        let revenue = PeriodRevenue::<Test>::get();
        assert_eq!((revenue.network, revenue.treasury), (alpha_paid * 30 / 100, alpha_paid * 10 / 100));
        assert_eq!(status(0), RequestStatus::Paid);
        assert_ok!(Marketplace::claim(signed(1), account(5)));
        assert_eq!(alpha(5), FUNDS + alpha_paid * 60 / 100);
    });
}

#[test]
fn a_delivery_that_nobody_disputes_is_paid() {
    story_at(RequestStatus::Delivered, || {
        run_to(4 + DISPUTE);
        assert_noop!(Marketplace::poke_request(signed(4), 0), Error::DeadlineNotPassed);
        run_to(5 + DISPUTE);
        assert_noop!(Marketplace::dispute_delivery(signed(1), 0), Error::DeadlinePassed);
        assert_ok!(Marketplace::poke_request(signed(4), 0));
        assert_eq!(status(0), RequestStatus::Paid);
        assert_eq!(Marketplace::claimable(&account(5)), 4 * PRICE * 60 / 100);
    });
}

#[test]
fn a_deadline_that_passes_refunds_the_client() {
    for (step, reason) in [
        (RequestStatus::Requested, RefundReason::NotAssigned),
        (RequestStatus::Assigned, RefundReason::NotAccepted),
        (RequestStatus::Accepted, RefundReason::NotDelivered),
        (RequestStatus::Disputed, RefundReason::DisputeUnresolved),
    ] {
        story_at(step, || {
            // A new price does not change what is given back.
            offer(7 * PRICE);
            Marketplace::set_credit_price(root(), 50 * CREDIT).unwrap();
            events();
            let deadline = Requests::<Test>::get(0).unwrap().deadline;
            run_to(deadline);
            assert_noop!(Marketplace::poke_request(signed(4), 0), Error::DeadlineNotPassed);
            run_to(deadline + 1);
            let late = Err(Error::DeadlinePassed.into());
            match step {
                RequestStatus::Requested => assert_eq!(assign(100, 0, 11), late),
                RequestStatus::Assigned => assert_eq!(Marketplace::accept_request(signed(5), 0), late),
                RequestStatus::Accepted => {
                    assert_eq!(Marketplace::report_delivery(signed(5), 0, [1; 32]), late);
                }
                _ => assert_eq!(Marketplace::resolve_dispute(signed(100), 0, true), late),
            }
            assert_ok!(Marketplace::poke_request(signed(4), 0));
            assert_eq!(status(0), RequestStatus::Refunded { reason });
            assert!(events().contains(&Event::ServiceRefunded {
                request: 0,
                client: account(1),
                credits: 2 * PRICE,
                reason
            }));
            let balance = Marketplace::balance(&account(1));
            assert_eq!((balance.available, balance.backing), (3 * PRICE, 6 * PRICE));

            let kept_until = deadline + 1 + RETENTION;
            run_to(kept_until);
            assert_noop!(Marketplace::poke_request(signed(4), 0), Error::DeadlineNotPassed);
            run_to(kept_until + 1);
            assert_ok!(Marketplace::poke_request(signed(4), 0));
            assert_noop!(Marketplace::poke_request(signed(4), 0), Error::RequestNotFound);
        });
    }
}

#[test]
fn each_step_is_taken_by_whom_it_concerns_and_in_its_turn() {
    for step in STEPS {
        story_at(step, || {
            let wrong: DispatchResult = Err(Error::WrongRequestStatus.into());
            if step != RequestStatus::Requested {
                assert_eq!(assign(100, 0, 11), wrong);
            }
            if step == RequestStatus::Assigned {
                assert_noop!(Marketplace::accept_request(signed(6), 0), Error::NotAssignedOwner);
            } else {
                assert_eq!(Marketplace::accept_request(signed(5), 0), wrong);
            }
            if step == RequestStatus::Accepted {
                assert_noop!(Marketplace::report_delivery(signed(6), 0, [1; 32]), Error::NotAssignedOwner);
            } else {
                assert_eq!(Marketplace::report_delivery(signed(5), 0, [1; 32]), wrong);
            }
            if step == RequestStatus::Delivered {
                assert_noop!(Marketplace::dispute_delivery(signed(2), 0), Error::NotClient);
            } else {
                assert_eq!(Marketplace::confirm_delivery(signed(1), 0), wrong);
                assert_eq!(Marketplace::dispute_delivery(signed(1), 0), wrong);
            }
            if step != RequestStatus::Disputed {
                assert_eq!(Marketplace::resolve_dispute(signed(100), 0, true), wrong);
            }
            assert_noop!(Marketplace::cancel_request(signed(2), 0), Error::NotClient);
            if matches!(step, RequestStatus::Requested | RequestStatus::Assigned) {
                assert_ok!(Marketplace::cancel_request(signed(1), 0));
                assert_eq!(status(0), RequestStatus::Refunded { reason: RefundReason::Cancelled });
                assert_eq!(available(1), 3 * PRICE);
            }
            assert_eq!(Marketplace::cancel_request(signed(1), 0), wrong);
        });
    }
}

#[test]
fn a_request_that_does_not_exist_is_not_found() {
    story(|| {
        let missing: DispatchResult = Err(Error::RequestNotFound.into());
        assert_eq!(assign(100, 0, 11), missing);
        assert_eq!(Marketplace::accept_request(signed(5), 0), missing);
        assert_eq!(Marketplace::report_delivery(signed(5), 0, [1; 32]), missing);
        assert_eq!(Marketplace::confirm_delivery(signed(1), 0), missing);
        assert_eq!(Marketplace::dispute_delivery(signed(1), 0), missing);
        assert_eq!(Marketplace::resolve_dispute(signed(100), 0, true), missing);
        assert_eq!(Marketplace::cancel_request(signed(1), 0), missing);
        assert_eq!(Marketplace::poke_request(signed(1), 0), missing);
        assert_eq!(Marketplace::service_request(0), None);
    });
}

#[test]
fn two_thirds_of_the_validators_assign() {
    story_at(RequestStatus::Requested, || {
        for origin in [signed(1), root(), RuntimeOrigin::none()] {
            assert_noop!(Marketplace::assign_miner(origin, 0, node(11)), DispatchError::BadOrigin);
        }
        assert_noop!(assign(100, 0, 14), Error::NotServiceNode);
        assert_ok!(assign(100, 0, 11));
        assert_ok!(assign(100, 0, 11));
        assert_ok!(assign(101, 0, 12));
        assert_eq!(status(0), RequestStatus::Requested, "two votes, one each");
        // Who leaves the validators loses its vote; with one of two there is no agreement.
        Validators::set(vec![account(101), account(103)]);
        assert_ok!(assign(103, 0, 11));
        assert_eq!(status(0), RequestStatus::Requested);
        assert_eq!(RequestVotes::<Test>::get(0).len(), 2);
        events();
        assert_ok!(assign(101, 0, 11));
        let draw = Marketplace::draw(&block_hash(1), 0, &node(11));
        assert_eq!(
            events(),
            [
                Event::AssignmentProposed {
                    request: 0,
                    validator: account(101),
                    node_id: node(11),
                    draw,
                    votes: 2,
                    votes_needed: 2
                },
                Event::MinerAssigned {
                    request: 0,
                    node_id: node(11),
                    owner: account(5),
                    seed: block_hash(1),
                    draw,
                    deadline: 2 + ACCEPTANCE
                },
            ]
        );
        assert!(RequestVotes::<Test>::get(0).is_empty());
    });
}

#[test]
fn more_validators_than_votes_are_kept_of_is_an_error() {
    story_at(RequestStatus::Requested, || {
        Validators::set((100..107).map(account).collect());
        for validator in 100..104 {
            assert_ok!(assign(validator, 0, 11));
        }
        assert_noop!(assign(104, 0, 11), Error::TooManyVotes);
    });
    story_at(RequestStatus::Disputed, || {
        Validators::set((100..107).map(account).collect());
        for validator in 100..104 {
            assert_ok!(Marketplace::resolve_dispute(signed(validator), 0, true));
        }
        assert_noop!(Marketplace::resolve_dispute(signed(104), 0, true), Error::TooManyVotes);
    });
}

#[test]
fn a_kind_that_no_node_serves_is_not_assigned() {
    story(|| {
        offer(PRICE);
        let other = crate::Services::<Test>::get(1).unwrap();
        let other = ServiceTerms { kind: crate::ServiceKind::Other, ..other };
        assert_ok!(Marketplace::set_service(root(), 1, Some(other)));
        assert_ok!(buy(1, PRICE));
        assert_ok!(request(1, 1));
        run_to(2);
        assert_noop!(assign(100, 0, 11), Error::NotServiceNode);
    });
}

/// The rule that validators vote by can be checked by anybody: least draw first.
#[test]
fn draws_follow_from_the_requests_block_and_number() {
    story(|| {
        offer(PRICE);
        assert_ok!(buy(1, PRICE));
        assert_ok!(request(1, 1));
        assert_noop!(assign(100, 0, 11), Error::SeedNotKnown);
        assert_eq!(Marketplace::assignment_order(0, vec![node(11)]), None);
        run_to(2);
        let seed = block_hash(1);
        let message = [&b"arion/assignment/v1"[..], &seed.0, &[0; 8], &node(12)].concat();
        assert_eq!(Marketplace::draw(&seed, 0, &node(12)), H256(blake2_256(&message)));
        let order = Marketplace::assignment_order(0, vec![node(11), node(12), node(13)]).unwrap();
        assert_eq!(order.seed, seed);
        assert_eq!(order.nodes.len(), 3);
        assert!(order.nodes.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert_eq!(Marketplace::assignment_order(1, vec![]), None);
        assert_ok!(assign(100, 0, 11));
        assert_eq!(Requests::<Test>::get(0).unwrap().seed, Some(seed), "kept with the request");
        assert_eq!(Marketplace::assignment_order(0, vec![node(1); 300]).unwrap().nodes.len(), 256);
    });
}

#[test]
fn validators_decide_disputes() {
    for (pay, end) in
        [(true, RequestStatus::Paid), (false, RequestStatus::Refunded { reason: RefundReason::DisputeWon })]
    {
        story_at(RequestStatus::Disputed, || {
            assert_noop!(Marketplace::resolve_dispute(signed(1), 0, pay), DispatchError::BadOrigin);
            assert_ok!(Marketplace::resolve_dispute(signed(100), 0, pay));
            assert_ok!(Marketplace::resolve_dispute(signed(101), 0, !pay));
            assert_eq!(status(0), RequestStatus::Disputed);
            assert_ok!(Marketplace::resolve_dispute(signed(102), 0, pay));
            assert_eq!(status(0), end);
            assert_eq!(available(1), if pay { PRICE } else { 3 * PRICE });
            let verdict = Event::VerdictProposed {
                request: 0,
                validator: account(102),
                pay,
                votes: 2,
                votes_needed: 2,
            };
            assert!(events().contains(&verdict));
        });
    }
}

#[test]
fn each_step_says_when_the_next_is_due() {
    story_at(RequestStatus::Assigned, || {
        assert_ok!(Marketplace::accept_request(signed(5), 0));
        assert_eq!(events(), [Event::RequestAccepted { request: 0, deadline: 3 + DELIVERY }]);
        assert_ok!(Marketplace::report_delivery(signed(5), 0, [8; 32]));
        assert_eq!(
            events(),
            [Event::ServiceDelivered { request: 0, result: [8; 32], deadline: 3 + DISPUTE }]
        );
        assert_ok!(Marketplace::dispute_delivery(signed(1), 0));
        assert_eq!(events(), [Event::DeliveryDisputed { request: 0, deadline: 3 + VERDICT }]);
    });
}
