//! alloy, with the retry layer as its documentation shows it.
//!
//! `client-alloy URL SCENARIO [URL SCENARIO]...` runs all at once and prints one line of JSON for each, in the same order.
//! The exit code is 0 whatever the library did; anything else means that this program is broken.

use std::error::Error;
use std::time::Duration;

use alloy_network::TransactionBuilder;
use alloy_primitives::{Address, U64, U256, address};
use alloy_provider::{Provider, ProviderBuilder};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::{Filter, TransactionRequest};
use alloy_signer_local::PrivateKeySigner;
use alloy_transport::TransportError;
use alloy_transport::layers::RetryBackoffLayer;
use futures_util::future::try_join_all;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The dev account that every anvil starts with. Its key is public, and worth nothing anywhere.
const ACCOUNT: Address = address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const NOBODY: Address = address!("0x000000000000000000000000000000000000dEaD");

type Failure = Box<dyn Error>;

/// After which a library that still tries is reported as `timed_out`.
const LIMIT: Duration = Duration::from_mins(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pairs = words.chunks(2).map(|pair| match pair {
        [url, scenario] => Ok((url.as_str(), scenario.as_str())),
        _ => Err("client-alloy URL SCENARIO [URL SCENARIO]..."),
    });
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    for report in try_join_all(pairs.into_iter().map(|(url, scenario)| report(url, scenario))).await? {
        println!("{report}");
    }
    Ok(())
}

async fn report(url: &str, scenario: &str) -> Result<Value, Failure> {
    let mut report = json!({"library": "alloy", "version": version(), "scenario": scenario, "ok": false});
    match tokio::time::timeout(LIMIT, run(url, scenario)).await {
        Err(_) => report["timed_out"] = true.into(),
        Ok(Ok(results)) => {
            report["ok"] = true.into();
            report["results"] =
                results.into_iter().map(|(call, value)| json!({"call": call, "value": value})).collect();
        }
        Ok(Err(failure)) => match failure.downcast_ref::<TransportError>() {
            Some(error) => report["error"] = describe(error),
            None => return Err(failure),
        },
    }
    Ok(report)
}

/// The provider's, as the lock file says; alloy's crates are released together.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split_once("name = \"alloy-provider\"\nversion = \"").map_or("", |(_, after)| after);
    after.split('"').next().unwrap_or_default()
}

async fn run(url: &str, scenario: &str) -> Result<Vec<(String, String)>, Failure> {
    // Retries, first wait in milliseconds, compute units per second: the example's.
    let layer = RetryBackoffLayer::new(10, 1000, 100);
    let client = RpcClient::builder().layer(layer).http(url.parse()?);
    match scenario {
        "normal" => normal(client).await,
        "single" => {
            let block = ProviderBuilder::new().connect_client(client).get_block_number().await?;
            Ok(vec![("block".into(), block.to_string())])
        }
        "batch" => {
            let addresses = [1, 2, 3].map(Address::with_last_byte);
            let balances = batch(&client, &addresses).await?;
            let named = addresses.iter().zip(balances);
            Ok(named.map(|(who, balance)| (format!("{who:?}"), balance.to_string())).collect())
        }
        other => Err(format!("no scenario {other}").into()),
    }
}

async fn batch(client: &RpcClient, addresses: &[Address]) -> Result<Vec<U256>, Failure> {
    let mut batch = client.new_batch();
    let mut waiting = Vec::new();
    for address in addresses {
        waiting.push(batch.add_call::<_, U256>("eth_getBalance", &(address, "latest"))?);
    }
    batch.send().await?;
    let mut balances = Vec::new();
    for one in waiting {
        balances.push(one.await?);
    }
    Ok(balances)
}

async fn normal(client: RpcClient) -> Result<Vec<(String, String)>, Failure> {
    let wallet: PrivateKeySigner = KEY.parse()?;
    let both = batch(&client, &[ACCOUNT, NOBODY]).await?;
    let both = both.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let chain: U64 = client.request_noparams("eth_chainId").await?;
    let provider = ProviderBuilder::new().wallet(wallet).connect_client(client);
    let block = provider.get_block_number().await?;
    let balance = provider.get_balance(ACCOUNT).await?;
    let to_nobody = TransactionRequest::default().with_to(NOBODY);
    let call = provider.call(to_nobody.clone()).await?;
    let logs = provider.get_logs(&Filter::new().from_block(block - 5).to_block(block)).await?;
    let sent = provider.send_transaction(to_nobody.with_value(U256::from(1))).await?;
    let receipt = sent.get_receipt().await?;
    let results = [
        ("chain", chain.to_string()),
        ("block", block.to_string()),
        ("balance", balance.to_string()),
        ("batch", both),
        ("call", call.to_string()),
        ("logs", logs.len().to_string()),
        ("receipt", u8::from(receipt.status()).to_string()),
    ];
    Ok(results.map(|(call, value)| (call.to_owned(), value)).into())
}

/// What a user of the library can see of an error.
fn describe(error: &TransportError) -> Value {
    let name = match error {
        TransportError::ErrorResp(_) => "ErrorResp",
        TransportError::Transport(_) => "Transport",
        TransportError::DeserError { .. } => "DeserError",
        _ => "other",
    };
    let payload = error.as_error_resp();
    json!({
        "name": name,
        "code": payload.map(|payload| payload.code),
        "message": error.to_string(),
        "data": payload.and_then(|payload| payload.data.as_deref()).map(RawValue::get),
    })
}
