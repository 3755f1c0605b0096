// The suite's own command finds no tests under this vitest: its tests are registered from here. (vitest takes BASE_URL for itself.)
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({ baseUrl: process.env.STREAMS_URL, subscriptions: true })
