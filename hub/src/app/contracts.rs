//! The committed contract artifacts, and putting them on a chain.

use crate::chain::{Chain, ChainError, TxRequest};
use alloy::{
    primitives::{Bytes, U256},
    sol,
    sol_types::{SolCall, SolConstructor},
};
use protocol_spec::Address;

const ADJUDICATOR: &str = include_str!("../../../protocol-spec/contracts/artifacts/Adjudicator.json");
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

/// Creation code in an artifact. Errors: the artifact is not one (a build defect).
fn creation_code(artifact: &str) -> Result<Vec<u8>, ChainError> {
    let broken = |what: &str| ChainError::Config(format!("committed artifact: {what}"));
    let json: serde_json::Value = serde_json::from_str(artifact).map_err(|_| broken("not JSON"))?;
    let code = json
        .get("bytecode")
        .and_then(serde_json::Value::as_str)
        .ok_or_else(|| broken("no bytecode"))?;
    hex::decode(code.trim_start_matches("0x")).map_err(|_| broken("bytecode is not hex"))
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
