//! The committed contract artifacts, and putting them on a chain.

use crate::chain::{CallRequest, Chain, ChainError, TxRequest};
use alloy::{
    primitives::{B256, Bytes, U256},
    sol,
    sol_types::{SolCall, SolConstructor, SolValue},
};
use protocol_spec::{Address, Condition, Digest, Domain, SignerKey, Witness};

const ADJUDICATOR: &str = include_str!("../../../protocol-spec/contracts/artifacts/Adjudicator.json");
const ARBITER_ESCROW: &str = include_str!("../../../protocol-spec/contracts/artifacts/ArbiterEscrow.json");
const TEST_TOKEN: &str = include_str!("../../../protocol-spec/contracts/artifacts/TestToken.json");

sol! {
    /// What the hub, the demo and the tests call of a token.
    contract Token {
        constructor(string name, string symbol, uint8 decimals);
        function mint(address to, uint256 amount) external;
        function approve(address spender, uint256 amount) external returns (bool);
        function allowance(address owner, address spender) external view returns (uint256);
        function transfer(address to, uint256 amount) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
        function decimals() external view returns (uint8);
        event Approval(address indexed owner, address indexed spender, uint256 value);
    }
}

sol! {
    /// What an arbiter asks the example of a resolver.
    interface ArbiterEscrow {
        function releaseDigest(bytes32 deal) external view returns (bytes32);
    }
}

/// Creation code in an artifact. Errors: the artifact is not one (a build defect).
fn creation_code(artifact: &str) -> Result<Vec<u8>, ChainError> {
    code(artifact, "bytecode")
}

fn code(artifact: &str, field: &str) -> Result<Vec<u8>, ChainError> {
    let broken = |what: &str| ChainError::Config(format!("committed artifact: {what}"));
    let json: serde_json::Value = serde_json::from_str(artifact).map_err(|_| broken("not JSON"))?;
    let code = json
        .get(field)
        .and_then(serde_json::Value::as_str)
        .ok_or_else(|| broken("no bytecode"))?;
    hex::decode(code.trim_start_matches("0x")).map_err(|_| broken("bytecode is not hex"))
}

/// The code that the adjudicator of `domain` has on chain when it is the committed one. In the artifact the two words that
/// the constructor puts in, chain id and domain separator in this order, are pushes of zero.
/// Errors: the artifact is not one (a build defect).
pub fn adjudicator_on_chain(domain: &Domain) -> Result<Vec<u8>, ChainError> {
    const PUSH32_ZERO: [u8; 33] = {
        let mut push = [0; 33];
        push[0] = 0x7f;
        push
    };
    let broken = || ChainError::Config("committed artifact: not two words to fill in".to_owned());
    let mut filled = code(ADJUDICATOR, "deployedBytecode")?;
    for word in [
        B256::from(U256::from(domain.chain_id)),
        B256::from(domain.separator().0),
    ] {
        let mut pushes = filled.windows(PUSH32_ZERO.len());
        let at = pushes.position(|bytes| bytes == PUSH32_ZERO).ok_or_else(broken)?;
        let hole = filled.iter_mut().skip(at).skip(1).zip(word);
        hole.for_each(|(byte, word)| *byte = word);
    }
    match filled
        .windows(PUSH32_ZERO.len())
        .any(|bytes| bytes == PUSH32_ZERO)
    {
        true => Err(broken()),
        false => Ok(filled),
    }
}

/// Creation code of the adjudicator.
pub fn adjudicator_code() -> Result<Vec<u8>, ChainError> {
    creation_code(ADJUDICATOR)
}

/// Puts the adjudicator on the chain, paid for by the port's account; waits until it is there.
pub async fn deploy_adjudicator(chain: &dyn Chain) -> Result<Address, ChainError> {
    deploy(chain, adjudicator_code()?).await
}

/// Puts a test token (18 decimals, anybody may mint) on the chain.
pub async fn deploy_test_token(chain: &dyn Chain) -> Result<Address, ChainError> {
    let arguments = Token::constructorCall {
        name: "Test Token".into(),
        symbol: "TST".into(),
        decimals: 18,
    };
    let mut code = creation_code(TEST_TOKEN)?;
    code.extend(arguments.abi_encode());
    deploy(chain, code).await
}

/// Puts the example of a resolver on the chain: an escrow that an arbiter releases.
pub async fn deploy_arbiter_escrow(chain: &dyn Chain) -> Result<Address, ChainError> {
    deploy(chain, creation_code(ARBITER_ESCROW)?).await
}

/// What a lock is on that `arbiter` releases for `deal`.
#[must_use]
pub fn escrow_condition(escrow: Address, arbiter: Address, deal: [u8; 32]) -> Condition {
    Condition::data(escrow, &(arbiter, B256::from(deal)).abi_encode())
}

/// The arbiter's release of `deal`: the witness of a lock on [`escrow_condition`].
pub async fn release(
    chain: &dyn Chain,
    escrow: Address,
    arbiter: &SignerKey,
    deal: [u8; 32],
) -> Result<Witness, ChainError> {
    let call = ArbiterEscrow::releaseDigestCall { deal: deal.into() };
    let request = CallRequest {
        to: escrow,
        data: call.abi_encode().into(),
        ..CallRequest::default()
    };
    let digest = chain.call(request).await?;
    let digest = ArbiterEscrow::releaseDigestCall::abi_decode_returns(&digest);
    let bad = |error: String| ChainError::BadAnswer(error);
    let digest = digest.map_err(|error| bad(error.to_string()))?;
    let mut witness = (arbiter.address(), B256::from(deal)).abi_encode();
    witness.extend(arbiter.sign(&Digest(digest.0)).0);
    Witness::new(witness).map_err(|reject| bad(reject.to_string()))
}

async fn deploy(chain: &dyn Chain, code: Vec<u8>) -> Result<Address, ChainError> {
    let sent = chain
        .send(TxRequest {
            data: code.into(),
            ..TxRequest::default()
        })
        .await?;
    let receipt = chain.wait(sent.hash, 0).await?;
    let created = receipt.contract_address.filter(|_| receipt.success);
    created.ok_or_else(|| ChainError::BadAnswer("a contract was not created".to_owned()))
}

/// Sends a call and waits until it is mined. Errors: it reverted, or the chain failed.
pub async fn transact(
    chain: &dyn Chain,
    to: Address,
    call: &impl SolCall,
    value: U256,
) -> Result<(), ChainError> {
    let data: Bytes = call.abi_encode().into();
    let sent = chain
        .send(TxRequest {
            to: Some(to),
            data,
            value,
            ..TxRequest::default()
        })
        .await?;
    let receipt = chain.wait(sent.hash, 0).await?;
    let reverted = || ChainError::Reverted {
        message: "the transaction reverted".to_owned(),
        data: Bytes::new(),
    };
    receipt.success.then_some(()).ok_or_else(reverted)
}
