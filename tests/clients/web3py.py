"""web3.py.

    web3py.py URL SCENARIO [URL SCENARIO]...

All run at once, and one line of JSON for each is printed in the same order. The exit code is 0 whatever the library did;
anything else means that this program is broken.
"""

import json
import os
import sys
import threading
import time
from importlib.metadata import version

from web3 import Web3

ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
# The dev account's: public, and worth nothing anywhere.
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
NOBODY = "0x000000000000000000000000000000000000dEaD"
# Three, so that a mixed-up order shows.
BATCH = [f"0x{n:040x}" for n in (1, 2, 3)]


# Seconds after which a library that still tries is reported as `timed_out`.
LIMIT = 120


def client(url):
    return Web3(Web3.HTTPProvider(url))


def balances(w3, addresses):
    with w3.batch_requests() as batch:
        for address in addresses:
            batch.add(w3.eth.get_balance(address))
        return batch.execute()


def send(w3):
    transaction = {
        "to": NOBODY,
        "value": 1,
        "gas": 21000,
        "chainId": w3.eth.chain_id,
        "nonce": w3.eth.get_transaction_count(ACCOUNT),
        "maxFeePerGas": w3.eth.gas_price * 2,
        "maxPriorityFeePerGas": w3.eth.max_priority_fee,
    }
    signed = w3.eth.account.sign_transaction(transaction, KEY)
    sent = w3.eth.send_raw_transaction(signed.raw_transaction)
    return w3.eth.wait_for_transaction_receipt(sent)["status"]


def normal(url):
    w3 = client(url)
    block = w3.eth.block_number
    logs = w3.eth.get_logs({"fromBlock": block - 5, "toBlock": block})
    return {
        "chain": w3.eth.chain_id,
        "block": block,
        "balance": w3.eth.get_balance(ACCOUNT),
        "batch": ",".join(str(one) for one in balances(w3, [ACCOUNT, NOBODY])),
        "call": w3.eth.call({"to": NOBODY, "data": "0x"}).to_0x_hex(),
        "logs": len(logs),
        "receipt": send(w3),
    }


def single(url):
    return {"block": client(url).eth.block_number}


def batch(url):
    return dict(zip(BATCH, balances(client(url), BATCH), strict=True))


SCENARIOS = {"normal": normal, "single": single, "batch": batch}


def describe(error):
    """What a user of the library can see of an error."""
    response = getattr(error, "response", None)
    return {
        "name": type(error).__name__,
        "code": (getattr(error, "rpc_response", None) or {}).get("error", {}).get("code"),
        "message": str(error),
        "data": None if response is None else {"status": response.status_code, "body": response.text},
    }


def run(url, scenario):
    try:
        results = SCENARIOS[scenario](url)
    except Exception as error:  # whatever the library raises is what is asked for
        return {"error": describe(error)}
    return {"ok": True, "results": [{"call": call, "value": str(value)} for call, value in results.items()]}


def main(words):
    pairs = list(zip(words[::2], words[1::2], strict=True))
    unknown = [scenario for _, scenario in pairs if scenario not in SCENARIOS]
    if not pairs or unknown:
        sys.exit(f"web3py.py URL SCENARIO [URL SCENARIO]..., no scenario: {unknown}")
    came = [{"timed_out": True} for _ in pairs]

    def work(at, url, scenario):
        came[at] = run(url, scenario)

    threads = [threading.Thread(target=work, args=(at, *pair), daemon=True) for at, pair in enumerate(pairs)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + LIMIT
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    for (_, scenario), one in zip(pairs, came, strict=True):
        report = {"library": "web3py", "version": version("web3"), "scenario": scenario, "ok": False, **one}
        print(json.dumps(report))
    # A thread that still tries must not keep the process.
    sys.stdout.flush()
    os._exit(0)


main(sys.argv[1:])
