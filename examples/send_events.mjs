// Send a shop's events to the recommender: `node send_events.mjs < events.jsonl`, one JSON object a line.
//   {"userId": "u7", "sessionId": "s1", "eventType": "view", "itemId": "p42", "sentAt": 1767225600}
// API_URL is the API's address; AWS_REGION and the AWS_… credentials sign the requests. After 429, 5xx or no
// answer, the same body is sent again; the event ids are the same, so no event counts twice.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { AwsClient } from "aws4fetch";

const MOST = 25; // events in one request
const { API_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION } = process.env;
const aws = new AwsClient({
  accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY, sessionToken: AWS_SESSION_TOKEN,
  region: AWS_REGION, service: "execute-api", retries: 4, // of answers 429 and 5xx, with the same body
});

// Send at most 25 events of one person; return what was accepted and what was refused, with the reason.
export async function send(who, events) {
  const eventList = events.map((event) => ({ eventId: randomUUID(), ...event }));
  const headers = { "content-type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify({ ...who, eventList }) };
  for (let wait = 200; ; wait *= 5) {
    try {
      const answer = await aws.fetch(`${API_URL}/events`, request);
      return { status: answer.status, ...(await answer.json()) };
    } catch (error) { // no answer
      if (wait > 5000) throw error;
      await sleep(wait);
    }
  }
}

let waiting = [], person = "";
const flush = async () => waiting.length && console.log(JSON.stringify(await send(JSON.parse(person), waiting.splice(0))));
for await (const line of createInterface({ input: process.stdin })) {
  const { userId, sessionId, ...event } = JSON.parse(line);
  const who = JSON.stringify({ userId, sessionId });
  if (who !== person || waiting.length === MOST) await flush();
  person = who;
  waiting.push(event);
}
await flush();
