/**
 * What errors mean, and what to do, in words for people.
 *
 * Owns: the texts.
 * Never: shows a code without saying what helps.
 */
import type { CallEndReason, ConvokeError, ConvokeErrorCode, SlotReason } from '@convoke/client';

export interface Explanation {
  readonly title: string;
  readonly advice: string;
}

const ALLOW =
  'Click the symbol beside the address bar, allow it for this page, then try again. You can also go on without.';

const TEXTS: Record<ConvokeErrorCode, Explanation> = {
  notAuthenticated: {
    title: 'You are not signed in',
    advice: 'Reload the page and join again.',
  },
  tokenMissing: {
    title: 'An access token is needed',
    advice: 'Ask whoever runs this server for a token and paste it below.',
  },
  tokenInvalid: {
    title: 'This access token is not valid here',
    advice: 'Check that all of it was pasted and that it was made for this server.',
  },
  tokenExpired: {
    title: 'Your access token has expired',
    advice: 'Ask for a new token and join again.',
  },
  tokenNotYetValid: {
    title: 'Your access token is not valid yet',
    advice: 'Wait a moment; if it lasts, check the date and time of this computer.',
  },
  tokenRevoked: {
    title: 'Your access was withdrawn',
    advice: 'Ask whoever gave you the access token for a new one.',
  },
  tokenWrongCall: {
    title: 'Your token is for another call',
    advice: 'Check the call ID, or ask for a token for this call.',
  },
  scopeMissing: {
    title: 'Your token does not allow this',
    advice: 'Ask for a token that may join calls.',
  },
  protocolVersion: {
    title: 'This page and the server do not match',
    advice: 'Reload the page to get the version that fits the server.',
  },
  groupIdInvalid: {
    title: 'That is not a call ID',
    advice: 'Paste the whole link or ID that you were sent.',
  },
  callNotFound: {
    title: 'This call has not started',
    advice: 'Check the ID, or wait until someone who may start the call has joined.',
  },
  roomNotFound: {
    title: 'There is no such room',
    advice: 'Check the link that you were sent.',
  },
  roomNotInvited: {
    title: 'You are not on the list of this room',
    advice: 'Ask whoever made the room to add you.',
  },
  roomNotOpen: {
    title: 'This room is not open yet',
    advice: 'Come back when it begins.',
  },
  roomExpired: {
    title: 'The time of this room is over',
    advice: 'Ask for a new room.',
  },
  alreadyJoined: {
    title: 'You are in this call already',
    advice: 'Look for the other tab, or leave there first.',
  },
  notInCall: {
    title: 'You are no longer in the call',
    advice: 'Join again.',
  },
  sdpInvalid: {
    title: 'Browser and server could not agree on media',
    advice: 'Update the browser and try again.',
  },
  sdpWithoutAudio: {
    title: 'This browser offers no sound',
    advice: 'Use a current Chrome, Edge, Firefox or Safari.',
  },
  limitExceeded: {
    title: 'The call is full',
    advice: 'Try again when someone has left, or ask for a higher limit.',
  },
  busy: {
    title: 'The server is full at the moment',
    advice: 'Wait a minute and try again.',
  },
  draining: {
    title: 'The server is shutting down',
    advice: 'It takes no new participants. Try again in a minute, when it may be back.',
  },
  trackInvalid: {
    title: 'The server did not accept that device',
    advice: 'Leave and join again.',
  },
  trackNotFound: { title: 'That stream has ended', advice: 'Nothing needs to be done.' },
  viewInvalid: { title: 'That view is out of date', advice: 'Nothing needs to be done.' },
  resumeInvalid: { title: 'You were away too long', advice: 'Join again.' },
  notAllowed: {
    title: 'You may not do this in this call',
    advice: 'Ask whoever runs the call for permission.',
  },
  participantNotFound: {
    title: 'They are not here any more',
    advice: 'Nothing needs to be done.',
  },
  removedFromCall: {
    title: 'You were removed from this call',
    advice: 'Ask whoever runs the call.',
  },
  incomingCallNotFound: {
    title: 'That call does not ring any more',
    advice: 'Call back, if you like.',
  },
  malformedMessage: {
    title: 'The server did not understand this page',
    advice: 'Reload the page to get the version that fits the server.',
  },
  unknownType: {
    title: 'The server did not understand this page',
    advice: 'Reload the page to get the version that fits the server.',
  },
  internal: {
    title: 'Something went wrong',
    advice: 'Try again. If it stays, tell whoever runs this server.',
  },
  connectionFailed: {
    title: 'The server cannot be reached',
    advice: 'Check your network connection, then try again.',
  },
  connectionLost: {
    title: 'The connection to the server was lost',
    advice: 'Check your network connection, then join again.',
  },
  requestTimeout: {
    title: 'The server does not answer',
    advice: 'Check your network connection, then try again.',
  },
  notConnected: {
    title: 'There is no connection at the moment',
    advice: 'Wait until the call is connected again.',
  },
  disposed: { title: 'The call was closed', advice: 'Join again.' },
  callEnded: { title: 'The call has ended', advice: 'Join again, or start a new call.' },
  messageTooBig: {
    title: 'A message was larger than the server takes',
    advice: 'Tell whoever runs this server.',
  },
  takenOver: {
    title: 'You joined from elsewhere',
    advice: 'The call goes on in your other tab or device.',
  },
  notSupported: {
    title: 'This browser cannot do that here',
    advice: 'Use a current browser, and open the page by HTTPS or on localhost.',
  },
  microphoneDenied: { title: 'The microphone is blocked', advice: ALLOW },
  microphoneNotFound: {
    title: 'No microphone was found',
    advice: 'Plug one in, or go on and just listen.',
  },
  microphoneFailed: {
    title: 'The microphone does not work',
    advice: 'Another program may be using it. Close that, or choose another microphone.',
  },
  cameraDenied: { title: 'The camera is blocked', advice: ALLOW },
  cameraNotFound: {
    title: 'No camera was found',
    advice: 'Plug one in, or go on without a picture.',
  },
  cameraFailed: {
    title: 'The camera does not work',
    advice: 'Another program may be using it. Close that, or choose another camera.',
  },
  screenDenied: {
    title: 'The screen is not shared',
    advice: 'Choose a screen, window or tab to share. The system may also ask for permission.',
  },
  screenNotFound: { title: 'There is no screen to share', advice: 'Try again.' },
  screenFailed: {
    title: 'The screen could not be shared',
    advice: 'Try another window or screen.',
  },
  dataTooBig: { title: 'That message is too long', advice: 'Send it in several parts.' },
  dataQueueFull: {
    title: 'Too many messages wait to be sent',
    advice: 'Wait a moment; your connection may be slow.',
  },
  speakerFailed: { title: 'That speaker does not work', advice: 'Choose another one.' },
};

const REASONS: Record<number, Explanation> = {
  0: { title: 'You left the call', advice: 'You can join again at any time.' },
  5000: { title: 'The call was ended', advice: 'It was ended for everyone.' },
  3111: { title: 'You could not be let in', advice: 'Reload the page, then join again.' },
  4097: { title: 'The call was ended', advice: 'It was ended for everyone.' },
  4507: { title: 'Your access has expired', advice: 'Get a new access token, then join again.' },
  5300: { title: 'You were removed from the call', advice: 'Ask whoever runs the call.' },
  10003: { title: 'The call was accepted on another device', advice: 'It goes on there.' },
  10004: { title: 'Nobody answered', advice: 'Call again later.' },
  10037: { title: 'They cannot be reached', advice: 'None of their devices is connected.' },
  10057: {
    title: 'Sound and picture could not get through',
    advice: 'A firewall may block them. Try another network, then join again.',
  },
  10315: {
    title: 'You were unreachable for too long',
    advice: 'Check your network connection, then join again.',
  },
  70001: { title: 'The server is shutting down', advice: 'Join again in a minute.' },
  70002: { title: 'The server lost the call', advice: 'Join again.' },
};

export function explain(error: ConvokeError): Explanation {
  const text = TEXTS[error.code] as Explanation | undefined;
  return text ?? { title: 'The server refused this', advice: error.message };
}

/** Why a call ended. */
export function explainEnd(reason: CallEndReason, error: ConvokeError | undefined): Explanation {
  if (error !== undefined) return explain(error);
  const normal = reason.code === 0 && reason.subCode === 0;
  const known = normal || reason.subCode !== 0 ? REASONS[reason.subCode] : undefined;
  return known ?? { title: 'The call has ended', advice: reason.message };
}

/** Someone's pictures or sound do not open with our key. */
export function cannotDecrypt(name: string): Explanation {
  return {
    title: `What ${name} sends cannot be decrypted`,
    advice: 'Check that everyone has the same passphrase.',
  };
}

const LAYER_REASONS: Record<SlotReason, string> = {
  wish: 'as large as it is shown',
  bandwidth: 'your connection does not carry more',
  notPublished: 'the sender sends no more than this',
  noKeyframe: 'waiting for a full picture to begin with',
  hidden: 'it is not on the screen',
  muted: 'the sender has turned it off',
  codec: 'this browser cannot decode it',
  unknown: 'for another reason',
};

/** Why a picture is not better than it is. */
export function layerReason(reason: SlotReason): string {
  const text = LAYER_REASONS[reason] as string | undefined;
  return text ?? LAYER_REASONS.unknown;
}

/** One or two letters for an avatar. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => (word === undefined ? '' : ([...word][0] ?? '')))
    .join('');
  return letters === '' ? '?' : letters.toLocaleUpperCase();
}

/** A steady hue for a person, 0 to 359. */
export function hue(identity: string): number {
  let hash = 7;
  for (const char of identity) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 100_003;
  return (hash * 47) % 360;
}
