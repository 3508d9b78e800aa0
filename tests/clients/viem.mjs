// viem.
import { createPublicClient, createWalletClient, defineChain, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { ACCOUNT, BATCH, KEY, NOBODY, each, program } from './program.mjs'

const scenarios = {
  async normal(url) {
    const client = createPublicClient({ transport: http(url) })
    const batching = createPublicClient({ transport: http(url, { batch: true }) })
    const block = await client.getBlockNumber()
    const id = await client.getChainId()
    const logs = client.getLogs({ fromBlock: block - 5n, toBlock: block })
    const answers = await each({
      chain: id,
      block,
      balance: client.getBalance({ address: ACCOUNT }),
      batch: Promise.all([ACCOUNT, NOBODY].map((address) => batching.getBalance({ address }))),
      call: client.call({ to: NOBODY, data: '0x' }).then(({ data }) => data ?? '0x'),
      logs: logs.then((found) => found.length),
    })
    const send = async () => {
      const ether = { name: 'Ether', symbol: 'ETH', decimals: 18 }
      const chain = defineChain({ id, name: 'test', nativeCurrency: ether, rpcUrls: { default: { http: [url] } } })
      const wallet = createWalletClient({ account: privateKeyToAccount(KEY), chain, transport: http(url) })
      const hash = await wallet.sendTransaction({ to: NOBODY, value: 1n })
      const { status } = await client.waitForTransactionReceipt({ hash })
      return status === 'success' ? 1 : status
    }
    return [...answers, ...(await each({ receipt: send() }))]
  },
  single: (url) => each({ block: createPublicClient({ transport: http(url) }).getBlockNumber() }),
  batch(url) {
    const client = createPublicClient({ transport: http(url, { batch: true }) })
    return each(Object.fromEntries(BATCH.map((address) => [address, client.getBalance({ address })])))
  },
}

/** The causes of an error, outermost first; the refusal's own data is on one of them. */
function causes(error) {
  const found = []
  for (let cause = error?.cause; cause; cause = cause.cause) {
    found.push({ name: cause.name, code: cause.code, message: cause.message, status: cause.status, data: cause.data })
  }
  return found
}

await program('viem', 'viem', scenarios, (error) => ({ details: error?.details, causes: causes(error) }))
