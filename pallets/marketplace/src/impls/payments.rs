//! Credits bought, credited and refunded.

use frame_support::{ensure, pallet_prelude::*};

use crate::{
    Config, CreditPrice, Credits, Error, Event, Pallet, Payments,
    credits::{CreditPool, Piece, mul_div_up},
    types::{CREDIT, Payment, PaymentId, PaymentMethod},
};

impl<T: Config> Pallet<T> {
    /// What so many units of credit cost now, rounded up; `None` if more than there can be.
    pub fn quote(credits: u128) -> Option<u128> {
        mul_div_up(credits, CreditPrice::<T>::get(), CREDIT)
    }

    /// The price of a purchase, if it is sound.
    fn price_of(credits: u128, alpha_max: u128) -> Result<u128, DispatchError> {
        ensure!(credits > 0, Error::<T>::ZeroAmount);
        let alpha = Self::quote(credits).ok_or(Error::<T>::AmountTooLarge)?;
        ensure!(alpha <= alpha_max, Error::<T>::PriceAboveLimit);
        Ok(alpha)
    }

    /// Adds credits, whose ALPHA is in the pallet's account, and pays debt from them.
    pub(crate) fn add_credits(account: &T::AccountId, granted: Piece, bought: Piece) -> DispatchResult {
        // What was charged up to now was charged to what was there up to now.
        Self::touch_if_any(account);
        let mut credits = Credits::<T>::get(account);
        for (pool, piece) in [(&mut credits.granted, granted), (&mut credits.bought, bought)] {
            if piece.credits > 0 {
                pool.add(piece).ok_or(Error::<T>::AmountTooLarge)?;
            }
        }
        ensure!(
            credits.granted.available().checked_add(credits.bought.available()).is_some(),
            Error::<T>::AmountTooLarge
        );
        Self::put_credits(account, credits);
        Self::touch_if_any(account);
        Ok(())
    }

    pub(crate) fn do_buy_credits(
        payer: T::AccountId,
        beneficiary: T::AccountId,
        credits: u128,
        alpha_max: u128,
    ) -> DispatchResult {
        let alpha = Self::price_of(credits, alpha_max)?;
        Self::deposit(&payer, alpha)?;
        Self::deposit_event(Event::CreditsBought { payer, beneficiary: beneficiary.clone(), credits, alpha });
        Self::add_credits(&beneficiary, Piece::default(), Piece { credits, alpha })
    }

    pub(crate) fn do_refund_credits(account: T::AccountId, credits: u128) -> DispatchResult {
        let alpha = Self::take_back(&account, credits, |account| &mut account.bought)?;
        Self::pay_out(&account, alpha)?;
        Self::deposit_event(Event::CreditsRefunded { account, credits, alpha });
        Ok(())
    }

    pub(crate) fn do_credit_payment(
        authority: T::AccountId,
        payment_id: PaymentId,
        method: PaymentMethod,
        beneficiary: T::AccountId,
        credits: u128,
        alpha_max: u128,
    ) -> DispatchResult {
        ensure!(!payment_id.is_empty(), Error::<T>::EmptyPaymentId);
        ensure!(!Payments::<T>::contains_key(&payment_id), Error::<T>::PaymentAlreadyCredited);
        let alpha = Self::price_of(credits, alpha_max)?;
        Self::deposit(&authority, alpha)?;
        Payments::<T>::insert(
            &payment_id,
            Payment {
                authority: authority.clone(),
                beneficiary: beneficiary.clone(),
                method,
                credits,
                alpha,
                refunded: 0,
                credited_at: frame_system::Pallet::<T>::block_number(),
            },
        );
        Self::deposit_event(Event::PaymentCredited {
            payment_id,
            method,
            authority,
            beneficiary: beneficiary.clone(),
            credits,
            alpha,
        });
        Self::add_credits(&beneficiary, Piece { credits, alpha }, Piece::default())
    }

    pub(crate) fn do_refund_payment(payment_id: PaymentId, credits: u128) -> DispatchResult {
        let mut payment = Payments::<T>::get(&payment_id).ok_or(Error::<T>::UnknownPayment)?;
        let refunded = payment.refunded.checked_add(credits).ok_or(Error::<T>::AmountTooLarge)?;
        ensure!(refunded <= payment.credits, Error::<T>::RefundExceedsPayment);
        let beneficiary = payment.beneficiary.clone();
        let alpha = Self::take_back(&beneficiary, credits, |account| &mut account.granted)?;
        Self::pay_out(&payment.authority, alpha)?;
        payment.refunded = refunded;
        Payments::<T>::insert(&payment_id, payment);
        Self::deposit_event(Event::PaymentRefunded { payment_id, beneficiary, credits, alpha });
        Ok(())
    }

    /// Takes credits out of a pool, after charging what is due; returns the ALPHA behind them.
    fn take_back(
        account: &T::AccountId,
        credits: u128,
        pool: impl Fn(&mut crate::credits::CreditAccount) -> &mut CreditPool,
    ) -> Result<u128, DispatchError> {
        ensure!(credits > 0, Error::<T>::ZeroAmount);
        Self::touch_if_any(account);
        let mut all = Credits::<T>::get(account);
        ensure!(pool(&mut all).available() >= credits, Error::<T>::NotEnoughCredits);
        let piece = pool(&mut all).take(credits);
        Self::put_credits(account, all);
        Ok(piece.alpha)
    }
}
