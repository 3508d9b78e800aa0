// What the Node programs share: arguments, the time limit, and the lines that they print.
//
//   node PROGRAM URL SCENARIO [URL SCENARIO]...
//
// All run at once, and one line of JSON for each is printed in the same order. The exit code is 0 whatever the library
// did; anything else means that the program itself is broken.
import { readFileSync } from 'node:fs'

/** The dev account that every anvil starts with. Its key is public, and worth nothing anywhere. */
export const ACCOUNT = '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266'
export const KEY = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80'
/** The chain of the tests. */
export const CHAIN = 1337
/** Has no code, and receives what `normal` sends. */
export const NOBODY = '0x000000000000000000000000000000000000dEaD'
/** Whose balances `batch` asks for: three, so that a mixed-up order shows. */
export const BATCH = [1, 2, 3].map((n) => `0x${n.toString(16).padStart(40, '0')}`)

/** Seconds after which a library that still tries is reported as `timed_out`. */
const LIMIT = 120

/**
 * Runs the scenarios that the arguments name and prints what came of them.
 * `scenarios` holds for each name a function of the URL that gives a list of results, or throws.
 * `data` shows what an error of this library carries besides name, code and message.
 */
export async function program(library, folder, scenarios, data) {
  // Libraries talk to the console too, and the lines are for a program.
  console.log = console.error
  const describe = (error) => ({
    name: error?.name ?? typeof error,
    code: error?.code,
    message: error?.message ?? String(error),
    data: data(error),
  })
  // What a library throws where nobody can catch it is its user's crash. Nobody knows whose it was, so it is everyone's.
  const crash = new Promise((done) => {
    process.on('uncaughtException', (error) => done({ error: describe(error), uncaught: true }))
  })
  const limit = new Promise((done) => setTimeout(() => done({ timed_out: true }), LIMIT * 1000))

  const run = async (url, scenario) => {
    try {
      const results = (await scenarios[scenario](url)).map(({ call, value, reason }) =>
        reason === undefined ? { call, value } : { call, error: describe(reason) },
      )
      const error = results.find((one) => one.error)?.error
      return { ok: !error, results, error }
    } catch (error) {
      return { error: describe(error) }
    }
  }

  const version = versionOf(folder)
  const lines = pairs(process.argv.slice(2)).map(async ([url, scenario]) => {
    if (!Object.hasOwn(scenarios, scenario)) throw new Error(`no scenario ${scenario}: ${Object.keys(scenarios)}`)
    const came = await Promise.race([run(url, scenario), limit, crash])
    const report = { library, version, scenario, ok: false, ...came }
    return JSON.stringify(report, (_, value) => (typeof value === 'bigint' ? value.toString() : value))
  })
  const text = (await Promise.all(lines)).map((line) => `${line}\n`).join('')
  // A library's own timers must not keep the process, so it ends by itself once the lines are out.
  process.stdout.write(text, () => process.exit(0))
}

/** Waits for each of these calls, and says under its name what came of it. */
export async function each(calls) {
  const names = Object.keys(calls)
  const settled = await Promise.allSettled(Object.values(calls))
  return settled.map(({ status, value, reason }, at) =>
    status === 'fulfilled' ? { call: names[at], value: String(value) } : { call: names[at], reason },
  )
}

function pairs(words) {
  if (words.length === 0 || words.length % 2) throw new Error('URL SCENARIO [URL SCENARIO]...')
  return Array.from({ length: words.length / 2 }, (_, at) => words.slice(at * 2, at * 2 + 2))
}

function versionOf(folder) {
  const file = new URL(`node_modules/${folder}/package.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')).version
}
