//! Service requests, step by step.

use frame_support::{ensure, pallet_prelude::*};
use frame_system::pallet_prelude::*;
use sp_runtime::traits::Saturating;

use crate::{
    Config, Credits, Error, Event, NextRequest, NodeRegistry, Pallet, PeriodRevenue, RequestOf, RequestVotes,
    Requests, Services,
    credits::Piece,
    types::{Assignment, RefundReason, RequestStatus, ServiceRequest, Vote},
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_request_service(
        client: T::AccountId,
        service: u16,
        quantity: u32,
        spec: [u8; 32],
        credits_max: u128,
    ) -> DispatchResult {
        let terms = Services::<T>::get(service).ok_or(Error::<T>::ServiceNotOffered)?;
        ensure!(quantity > 0, Error::<T>::ZeroAmount);
        let credits = terms.price.checked_mul(quantity.into()).ok_or(Error::<T>::AmountTooLarge)?;
        ensure!(credits <= credits_max, Error::<T>::PriceAboveLimit);
        // What storage cost up to now comes first.
        Self::touch_if_any(&client);
        let mut all = Credits::<T>::get(&client);
        ensure!(all.available() >= credits, Error::<T>::NotEnoughCredits);
        let (granted, bought) = all.take(credits);
        Self::put_credits(&client, all);

        let request = NextRequest::<T>::get();
        NextRequest::<T>::put(request.checked_add(1).ok_or(Error::<T>::AmountTooLarge)?);
        let now = frame_system::Pallet::<T>::block_number();
        Requests::<T>::insert(
            request,
            ServiceRequest {
                client: client.clone(),
                service,
                kind: terms.kind,
                quantity,
                spec,
                credits,
                granted,
                bought,
                requested_at: now,
                delivery_blocks: terms.delivery_blocks,
                seed: None,
                assignment: None,
                result: None,
                status: RequestStatus::Requested,
                deadline: now.saturating_add(T::AssignmentBlocks::get()),
            },
        );
        Self::deposit_event(Event::ServiceRequested { request, client, service, quantity, credits, spec });
        Ok(())
    }

    pub(crate) fn do_assign_miner(validator: T::AccountId, id: u64, node_id: [u8; 32]) -> DispatchResult {
        let mut request = Self::request_at(id, RequestStatus::Requested)?;
        let owner = T::Nodes::service_owner(request.kind, &node_id).ok_or(Error::<T>::NotServiceNode)?;
        let seed = match request.seed {
            Some(seed) => seed,
            None => Self::seed_of(request.requested_at).ok_or(Error::<T>::SeedNotKnown)?,
        };
        request.seed = Some(seed);
        let draw = Self::draw(&seed, id, &node_id);
        let tally = Self::vote(&validator, id, Vote::Assign(node_id))?;
        Self::deposit_event(Event::AssignmentProposed {
            request: id,
            validator,
            node_id,
            draw,
            votes: tally.votes,
            votes_needed: tally.needed,
        });
        if tally.decided() {
            RequestVotes::<T>::remove(id);
            let now = frame_system::Pallet::<T>::block_number();
            request.assignment = Some(Assignment {
                node_id,
                owner: owner.clone(),
                draw,
                votes: tally.votes,
                validators: tally.validators,
                assigned_at: now,
            });
            let deadline = now.saturating_add(T::AcceptanceBlocks::get());
            request.status = RequestStatus::Assigned;
            request.deadline = deadline;
            Self::deposit_event(Event::MinerAssigned { request: id, node_id, owner, seed, draw, deadline });
        }
        Requests::<T>::insert(id, request);
        Ok(())
    }

    pub(crate) fn do_accept_request(owner: T::AccountId, id: u64) -> DispatchResult {
        let mut request = Self::request_at(id, RequestStatus::Assigned)?;
        Self::ensure_assigned(&request, &owner)?;
        let deadline = Self::deadline(request.delivery_blocks);
        request.status = RequestStatus::Accepted;
        request.deadline = deadline;
        Requests::<T>::insert(id, request);
        Self::deposit_event(Event::RequestAccepted { request: id, deadline });
        Ok(())
    }

    pub(crate) fn do_report_delivery(owner: T::AccountId, id: u64, result: [u8; 32]) -> DispatchResult {
        let mut request = Self::request_at(id, RequestStatus::Accepted)?;
        Self::ensure_assigned(&request, &owner)?;
        let deadline = Self::deadline(T::DisputeWindowBlocks::get());
        request.result = Some(result);
        request.status = RequestStatus::Delivered;
        request.deadline = deadline;
        Requests::<T>::insert(id, request);
        Self::deposit_event(Event::ServiceDelivered { request: id, result, deadline });
        Ok(())
    }

    pub(crate) fn do_confirm_delivery(client: T::AccountId, id: u64) -> DispatchResult {
        let request = Requests::<T>::get(id).ok_or(Error::<T>::RequestNotFound)?;
        ensure!(request.client == client, Error::<T>::NotClient);
        ensure!(request.status == RequestStatus::Delivered, Error::<T>::WrongRequestStatus);
        Self::pay(id, request);
        Ok(())
    }

    pub(crate) fn do_dispute_delivery(client: T::AccountId, id: u64) -> DispatchResult {
        let mut request = Self::request_at(id, RequestStatus::Delivered)?;
        ensure!(request.client == client, Error::<T>::NotClient);
        let deadline = Self::deadline(T::VerdictBlocks::get());
        request.status = RequestStatus::Disputed;
        request.deadline = deadline;
        Requests::<T>::insert(id, request);
        Self::deposit_event(Event::DeliveryDisputed { request: id, deadline });
        Ok(())
    }

    pub(crate) fn do_resolve_dispute(validator: T::AccountId, id: u64, pay: bool) -> DispatchResult {
        let request = Self::request_at(id, RequestStatus::Disputed)?;
        let tally = Self::vote(&validator, id, Vote::Verdict(pay))?;
        Self::deposit_event(Event::VerdictProposed {
            request: id,
            validator,
            pay,
            votes: tally.votes,
            votes_needed: tally.needed,
        });
        match (tally.decided(), pay) {
            (false, _) => Ok(()),
            (true, true) => {
                Self::pay(id, request);
                Ok(())
            }
            (true, false) => Self::refund(id, request, RefundReason::DisputeWon),
        }
    }

    pub(crate) fn do_cancel_request(client: T::AccountId, id: u64) -> DispatchResult {
        let request = Requests::<T>::get(id).ok_or(Error::<T>::RequestNotFound)?;
        ensure!(request.client == client, Error::<T>::NotClient);
        ensure!(
            matches!(request.status, RequestStatus::Requested | RequestStatus::Assigned),
            Error::<T>::WrongRequestStatus
        );
        Self::refund(id, request, RefundReason::Cancelled)
    }

    pub(crate) fn do_poke_request(id: u64) -> DispatchResult {
        let request = Requests::<T>::get(id).ok_or(Error::<T>::RequestNotFound)?;
        let now = frame_system::Pallet::<T>::block_number();
        ensure!(now > request.deadline, Error::<T>::DeadlineNotPassed);
        match request.status {
            RequestStatus::Requested => Self::refund(id, request, RefundReason::NotAssigned),
            RequestStatus::Assigned => Self::refund(id, request, RefundReason::NotAccepted),
            RequestStatus::Accepted => Self::refund(id, request, RefundReason::NotDelivered),
            RequestStatus::Disputed => Self::refund(id, request, RefundReason::DisputeUnresolved),
            RequestStatus::Delivered => {
                Self::pay(id, request);
                Ok(())
            }
            RequestStatus::Paid | RequestStatus::Refunded { .. } => {
                Requests::<T>::remove(id);
                Ok(())
            }
        }
    }

    /// A request at a step whose time is not over.
    fn request_at(id: u64, status: RequestStatus) -> Result<RequestOf<T>, DispatchError> {
        let request = Requests::<T>::get(id).ok_or(Error::<T>::RequestNotFound)?;
        ensure!(request.status == status, Error::<T>::WrongRequestStatus);
        let now = frame_system::Pallet::<T>::block_number();
        ensure!(now <= request.deadline, Error::<T>::DeadlinePassed);
        Ok(request)
    }

    fn ensure_assigned(request: &RequestOf<T>, owner: &T::AccountId) -> DispatchResult {
        let assigned = request.assignment.as_ref().is_some_and(|assignment| assignment.owner == *owner);
        ensure!(assigned, Error::<T>::NotAssignedOwner);
        Ok(())
    }

    /// The block that is so many blocks ahead.
    fn deadline(blocks: BlockNumberFor<T>) -> BlockNumberFor<T> {
        frame_system::Pallet::<T>::block_number().saturating_add(blocks)
    }

    /// Splits the ALPHA of a request: the miner's owner can claim its share, the rest waits for settlement.
    fn pay(id: u64, request: RequestOf<T>) {
        let alpha = request.granted.plus(request.bought).alpha;
        let shares = Self::split(alpha);
        PeriodRevenue::<T>::mutate(|revenue| {
            revenue.services = revenue.services.saturating_add(alpha);
            revenue.network = revenue.network.saturating_add(shares.network);
            revenue.treasury = revenue.treasury.saturating_add(shares.treasury);
            revenue.carry = revenue.carry.saturating_add(shares.rest);
            if request.assignment.is_none() {
                // Cannot be: only what was assigned is paid. Were it so, the miners would share it.
                revenue.miners_carry = revenue.miners_carry.saturating_add(shares.miners);
            }
        });
        if let Some(assignment) = &request.assignment {
            Self::reward(&assignment.owner, shares.miners);
            Self::deposit_event(Event::ServicePaid {
                request: id,
                owner: assignment.owner.clone(),
                alpha,
                reward: shares.miners,
            });
        }
        Self::end(id, request, RequestStatus::Paid);
    }

    /// Gives the credits of a request back, with the very ALPHA that was behind them.
    fn refund(id: u64, request: RequestOf<T>, reason: RefundReason) -> DispatchResult {
        let (client, credits) = (request.client.clone(), request.credits);
        let (granted, bought) = (request.granted, request.bought);
        Self::end(id, request, RequestStatus::Refunded { reason });
        Self::deposit_event(Event::ServiceRefunded { request: id, client: client.clone(), credits, reason });
        Self::add_credits(&client, granted, bought)
    }

    fn end(id: u64, request: RequestOf<T>, status: RequestStatus) {
        let deadline = Self::deadline(T::RequestRetentionBlocks::get());
        let (granted, bought) = (Piece::default(), Piece::default());
        RequestVotes::<T>::remove(id);
        Requests::<T>::insert(id, ServiceRequest { status, deadline, granted, bought, ..request });
    }
}
