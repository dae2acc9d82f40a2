// Sends records with the official client of Fluentd for Node.
//
// usage: node send.js PORT SHARED_KEY MODE RECORDS
"use strict";

const { FluentClient } = require("@fluent-org/logger");

const [port, sharedKey, eventMode, records] = process.argv.slice(2);

async function main() {
  const client = new FluentClient("kube", {
    eventMode,
    socket: { host: "127.0.0.1", port: Number(port), timeout: 10000 },
    security: { clientHostname: "node-1", sharedKey },
    ack: { ackTimeout: 20000 },
  });
  const sent = [];
  for (let number = 0; number < Number(records); number++) {
    sent.push(
      client.emit("audit", {
        kind: "Event",
        apiVersion: "audit.k8s.io/v1",
        level: "Metadata",
        auditID: `7d1b3f52-0000-4000-8000-${String(number).padStart(12, "0")}`,
        stage: "ResponseComplete",
        requestURI: "/api/v1/secrets",
        verb: "list",
        user: { username: "alice" },
        objectRef: { resource: "secrets", apiVersion: "v1" },
        responseStatus: { code: 200 },
        requestReceivedTimestamp: "2026-05-01T10:00:00.000000Z",
        stageTimestamp: "2026-05-01T10:00:00.000000Z",
      }),
    );
  }
  // A promise ends when its record is acknowledged.
  const done = await Promise.allSettled(sent);
  await client.disconnect();
  const refused = done.filter((one) => one.status === "rejected");
  process.stdout.write(
    JSON.stringify({
      acknowledged: done.length - refused.length,
      refused: refused.length,
      reason: refused.length ? String(refused[0].reason) : "",
    }),
  );
}

main().catch((error) => {
  process.stderr.write(`${error}\n`);
  process.exit(1);
});
