// web3.js.
import { Web3 } from 'web3'
import { ACCOUNT, BATCH, KEY, NOBODY, each, program } from './program.mjs'

/** In milliseconds: by default a batch is given up after one second, and a busy machine may need more. */
const PATIENTLY = { timeout: 60_000 }

const balance = (who) => ({ method: 'eth_getBalance', params: [who, 'latest'] })

const scenarios = {
  async normal(url) {
    const web3 = new Web3(url)
    const block = await web3.eth.getBlockNumber()
    const batched = async () => {
      const batch = new web3.BatchRequest()
      const calls = [ACCOUNT, NOBODY].map((who) => batch.add(balance(who)))
      await batch.execute(PATIENTLY)
      return (await Promise.all(calls)).map(BigInt)
    }
    const answers = await each({
      chain: web3.eth.getChainId(),
      block,
      balance: web3.eth.getBalance(ACCOUNT),
      batch: batched(),
      call: web3.eth.call({ to: NOBODY, data: '0x' }),
      logs: web3.eth.getPastLogs({ fromBlock: block - 5n, toBlock: block }).then((found) => found.length),
    })
    const send = async () => {
      const account = web3.eth.accounts.privateKeyToAccount(KEY)
      web3.eth.accounts.wallet.add(account)
      const transaction = { from: account.address, to: NOBODY, value: 1n, gas: 21000n }
      return (await web3.eth.sendTransaction(transaction)).status
    }
    return [...answers, ...(await each({ receipt: send() }))]
  },
  single: (url) => each({ block: new Web3(url).eth.getBlockNumber() }),
  async batch(url) {
    const batch = new (new Web3(url).BatchRequest)()
    // Not awaited: when the request as a whole fails, only `execute` says so, and these never settle.
    for (const who of BATCH) batch.add(balance(who)).catch(() => {})
    const responses = await batch.execute(PATIENTLY)
    return responses.map(({ result, error }, at) =>
      error ? { call: BATCH[at], reason: error } : { call: BATCH[at], value: String(BigInt(result)) },
    )
  },
}

await program('web3js', 'web3', scenarios, ({ statusCode, data, innerError, cause, errors }) => ({
  status: statusCode,
  data,
  cause: innerError ?? cause,
  errors: errors?.map((one) => one.message),
}))
