//! Accounts, code and storage of the embedded chain, with an undo record per change.

use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use revm::DatabaseRef;
use revm::bytecode::Bytecode;
use revm::state::{AccountInfo, EvmState};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::convert::Infallible;

/// Balance, nonce and code of an account, without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) balance: U256,
    pub(super) nonce: u64,
    pub(super) code_hash: B256,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            balance: U256::ZERO,
            nonce: 0,
            code_hash: KECCAK256_EMPTY,
        }
    }
}

/// An account and its storage; a slot that is absent is zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) head: Head,
    pub(super) slots: HashMap<U256, U256>,
}

/// What one change overwrote.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Undo {
    heads: Vec<(Address, Option<Head>)>,
    slots: Vec<(Address, U256, U256)>,
}

/// The newest state.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) accounts: HashMap<Address, Account>,
    pub(super) codes: HashMap<B256, Bytecode>,
}

impl State {
    pub(super) fn head(&self, address: Address) -> Option<Head> {
        self.accounts.get(&address).map(|account| account.head)
    }

    pub(super) fn slot(&self, address: Address, key: U256) -> U256 {
        let account = self.accounts.get(&address);
        account
            .and_then(|account| account.slots.get(&key))
            .copied()
            .unwrap_or_default()
    }

    /// Overwrites the head of an account.
    pub(super) fn set_head(&mut self, address: Address, head: Head) -> Undo {
        let undo = Undo {
            heads: vec![(address, self.head(address))],
            slots: Vec::new(),
        };
        self.accounts.entry(address).or_default().head = head;
        undo
    }

    /// Stores `code` and returns its hash.
    pub(super) fn put_code(&mut self, code: Bytes) -> Result<B256, String> {
        let bytecode = Bytecode::new_raw_checked(code).map_err(|error| error.to_string())?;
        let hash = bytecode.hash_slow();
        self.codes.insert(hash, bytecode);
        Ok(hash)
    }

    /// Applies what a transaction changed.
    pub(super) fn commit(&mut self, changes: EvmState) -> Undo {
        let mut undo = Undo::default();
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            undo.heads.push((address, self.head(address)));
            if account.is_selfdestructed() || account.info.is_empty() {
                self.forget(address, &mut undo);
                continue;
            }
            let info = account.info;
            if let Some(code) = info.code.filter(|code| !code.is_empty()) {
                self.codes.entry(info.code_hash).or_insert(code);
            }
            let entry = self.accounts.entry(address).or_default();
            entry.head = Head {
                balance: info.balance,
                nonce: info.nonce,
                code_hash: info.code_hash,
            };
            for (key, slot) in account.storage {
                let old = entry.slots.get(&key).copied().unwrap_or_default();
                if old != slot.present_value {
                    undo.slots.push((address, key, old));
                    put_slot(&mut entry.slots, key, slot.present_value);
                }
            }
        }
        undo
    }

    fn forget(&mut self, address: Address, undo: &mut Undo) {
        if let Some(gone) = self.accounts.remove(&address) {
            undo.slots
                .extend(gone.slots.into_iter().map(|(key, old)| (address, key, old)));
        }
    }

    /// Takes one change back; changes are taken back newest first.
    pub(super) fn revert(&mut self, undo: &Undo) {
        for (address, key, old) in undo.slots.iter().rev() {
            put_slot(&mut self.accounts.entry(*address).or_default().slots, *key, *old);
        }
        for (address, old) in undo.heads.iter().rev() {
            match old {
                Some(head) => self.accounts.entry(*address).or_default().head = *head,
                None => drop(self.accounts.remove(address)),
            }
        }
    }
}

fn put_slot(slots: &mut HashMap<U256, U256>, key: U256, value: U256) {
    if value.is_zero() {
        slots.remove(&key);
    } else {
        slots.insert(key, value);
    }
}

/// The differences between the newest state and an older one.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    heads: HashMap<Address, Option<Head>>,
    slots: HashMap<(Address, U256), U256>,
}

impl Overlay {
    /// Goes one change further back; call it newest first.
    pub(super) fn rewind(&mut self, undo: &Undo) {
        for (address, key, old) in undo.slots.iter().rev() {
            self.slots.insert((*address, *key), *old);
        }
        for (address, old) in undo.heads.iter().rev() {
            self.heads.insert(*address, *old);
        }
    }
}

/// A state that the EVM and the read methods can look at: the newest one, or an older one.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    /// `None` for the newest state.
    pub(super) overlay: Option<Overlay>,
    /// Hashes of the blocks below the one being executed.
    pub(super) hashes: &'a [B256],
}

impl View<'_> {
    pub(super) fn head(&self, address: Address) -> Option<Head> {
        match self
            .overlay
            .as_ref()
            .and_then(|overlay| overlay.heads.get(&address))
        {
            Some(old) => *old,
            None => self.state.head(address),
        }
    }

    pub(super) fn slot(&self, address: Address, key: U256) -> U256 {
        match self
            .overlay
            .as_ref()
            .and_then(|overlay| overlay.slots.get(&(address, key)))
        {
            Some(old) => *old,
            None => self.state.slot(address, key),
        }
    }

    pub(super) fn code(&self, address: Address) -> Bytes {
        let hash = self.head(address).unwrap_or_default().code_hash;
        self.state
            .codes
            .get(&hash)
            .map(Bytecode::original_bytes)
            .unwrap_or_default()
    }
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.head(address).map(|head| AccountInfo {
            balance: head.balance,
            nonce: head.nonce,
            code_hash: head.code_hash,
            code: None,
            account_id: None,
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.state.codes.get(&code_hash).cloned().unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, key))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        let index = usize::try_from(number).ok();
        Ok(index
            .and_then(|index| self.hashes.get(index))
            .copied()
            .unwrap_or_default())
    }
}
