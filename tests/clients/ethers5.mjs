// ethers 5.
import { ethers } from 'ethers5'
import { ACCOUNT, BATCH, CHAIN, KEY, NOBODY, each, program } from './program.mjs'

const { JsonRpcBatchProvider, JsonRpcProvider, StaticJsonRpcProvider } = ethers.providers

const scenarios = {
  async normal(url) {
    const provider = new JsonRpcProvider(url)
    const block = await provider.getBlockNumber()
    const batching = new JsonRpcBatchProvider(url)
    const batch = Promise.all([ACCOUNT, NOBODY].map((who) => batching.getBalance(who)))
    const logs = provider.getLogs({ fromBlock: block - 5, toBlock: block })
    const answers = await each({
      chain: provider.getNetwork().then((network) => network.chainId),
      block,
      balance: provider.getBalance(ACCOUNT),
      batch,
      call: provider.call({ to: NOBODY, data: '0x' }),
      logs: logs.then((found) => found.length),
    })
    const send = async () => {
      const wallet = new ethers.Wallet(KEY, provider)
      const sent = await wallet.sendTransaction({ to: NOBODY, value: 1 })
      return (await sent.wait()).status
    }
    return [...answers, ...(await each({ receipt: send() }))]
  },
  // With the network known: otherwise `fresh` is what happens before the call.
  single: (url) => each({ block: new StaticJsonRpcProvider(url, CHAIN).getBlockNumber() }),
  batch(url) {
    const provider = new JsonRpcBatchProvider(url, CHAIN)
    const balance = async (who) => BigInt(await provider.send('eth_getBalance', [who, 'latest']))
    return each(Object.fromEntries(BATCH.map((who) => [who, balance(who)])))
  },
  fresh: (url) => each({ block: new JsonRpcProvider(url).getBlockNumber() }),
}

await program('ethers5', 'ethers5', scenarios, ({ status, body, error, event, data }) => ({
  status,
  body,
  event,
  data,
  error: error?.message,
}))
