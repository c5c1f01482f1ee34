// Send a shop's events to the recommender: `node send_events.mjs < events.jsonl`, one JSON object a line.
//   {"userId": "u7", "sessionId": "s1", "eventType": "view", "itemId": "p42", "sentAt": 1767225600}
// API_URL is the API's address; AWS_REGION and the AWS_… credentials sign the requests. After 429, 5xx or no
// answer, the same body is sent again; the event ids are the same, so no event counts twice.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { AwsClient } from "aws4fetch";

const env = process.env, MOST = 25; // events in one request
const aws = new AwsClient({
  accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY, sessionToken: env.AWS_SESSION_TOKEN,
  region: env.AWS_REGION, service: "execute-api", retries: 4, // of answers 429 and 5xx, with the same body
});

// Send at most MOST events of one person; show what was accepted and what was refused, with the reason.
async function send(who, events, wait = 200) {
  const body = JSON.stringify({ ...JSON.parse(who), eventList: events });
  const request = { method: "POST", headers: { "content-type": "application/json" }, body };
  const answer = await aws.fetch(`${env.API_URL}/events`, request).catch((error) => { if (wait > 5000) throw error; });
  if (answer) return console.log(JSON.stringify({ status: answer.status, ...(await answer.json()) }));
  await sleep(wait); // no answer
  return send(who, events, wait * 5);
}

let waiting = [], person = "";
for await (const line of createInterface({ input: process.stdin })) {
  const { userId, sessionId, ...event } = JSON.parse(line), who = JSON.stringify({ userId, sessionId });
  if (waiting.length && (who !== person || waiting.length === MOST)) await send(person, waiting.splice(0));
  person = who;
  waiting.push({ eventId: randomUUID(), ...event });
}
if (waiting.length) await send(person, waiting);
