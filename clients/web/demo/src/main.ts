/**
 * The demo: from the start page into a call and out again.
 *
 * Owns: which page is shown, the agent and the call.
 * Never: keeps a token anywhere but in this module's memory.
 */
import './style/base.css';
import './style/start.css';
import './style/call.css';
import {
  type Call,
  type CallAgent,
  CallClient,
  ConvokeError,
  EncryptionKeyring,
} from '@convoke/client';
import { CallPage } from './callPage.js';
import { chosenCamera } from './camera.js';
import { endPage } from './endPage.js';
import { Incoming } from './incoming.js';
import { linkTo, readAddress } from './link.js';
import { lobbyPage } from './lobbyPage.js';
import { applyAudioChoice } from './pickers.js';
import { applyTheme, preferences } from './preferences.js';
import { type JoinRequest, StartPage } from './startPage.js';
import { TokenNeeded, tokensFor } from './token.js';
import { type Explanation, explain, explainEnd } from './words.js';

declare global {
  interface Window {
    /** For the console and for tests. */
    convoke: { client: CallClient; agent: CallAgent | undefined; call: Call | undefined };
  }
}

const client = new CallClient({ appName: 'convoke-demo' });
const devices = await client.getDeviceManager();
const app = document.querySelector<HTMLElement>('#app') ?? document.body;
const address = readAddress(location.href);
let startPage: StartPage | undefined;
let token = '';
let askToken = false;
let incoming: Incoming | undefined;

window.convoke = { client, agent: undefined, call: undefined };
applyTheme();
window.addEventListener('pagehide', () => void window.convoke.call?.hangUp());
if (address.autojoin && address.callId !== undefined) await autojoin(address.callId);
else showStart(address.callId);
if (address.identity !== undefined && !address.autojoin) await beReachable();

function showStart(callId: string | undefined, problem?: Explanation): void {
  startPage?.dispose();
  const page = new StartPage({
    devices,
    callId,
    name: address.name ?? preferences.name,
    askToken,
    token,
    problem,
    onJoin: join,
  });
  startPage = page;
  app.replaceChildren(page.element);
}

async function autojoin(callId: string): Promise<void> {
  const name = address.name ?? (preferences.name || 'Guest');
  const camera = address.camera ? await chosenCamera(devices) : undefined;
  try {
    await join({ name, callId, token: '', microphone: address.microphone, camera });
  } catch (error) {
    camera?.dispose();
    showStart(callId, explain(known(error)));
  }
}

/** Resolves once in the call, with the call page shown. */
async function join(request: JoinRequest): Promise<void> {
  token = request.token;
  const agent = await connect(request);
  try {
    await applyAudioChoice(devices).catch(() => undefined);
    const keys = await encryptionKeys(request.callId);
    const call = agent.join(
      { groupId: request.callId },
      {
        ...(address.lobby === undefined ? {} : { lobby: address.lobby }),
        audioOptions: { muted: !request.microphone },
        videoOptions: {
          localVideoStreams: request.camera === undefined ? [] : [request.camera],
          camera: address.video,
        },
        ...(keys === undefined ? {} : { encryption: { keys } }),
      },
    );
    window.convoke = { client, agent, call };
    await connected(call);
    history.replaceState(null, '', linkTo(call.groupId, ''));
    showCall(agent, call, request);
  } catch (error) {
    await agent.dispose();
    window.convoke = { client, agent: undefined, call: undefined };
    throw error;
  }
}

/** Everyone with the passphrase makes the same key of it. */
async function encryptionKeys(callId: string): Promise<EncryptionKeyring | undefined> {
  if (address.passphrase === undefined) return undefined;
  const keys = new EncryptionKeyring();
  await keys.setPassphrase(0, address.passphrase, `convoke:${callId}`);
  return keys;
}

async function connect({ name, token: pasted }: JoinRequest): Promise<CallAgent> {
  try {
    const { identity, role, guest } = address;
    const tokens = await tokensFor(name, pasted, { identity, role, guest });
    return await client.createCallAgent(tokens, { displayName: name });
  } catch (error) {
    if (!(error instanceof TokenNeeded)) throw error;
    askToken = true;
    startPage?.askToken(true);
    throw new ConvokeError('tokenMissing', 'This server makes no tokens for the demo.');
  }
}

function connected(call: Call): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      if (call.state === 'InLobby') app.replaceChildren(lobbyPage(call));
      if (call.state === 'Connected') resolve();
      else if (call.state === 'Disconnected') {
        reject(call.error ?? new ConvokeError('callEnded', call.callEndReason?.message ?? ''));
      } else return;
      call.off('stateChanged', settle);
    };
    call.on('stateChanged', settle);
  });
}

function showCall(agent: CallAgent, call: Call, request: JoinRequest): void {
  startPage?.dispose();
  startPage = undefined;
  const page = new CallPage({ agent, call, devices });
  app.replaceChildren(page.element);
  call.on('stateChanged', () => {
    if (call.state !== 'Disconnected') return;
    page.dispose();
    void agent.dispose();
    showEnd(call, request);
  });
}

function showEnd(call: Call, request: JoinRequest): void {
  const reason = call.callEndReason ?? { code: 0, subCode: 0, message: '' };
  const page = endPage({
    reason: explainEnd(reason, call.error),
    wanted: reason.code === 0 && call.error === undefined,
    onRejoin: () => void rejoin(request),
    onHome: () => {
      history.replaceState(null, '', '/');
      showStart(undefined);
    },
  });
  app.replaceChildren(page);
  page.querySelector('button')?.focus();
}

async function rejoin(request: JoinRequest): Promise<void> {
  for (const button of app.querySelectorAll('button')) button.disabled = true;
  try {
    const camera = request.camera === undefined ? undefined : await chosenCamera(devices);
    await join({ ...request, camera });
  } catch (error) {
    showStart(request.callId, explain(known(error)));
  }
}

/** Waits for calls on the start page, and makes some. */
async function beReachable(): Promise<void> {
  const { identity, role, guest } = address;
  const name = address.name ?? (preferences.name || identity || 'Guest');
  const tokens = await tokensFor(name, '', { identity, role, guest }).catch(() => undefined);
  if (tokens === undefined) return;
  const agent = await client.createCallAgent(tokens, { displayName: name });
  window.convoke = { client, agent, call: undefined };
  const options = { audioOptions: { muted: !address.microphone } };
  const enter = async (call: Call): Promise<void> => {
    window.convoke = { client, agent, call };
    try {
      await connected(call);
      incoming?.dispose();
      showCall(agent, call, request(call.groupId));
    } catch (error) {
      startPage?.showProblem(explain(known(error)));
    }
  };
  const request = (callId: string): JoinRequest => ({
    name,
    callId,
    token: '',
    microphone: address.microphone,
    camera: undefined,
  });
  incoming = new Incoming({
    agent,
    onAccept: (ringing) => void enter(ringing.accept(options)),
    onCall: (whom) => void enter(agent.startCall([whom], options)),
  });
  app.prepend(incoming.element);
}

function known(error: unknown): ConvokeError {
  return error instanceof ConvokeError ? error : new ConvokeError('internal', String(error));
}
