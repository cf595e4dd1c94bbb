// A client of the server, as far as signalling goes: it joins calls and answers those that ring.
// Its offers are good, but nothing is behind them; a call of it lasts as long as media may be away.
import { WebSocket } from 'ws';

const FINGERPRINT = Array.from({ length: 32 }, (_, at) =>
  (at * 7 + 1).toString(16).padStart(2, '0').toUpperCase(),
).join(':');

/** An SDP offer with one audio m-line. */
const offer = (direction) => ({
  sdp: [
    'v=0',
    'o=- 1 1 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    'm=audio 9 UDP/TLS/RTP/SAVPF 111',
    'c=IN IP4 0.0.0.0',
    'a=ice-ufrag:convoke1',
    'a=ice-pwd:0123456789abcdef01234567',
    `a=fingerprint:sha-256 ${FINGERPRINT}`,
    'a=setup:actpass',
    'a=mid:0',
    'a=rtcp-mux',
    `a=${direction}`,
    'a=rtpmap:111 opus/48000/2',
    '',
  ].join('\r\n'),
});
const OFFERS = { send: offer('sendonly'), receive: offer('recvonly') };
const MICROPHONE = { clientId: 'mic', source: 'microphone', mid: '0' };

export class Agent {
  #socket;
  #next = 1;
  #heard = [];
  #call;
  #wake = () => {};

  /** An agent that has said `hello`. */
  static async connect(url, token) {
    const agent = new Agent();
    const socket = new WebSocket(`${url.replace('http', 'ws')}agent`, 'convoke.v1');
    agent.#socket = socket;
    socket.on('message', (text) => {
      const message = JSON.parse(text);
      if (message.type === 'joined') agent.#call = message.callId;
      if (message.type === 'ended' && message.callId === agent.#call) agent.#call = undefined;
      agent.#heard.push(message);
      agent.#wake();
    });
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error('the WebSocket failed'));
    });
    await agent.ask({ type: 'hello', protocol: 1, token });
    return agent;
  }

  /** The first message that `wanted` likes, which is then forgotten. */
  async heard(wanted, seconds = 15) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const at = this.#heard.findIndex(wanted);
      if (at >= 0) return this.#heard.splice(at, 1)[0];
      if (Date.now() > end) {
        throw new Error(`not heard; but ${this.#heard.map(({ type }) => type)}`);
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 200);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The answer to a request; refusals throw. */
  async ask(message) {
    const requestId = this.#next++;
    this.#socket.send(JSON.stringify({ ...message, requestId }));
    const answer = await this.heard((one) => one.requestId === requestId);
    if (answer.type === 'error') throw new Error(`${answer.code}: ${answer.message}`);
    return answer;
  }

  join(groupId) {
    return this.ask({ type: 'join', groupId, ...OFFERS, tracks: [MICROPHONE] });
  }

  /** Goes into the call that it is moved to. */
  async follow() {
    const { groupId } = await this.heard(({ type }) => type === 'moved');
    return this.join(groupId);
  }

  startCall(targets) {
    return this.ask({ type: 'startCall', targets, ...OFFERS, tracks: [MICROPHONE] });
  }

  /** The next call that rings. */
  async accept() {
    const { incomingCallId } = await this.heard(({ type }) => type === 'incomingCall');
    return this.ask({ type: 'acceptCall', incomingCallId, ...OFFERS, tracks: [MICROPHONE] });
  }

  async reject(busy = false) {
    const { incomingCallId } = await this.heard(({ type }) => type === 'incomingCall');
    return this.ask({ type: 'rejectCall', incomingCallId, busy });
  }

  /** Why the call ended. */
  ended() {
    return this.heard(({ type }) => type === 'ended');
  }

  leave(callId) {
    return this.ask({ type: 'leave', callId });
  }

  /** Leaves the call that it is in, and goes. */
  async close() {
    if (this.#call) await this.leave(this.#call);
    this.#socket.close();
  }
}
