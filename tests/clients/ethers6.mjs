// ethers 6.
import { JsonRpcProvider, Wallet } from 'ethers'
import { ACCOUNT, BATCH, CHAIN, KEY, NOBODY, each, program } from './program.mjs'

// With the network known: otherwise `fresh` is what happens before the call.
const known = (url) => new JsonRpcProvider(url, CHAIN, { staticNetwork: true })

const scenarios = {
  async normal(url) {
    const provider = new JsonRpcProvider(url)
    const block = await provider.getBlockNumber()
    const answers = await each({
      chain: provider.getNetwork().then((network) => network.chainId),
      block,
      balance: provider.getBalance(ACCOUNT),
      // Calls of one tick become one batch.
      batch: Promise.all([ACCOUNT, NOBODY].map((who) => provider.getBalance(who))),
      call: provider.call({ to: NOBODY, data: '0x' }),
      logs: provider.getLogs({ fromBlock: block - 5, toBlock: block }).then((found) => found.length),
    })
    const send = async () => {
      const sent = await new Wallet(KEY, provider).sendTransaction({ to: NOBODY, value: 1 })
      return (await sent.wait()).status
    }
    return [...answers, ...(await each({ receipt: send() }))]
  },
  single: (url) => each({ block: known(url).getBlockNumber() }),
  batch(url) {
    const provider = known(url)
    return each(Object.fromEntries(BATCH.map((who) => [who, provider.getBalance(who)])))
  },
  fresh: (url) => each({ block: new JsonRpcProvider(url).getBlockNumber() }),
}

await program('ethers6', 'ethers', scenarios, ({ shortMessage, info, error }) => ({ shortMessage, info, error }))
