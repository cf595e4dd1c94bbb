// What is the same with all libraries: sessions of WHIP and WHEP, with the URLs that relay.mjs was given.
const [, , , whep, whip] = process.argv;

export const KINDS = ['audio', 'video'];

/** Sends the offer; gives the answer, and what ends the session. */
export async function session(url, token, offer) {
  const authorization = `Bearer ${token}`;
  const headers = { authorization, 'content-type': 'application/sdp' };
  const reply = await fetch(url, { method: 'POST', headers, body: offer });
  const answer = await reply.text();
  if (reply.status !== 201) throw new Error(`${reply.status} ${answer}`);
  const at = new URL(reply.headers.get('location'), reply.url);
  const end = async () => {
    const { status } = await fetch(at, { method: 'DELETE', headers: { authorization } });
    if (status !== 200) throw new Error(`DELETE: ${status}`);
  };
  return { answer, end };
}

/** Opens both sessions, and asks for a picture each second; what it gives ends that. */
export async function run(open, publisher, watcher, askForPicture) {
  const asking = setInterval(askForPicture, 1_000);
  const ends = [
    await open(publisher, whip, process.env.PUBLISH_TOKEN),
    await open(watcher, whep, process.env.WATCH_TOKEN),
  ];
  return async () => {
    clearInterval(asking);
    for (const end of ends) await end();
  };
}
