//! A remote signer: transactions and typed data over JSON-RPC. Signers differ in how they call both, and in whether typed
//! data is an object or a text: clef has `account_` methods, web3signer `eth_signTypedData`, others `eth_signTypedData_v4`.

use super::compare::{asked, signature_of};
use crate::settle::{decode::plain, exit::SettleError, files::say};
use alloy::{
    consensus::SignableTransaction,
    primitives::{Bytes, Signature, TxKind, U64, U128},
    rpc::client::RpcClient,
    transports::{RpcError, TransportErrorKind},
};
use protocol_spec::Address;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::time::Duration;

/// Without a person: whether it is there, and which accounts it has.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// What JSON-RPC says of methods and parameters that are not known: nobody was asked to sign. A person who declines has
/// another code.
const NOT_SPOKEN: [i64; 3] = [-32601, -32602, -32700];

/// A signer that is reached by HTTP.
pub(in crate::settle) struct Remote {
    client: RpcClient,
    /// It has clef's methods.
    is_clef: bool,
    address: Address,
    /// How long a person may take to press a button.
    timeout: Duration,
}

/// What signers return: the bytes alone (web3signer, anvil), or in an object (clef, geth).
#[derive(Deserialize)]
#[serde(untagged)]
enum SignedTransaction {
    Raw(Bytes),
    Object { raw: Bytes },
}

impl Remote {
    /// Connects, and checks that it has `address`; without one it must have exactly one.
    pub(super) async fn connect(
        url: &str,
        address: Option<Address>,
        timeout: Duration,
    ) -> Result<Self, SettleError> {
        // The URL may hold a password: it stays out of the texts.
        let no_url = |_| SettleError::Usage("--signer is no URL".to_owned());
        let client = node_rpc::client(url, node_rpc::Asks::State).map_err(no_url)?;
        let mut is_clef = false;
        let accounts = match ask(&client, "eth_accounts", json!([]), HELLO_MAX).await {
            // A person must confirm that, too.
            Err(refusal) if refusal.is_not_spoken() => {
                is_clef = true;
                ask(&client, "account_list", json!([]), timeout).await
            }
            accounts => accounts,
        };
        let accounts: Vec<Address> = accounts?;
        let address = match (address, accounts.as_slice()) {
            (Some(address), accounts) if accounts.contains(&address) => address,
            (Some(address), _) => {
                return Err(SettleError::Refused(format!(
                    "the signer has no key of {address}; it has {}",
                    list(&accounts)
                )));
            }
            (None, [address]) => *address,
            (None, _) => {
                return Err(SettleError::Usage(format!(
                    "--signer-address ADDRESS is needed: the signer has {}",
                    list(&accounts)
                )));
            }
        };
        Ok(Self {
            client,
            is_clef,
            address,
            timeout,
        })
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    /// Has it signed, and checks that the transaction that comes back is the one asked for.
    pub(super) async fn transaction(
        &self,
        tx: &dyn SignableTransaction<Signature>,
    ) -> Result<Signature, SettleError> {
        let tx = asked(tx)?;
        let TxKind::Call(to) = tx.to else {
            return Err(SettleError::Internal(
                "a transaction without a receiver".to_owned(),
            ));
        };
        // Signers differ in what they call the call.
        let request = json!({
            "type": "0x2", "from": self.address, "to": to, "chainId": U64::from(tx.chain_id), "nonce": U64::from(tx.nonce),
            "gas": U64::from(tx.gas_limit), "maxFeePerGas": U128::from(tx.max_fee_per_gas),
            "maxPriorityFeePerGas": U128::from(tx.max_priority_fee_per_gas), "value": tx.value,
            "data": tx.input, "input": tx.input,
        });
        self.tell();
        let method = match self.is_clef {
            true => "account_signTransaction",
            false => "eth_signTransaction",
        };
        let signed = ask(&self.client, method, json!([request]), self.timeout).await?;
        let (SignedTransaction::Raw(raw) | SignedTransaction::Object { raw }) = signed;
        signature_of(&raw, &tx)
    }

    /// Has typed data signed. The caller checks by whom, and over what.
    pub(super) async fn typed_data(&self, data: &Value) -> Result<Signature, SettleError> {
        self.tell();
        let text = Value::String(data.to_string());
        let ways: &[(&'static str, &Value)] = match self.is_clef {
            true => &[("account_signTypedData", data)],
            false => &[
                ("eth_signTypedData_v4", &text),
                ("eth_signTypedData_v4", data),
                ("eth_signTypedData", &text),
            ],
        };
        let mut refused = None;
        for (method, data) in ways {
            let signature = ask(&self.client, method, json!([self.address, data]), self.timeout).await;
            match signature {
                Err(refusal) if refusal.is_not_spoken() => drop(refused.get_or_insert(refusal.error)),
                signature => return signature_in(&signature?),
            }
        }
        Err(refused.unwrap_or_else(|| SettleError::Internal("no way to ask".to_owned())))
    }

    fn tell(&self) {
        say(&format!(
            "waiting for the signer of {}, {} s at most: confirm there if it asks",
            self.address,
            self.timeout.as_secs()
        ));
    }
}

fn signature_in(bytes: &Bytes) -> Result<Signature, SettleError> {
    Signature::from_raw(bytes)
        .map_err(|_| SettleError::Refused("the signer returned no signature".to_owned()))
}

/// Why there is no answer.
struct Refusal {
    /// Of the signer's error.
    code: Option<i64>,
    error: SettleError,
}

impl Refusal {
    /// It does not know what was asked.
    fn is_not_spoken(&self) -> bool {
        self.code.is_some_and(|code| NOT_SPOKEN.contains(&code))
    }
}

impl From<Refusal> for SettleError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl From<SettleError> for Refusal {
    fn from(error: SettleError) -> Self {
        Self { code: None, error }
    }
}

fn list(accounts: &[Address]) -> String {
    match accounts {
        [] => "none".to_owned(),
        accounts => accounts
            .iter()
            .map(Address::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Asks within a time limit. Whatever goes wrong, nothing is signed that this process knows of.
async fn ask<T: DeserializeOwned>(
    client: &RpcClient,
    method: &'static str,
    parameters: Value,
    limit: Duration,
) -> Result<T, Refusal> {
    let request = client.request::<Value, Value>(method, parameters);
    let answer = match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| failed(method, &error))?,
        Err(_) => {
            let late = format!(
                "no answer to {method} within {} s (--signer-timeout)",
                limit.as_secs()
            );
            return Err(SettleError::NotSigned(late).into());
        }
    };
    serde_json::from_value(answer)
        .map_err(|_| SettleError::Refused(format!("the signer's answer to {method} makes no sense")).into())
}

fn failed(method: &str, error: &RpcError<TransportErrorKind>) -> Refusal {
    let code = error.as_error_resp().map(|payload| payload.code);
    let error = SettleError::NotSigned(match (error.as_error_resp(), error) {
        (Some(payload), _) => format!(
            "the signer declined {method}: {} (code {})",
            plain(&payload.message, 200),
            payload.code
        ),
        (None, RpcError::Transport(error)) => {
            format!("{method} failed: {}", node_rpc::transport_cause(error))
        }
        (None, _) => format!("{method} failed: the answer makes no sense"),
    });
    Refusal { code, error }
}
