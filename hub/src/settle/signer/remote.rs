//! A remote signer: `eth_signTransaction` and `eth_signTypedData_v4` over JSON-RPC, as web3signer, clef and others speak them.

use super::compare::{asked, signature_of};
use crate::{
    chain::transport_cause,
    settle::{decode::plain, exit::SettleError, files::say},
};
use alloy::{
    consensus::SignableTransaction,
    primitives::{Bytes, Signature, TxKind, U64, U128},
    rpc::client::{ClientBuilder, RpcClient},
    transports::{RpcError, TransportErrorKind},
};
use protocol_spec::Address;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::time::Duration;

/// Without a person: whether it is there, and which accounts it has.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// A signer that is reached by HTTP.
pub(in crate::settle) struct Remote {
    client: RpcClient,
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
        let url = url
            .parse()
            .map_err(|_| SettleError::Usage("--signer is no URL".to_owned()))?;
        let client = ClientBuilder::default().http(url);
        let accounts: Vec<Address> = ask(&client, "eth_accounts", json!([]), HELLO_MAX).await?;
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
        let signed = ask(
            &self.client,
            "eth_signTransaction",
            json!([request]),
            self.timeout,
        )
        .await?;
        let (SignedTransaction::Raw(raw) | SignedTransaction::Object { raw }) = signed;
        signature_of(&raw, &tx)
    }

    /// Has typed data signed. The caller checks by whom, and over what.
    pub(super) async fn typed_data(&self, data: &Value) -> Result<Signature, SettleError> {
        self.tell();
        let parameters = json!([self.address, data.to_string()]);
        let signature: Bytes = ask(&self.client, "eth_signTypedData_v4", parameters, self.timeout).await?;
        Signature::from_raw(&signature)
            .map_err(|_| SettleError::Refused("the signer returned no signature".to_owned()))
    }

    fn tell(&self) {
        say(&format!(
            "waiting for the signer of {}, {} s at most: confirm there if it asks",
            self.address,
            self.timeout.as_secs()
        ));
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
) -> Result<T, SettleError> {
    let request = client.request::<Value, Value>(method, parameters);
    let answer = match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| failed(method, &error))?,
        Err(_) => {
            return Err(SettleError::NotSigned(format!(
                "no answer to {method} within {} s (--signer-timeout)",
                limit.as_secs()
            )));
        }
    };
    serde_json::from_value(answer)
        .map_err(|_| SettleError::Refused(format!("the signer's answer to {method} makes no sense")))
}

fn failed(method: &str, error: &RpcError<TransportErrorKind>) -> SettleError {
    SettleError::NotSigned(match (error.as_error_resp(), error) {
        (Some(payload), _) => format!(
            "the signer declined {method}: {} (code {})",
            plain(&payload.message, 200),
            payload.code
        ),
        (None, RpcError::Transport(error)) => format!("{method} failed: {}", transport_cause(error)),
        (None, _) => format!("{method} failed: the answer makes no sense"),
    })
}
