// The published TypeScript client: creates, appends, follows live, resumes; a stream of bytes, and an idempotent producer.
import assert from "node:assert/strict"
import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client"

const root = `${process.env.STREAMS_URL}/v1/stream`
const name = `typescript-${Date.now()}`

// Reads live until `count` items have come, then leaves; where it has got to.
async function follow(url, offset, live, count) {
  const items = []
  let place = offset
  const leaving = new AbortController()
  const response = await stream({ url, offset, live, signal: leaving.signal })
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${items.length} of ${count} came`)), 20_000)
    response.subscribeJson(async (batch) => {
      items.push(...batch.items)
      place = batch.offset
      if (items.length >= count) {
        clearTimeout(timer)
        resolve()
      }
    })
  })
  leaving.abort()
  return { items, place }
}

const url = `${root}/${name}`
const handle = await DurableStream.create({ url, contentType: "application/json" })
for (const n of [1, 2]) await handle.append(JSON.stringify({ n }))

for (const live of ["sse", "long-poll"]) {
  const before = await follow(url, "-1", live, 2)
  assert.deepEqual(before.items.slice(0, 2), [{ n: 1 }, { n: 2 }])
}

// Live: what is appended while a reader follows; then from where it left.
const following = follow(url, "-1", "sse", 4)
for (const n of [3, 4]) await handle.append(JSON.stringify({ n }))
const live = await following
assert.deepEqual(live.items, [1, 2, 3, 4].map((n) => ({ n })))
const resuming = follow(url, live.place, "long-poll", 2)
for (const n of [5, 6]) await handle.append(JSON.stringify({ n }))
assert.deepEqual((await resuming).items, [5, 6].map((n) => ({ n })))

// Exactly once, in batches, several of them on their way at a time.
const producer = new IdempotentProducer(handle, "worker-1", { autoClaim: true })
for (let n = 7; n <= 206; n++) producer.append(JSON.stringify({ n }))
await producer.flush()
await producer.close()
const all = await (await stream({ url, offset: "-1", live: false })).json()
assert.deepEqual(all, Array.from({ length: 206 }, (_, index) => ({ n: index + 1 })))
assert.equal((await handle.head()).streamClosed, true)

// Bytes come back as they are.
const bytes = await DurableStream.create({ url: `${url}-bytes`, contentType: "application/octet-stream" })
await bytes.append(new Uint8Array([0, 255, 10, 13]))
await bytes.append(new Uint8Array([128]))
const body = await (await stream({ url: `${url}-bytes`, offset: "-1", live: false })).body()
assert.deepEqual([...body], [0, 255, 10, 13, 128])

await handle.delete()
await assert.rejects(stream({ url, offset: "-1", live: false }))
console.log("typescript client: created, appended, followed by SSE and long-poll, resumed, produced exactly once")
