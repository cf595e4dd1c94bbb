// Generated from crates/convoke-protocol; do not edit.
// To generate anew: UPDATE_TYPESCRIPT=1 cargo test -p convoke-protocol --test typescript

/** Sent in `hello`. */
export const PROTOCOL_VERSION = 1;

/** The WebSocket subprotocol. */
export const SUBPROTOCOL = "convoke.v1";

/** WebSocket close codes of the server. */
export const CLOSE = {
  /** The server stops or restarts. */
  GOING_AWAY: 1001,
  /** A message was larger than the limit. */
  TOO_BIG: 1009,
  /** A binary message came; all messages are text. */
  NOT_TEXT: 4400,
  /** No `hello` was accepted in time. */
  NOT_AUTHENTICATED: 4401,
  /** The token was revoked, or its identity deleted. */
  TOKEN_REVOKED: 4403,
  /** Nothing was heard from the client for too long. */
  PING_TIMEOUT: 4408,
  /** The participant was resumed on a newer WebSocket. */
  TAKEN_OVER: 4409,
  /** The client read too slowly; it may resume. */
  SLOW_READER: 4413,
  /** Too many messages in too short a time. */
  TOO_MANY_MESSAGES: 4429,
} as const;

/** Any message from the client. */
export type ClientMessage =
  | { "type": "hello" } & Hello
  | { "type": "join" } & Join
  | { "type": "resume" } & Resume
  | { "type": "offer" } & OfferMessage
  | { "type": "publish" } & Publish
  | { "type": "unpublish" } & Unpublish
  | { "type": "mute" } & Mute
  | { "type": "view" } & ViewMessage
  | { "type": "explain" } & Explain
  | { "type": "data" } & SendData
  | { "type": "setRole" } & SetRole
  | { "type": "muteParticipants" } & MuteParticipants
  | { "type": "removeParticipant" } & RemoveParticipant
  | { "type": "startSpotlight" } & StartSpotlight
  | { "type": "stopSpotlight" } & StopSpotlight
  | { "type": "raiseHand" } & RaiseHand
  | { "type": "lowerHands" } & LowerHands
  | { "type": "admit" } & Admit
  | { "type": "reject" } & Reject
  | { "type": "startCall" } & StartCall
  | { "type": "acceptCall" } & AcceptCall
  | { "type": "rejectCall" } & RejectCall
  | { "type": "leave" } & Leave
  | { "type": "ping" } & Ping;

/** Any message from the server. */
export type ServerMessage =
  | { "type": "welcome" } & Welcome
  | { "type": "joined" } & Joined
  | { "type": "resumed" } & Resumed
  | { "type": "snapshot" } & Snapshot
  | { "type": "answer" } & Answer
  | { "type": "ack" } & Ack
  | { "type": "participantJoined" } & ParticipantJoined
  | { "type": "participantLeft" } & ParticipantLeft
  | { "type": "participantUpdated" } & ParticipantUpdated
  | { "type": "trackPublished" } & TrackPublished
  | { "type": "trackUnpublished" } & TrackUnpublished
  | { "type": "trackUpdated" } & TrackUpdated
  | { "type": "slots" } & SlotsChanged
  | { "type": "demand" } & Demand
  | { "type": "explained" } & Explained
  | { "type": "speakers" } & Speakers
  | { "type": "data" } & Data
  | { "type": "dataClosed" } & DataClosed
  | { "type": "inLobby" } & InLobby
  | { "type": "roleChanged" } & RoleChanged
  | { "type": "capabilitiesChanged" } & CapabilitiesChanged
  | { "type": "spotlightChanged" } & SpotlightChanged
  | { "type": "raisedHandsChanged" } & RaisedHandsChanged
  | { "type": "lobbyParticipantsUpdated" } & LobbyParticipantsUpdated
  | { "type": "mutedByOthers" } & MutedByOthers
  | { "type": "moved" } & Moved
  | { "type": "incomingCall" } & IncomingCall
  | { "type": "incomingCallEnded" } & IncomingCallEnded
  | { "type": "ringUpdated" } & RingUpdated
  | { "type": "ended" } & Ended
  | { "type": "error" } & ErrorReply
  | { "type": "pong" } & Pong;

/** `hello`: who the app acts for. Answered by `welcome`. */
export type Hello = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** `PROTOCOL_VERSION`. */
  protocol: number,
  /** The access token (JWT, RFC 7519). Never put it in a URL. */
  token: string,
  /** A name to show where the token gives none; at most 256 bytes. */
  displayName?: string,
  /** Name and version of the app or SDK, for logs. */
  userAgent?: string,
};

/** `join`: answered by `joined`, or by `error` with no state made. */
export type Join = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /**
   * The group call ID: a GUID in any usual spelling. Exactly one of this and `roomId` is
   * given.
   */
  groupId?: string,
  /** The id of a scheduled room. */
  roomId?: string,
  /** The offer of the send transport; absent for a viewer. */
  send?: SessionDescription,
  /** The offer of the receive transport (its m-lines are the slots); absent for a pure sender. */
  receive?: SessionDescription,
  /** Tracks published from the start; none when absent. */
  tracks?: Array<TrackDeclaration>,
  /**
   * Who shall wait in the lobby, if this join starts the call; the server's default when
   * absent.
   */
  lobby?: LobbyPolicy,
};

/** `resume`: answered by `resumed`, or by `error` (`resumeInvalid`) when the grace time is over. */
export type Resume = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  resumeToken: string,
};

/** `offer`: answered by `answer`. */
export type OfferMessage = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Which transport the offer is for. */
  transport: TransportRole,
  /** The new offer. */
  sdp: string,
};

/** `publish`: answered by `trackPublished` to everyone and by `ack` to the publisher. */
export type Publish = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** What is published. */
  track: TrackDeclaration,
};

/** `unpublish`: answered by `ack`. */
export type Unpublish = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** The track's `clientId`. */
  clientId: string,
};

/** `mute`: answered by `ack`. */
export type Mute = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** The track's `clientId`. */
  clientId: string,
  /** The wanted state. */
  muted: boolean,
};

/**
 * `view`: answered by `ack`; slots that are not named are filled by the default policy.
 * `slots: null` or absent returns all of them to the default policy.
 */
export type ViewMessage = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** The wishes, at most one for a video slot. */
  slots?: Array<SlotWish>,
};

/** `explain`: answered by `explained`. */
export type Explain = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
};

/** `data` from a client: a message to others. Answered by `ack` once the server has taken it. */
export type SendData = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /**
   * The `participantId`s of those who shall get it; everyone else when absent, nobody when
   * empty.
   */
  to?: Array<string>,
  /** How hard it is tried. */
  reliability: Reliability,
  /** What it is about; at most 64 bytes. */
  topic?: string,
  /** What it says: base64 (RFC 4648 §4, with padding) of at most 16 KiB. */
  payload: string,
};

/** `leave`: answered by `ended`. */
export type Leave = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined` or `inLobby`. */
  callId: string,
  /** Ends the call for everyone; false when absent. */
  forEveryone?: boolean,
};

/** `ping`: answered by `pong`. */
export type Ping = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
};

/** `welcome`: the agent is authenticated. */
export type Welcome = {
  /** The number of the request that this answers. */
  requestId?: number,
  /** The server's id of this agent (this WebSocket). */
  agentId: string,
  /** The identity that the token names. */
  identity: string,
  /** The name that others will see. */
  displayName: string,
  /** What the token allows. */
  scopes: Array<Scope>,
  /** When the token expires: milliseconds since the Unix epoch. */
  expiresAtMs: number,
  /** Limits to keep. */
  limits: Limits,
  /**
   * Send a `ping` at least this often; twice this long without a message and the server
   * takes the WebSocket for dead.
   */
  pingIntervalMs: number,
  /** For both peer connections. */
  iceServers: Array<IceServer>,
};

/** `joined`: answers, roster and slot table in one. */
export type Joined = {
  /** The number of the request that this answers. */
  requestId?: number,
  /** The server's id of the call; every later message names it. */
  callId: string,
  /** The group ID, in canonical form (lower case with hyphens); absent in a scheduled room. */
  groupId?: string,
  /** The id of the scheduled room, where that is what was joined. */
  roomId?: string,
  /** As what this client is in the room, where it is in one. */
  role?: Role,
  /** This client's own id in the call. */
  participantId: string,
  /** Secret; opens `resume` for this participant. */
  resumeToken: string,
  /** How long a lost WebSocket may take to resume. */
  resumeGraceMs: number,
  /** The answer for the send transport, if it was offered. */
  send?: SessionDescription,
  /** The answer for the receive transport, if it was offered. */
  receive?: SessionDescription,
  /** The call's state count. */
  version: number,
  /** Everyone in the call, this client included. */
  participants: Array<Participant>,
  /** All of this client's slots, in m-line order. */
  slots: Array<Slot>,
};

/** `resumed`: a snapshot that replaces all that the client knew. */
export type Resumed = {
  /** The number of the request that this answers. */
  requestId?: number,
  /** The call. */
  callId: string,
  /** The group ID, in canonical form; absent in a scheduled room. */
  groupId?: string,
  /** The id of the scheduled room, where that is what was joined. */
  roomId?: string,
  /** As what this client is in the room, where it is in one. */
  role?: Role,
  /** This client's own id in the call, as before. */
  participantId: string,
  /** Replaces the old resume token. */
  resumeToken: string,
  /** The call's state count. */
  version: number,
  /** Everyone in the call, this client included. */
  participants: Array<Participant>,
  /** All of this client's slots. */
  slots: Array<Slot>,
};

/**
 * `snapshot`: replaces all that the client knew of the call. Sent unasked for when the server
 * had to skip changes; like every change it is ignored when its version is not greater.
 */
export type Snapshot = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** Everyone in the call, this client included. */
  participants: Array<Participant>,
  /** All of this client's slots. */
  slots: Array<Slot>,
};

/** `answer`: to an `offer`. */
export type Answer = {
  /** The number of the request that this answers. */
  requestId?: number,
  /** The call. */
  callId: string,
  /** Which transport it is for. */
  transport: TransportRole,
  /** The SDP answer. */
  sdp: string,
  /** All slots after the answer (receive transport only; empty otherwise). */
  slots: Array<Slot>,
};

/** `ack`: done. */
export type Ack = {
  /** The number of the request that this answers. */
  requestId?: number,
};

/** `pong`: to a `ping`. */
export type Pong = {
  /** The number of the request that this answers. */
  requestId?: number,
};

/** `participantJoined`. */
export type ParticipantJoined = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** Who. */
  participant: Participant,
};

/** `participantLeft`: also ends the participant's tracks. */
export type ParticipantLeft = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** Who. */
  participantId: string,
  /** Why. */
  reason: EndReason,
};

/** `participantUpdated`. */
export type ParticipantUpdated = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** Who. */
  participantId: string,
  /** The new connection state. */
  connection: Connection,
};

/** `trackPublished`. */
export type TrackPublished = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** Whose. */
  participantId: string,
  /** What. */
  track: Track,
};

/** `trackUnpublished`. */
export type TrackUnpublished = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** Whose. */
  participantId: string,
  /** Which. */
  trackId: string,
};

/** `trackUpdated`. */
export type TrackUpdated = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** Whose. */
  participantId: string,
  /** The track as it is now. */
  track: Track,
};

/** `slots`: only those that changed. */
export type SlotsChanged = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** The slots as they are now. */
  slots: Array<Slot>,
};

/**
 * `demand`: which encodings of a track of this client's anybody wants. It should send those and
 * no others. Each replaces the former one of the same track.
 */
export type Demand = {
  /** The call. */
  callId: string,
  /** The client's own id of the track. */
  clientId: string,
  /** All its encodings, lowest first. */
  encodings: Array<EncodingDemand>,
};

/** `explained`: to an `explain`. */
export type Explained = {
  /** The number of the request that this answers. */
  requestId?: number,
  /** The call. */
  callId: string,
  /** What and why. */
  explanation: Explanation,
};

/**
 * `speakers`: at most five times a second. Not part of a snapshot: after `joined` or
 * `resumed` nobody is known to speak until the next of these.
 */
export type Speakers = {
  /** The call that changed. */
  callId: string,
  /** The call's state count after the change. */
  version: number,
  /** The participant who has the floor, if anyone; changes at most once a second. */
  dominant?: string,
  /** The participants who speak now, at most 16. */
  speaking: Array<string>,
};

/** `data` from the server: a message of another participant. Has no version and is in no snapshot. */
export type Data = {
  /** The call. */
  callId: string,
  /** The `participantId` of who sent it. */
  from: string,
  /** How hard it was tried. */
  reliability: Reliability,
  /** What it is about. */
  topic?: string,
  /** What it says, in base64. */
  payload: string,
};

/**
 * `dataClosed`: the server closed a data channel of this client's. What follows comes over the
 * WebSocket until the client opens another.
 */
export type DataClosed = {
  /** The call. */
  callId: string,
  /** Which channel. */
  reliability: Reliability,
  /** Why. */
  reason: DataCloseReason,
  /** How long to wait before another is opened, where waiting helps. */
  retryAfterMs?: number,
};

/** Why the server closed a data channel. */
export type DataCloseReason =
  | "slowReader"
  | "tooFast";

/** How hard it is tried to deliver a data message (the words of ACS, in lower case). */
export type Reliability =
  | "durable"
  | "lossy";

/** `ended`: the client's part in the call is over; its transports are closed. */
export type Ended = {
  /** The `leave` that this answers, if it does. */
  requestId?: number,
  /** The call. */
  callId: string,
  /** 0 for a normal end, else a SIP-like status. */
  code: number,
  /** The detail; see the table in `PROTOCOL.md`. */
  subCode: number,
  /** For people; not stable. */
  message: string,
};

/**
 * Why a call ended for a participant. `code` is SIP-like, `subCode` refines it (ACS words; the
 * sub-codes from 70000 are ours).
 */
export type EndReason = {
  /** 0 for a normal end, else a SIP-like status. */
  code: number,
  /** The detail; see the table in `PROTOCOL.md`. */
  subCode: number,
  /** For people; not stable. */
  message: string,
};

/** `error`: what was refused, why, and what to do. */
export type ErrorReply = {
  /** The request that was refused, if it gave a number. */
  requestId?: number,
  /** Stable; decide by this. */
  code: ErrorCode,
  /** For people: what is wrong and how to mend it. Not stable. */
  message: string,
  /** The field at fault, as a path (`tracks[0].mid`). */
  field?: string,
  /** How long to wait before trying again, where trying again helps. */
  retryAfterMs?: number,
  /** The ACS code and sub-code, where ACS has them for this. */
  reason?: EndReason,
};

/** Stable error codes. `PROTOCOL.md` says for each what to do. */
export type ErrorCode =
  | "notAuthenticated"
  | "tokenMissing"
  | "tokenInvalid"
  | "tokenExpired"
  | "tokenNotYetValid"
  | "tokenRevoked"
  | "tokenWrongCall"
  | "scopeMissing"
  | "protocolVersion"
  | "groupIdInvalid"
  | "callNotFound"
  | "roomNotFound"
  | "roomNotInvited"
  | "roomNotOpen"
  | "roomExpired"
  | "alreadyJoined"
  | "notInCall"
  | "sdpInvalid"
  | "sdpWithoutAudio"
  | "limitExceeded"
  | "busy"
  | "draining"
  | "trackInvalid"
  | "trackNotFound"
  | "viewInvalid"
  | "resumeInvalid"
  | "notAllowed"
  | "participantNotFound"
  | "removedFromCall"
  | "incomingCallNotFound"
  | "malformedMessage"
  | "unknownType"
  | "internal";

/** One participant of a call, as every other participant sees it. */
export type Participant = {
  /** Unique in the call, and the same over a resume. */
  participantId: string,
  /** The 32-bit value that this participant's packets carry as CSRC (RFC 3550 §5.1) in slots. */
  csrc: number,
  /** The identity named by the access token's `sub`. */
  identity: string,
  /** The name to show; may be empty. */
  displayName: string,
  /** Whether the participant's app is reachable now. */
  connection: Connection,
  /** What the participant publishes. */
  tracks: Array<Track>,
};

/** A published track, as every participant sees it. */
export type Track = {
  /** The server's id of the track, unique in its call. */
  trackId: string,
  /** The publisher's own id of it. */
  clientId: string,
  /** What it carries. */
  source: Source,
  /** Whether its publisher muted it. */
  muted: boolean,
  /** Whether its payloads are encrypted end to end; false when absent. */
  encrypted?: boolean,
};

/** What the client says of a track it publishes. */
export type TrackDeclaration = {
  /** The client's own id of the track; echoed in `Track::client_id`. 1 to 64 bytes. */
  clientId: string,
  /** What the track carries; decides its media kind. */
  source: Source,
  /** The `a=mid` of the m-line on the *send* transport that carries it. */
  mid: string,
  /** Whether it starts muted (published, but silent or black by intent); false when absent. */
  muted?: boolean,
  /** Its encodings, lowest quality first; at most 4. Absent: the server goes by what it sees. */
  encodings?: Array<Encoding>,
  /**
   * Whether its payloads are encrypted end to end: the server then goes by header extensions
   * alone; false when absent.
   */
  encrypted?: boolean,
};

/** One encoding of a video track (W3C WebRTC `RTCRtpEncodingParameters`). */
export type Encoding = {
  /** Its RID (RFC 8851), 1 to 8 characters; absent for the only encoding of a track. */
  rid?: string,
  /** The width of its pictures in pixels. */
  width?: number,
  /** The height of its pictures in pixels. */
  height?: number,
  /** The most that it takes, in bit/s. */
  maxBitrate?: number,
  /** The most frames in a second. */
  maxFramerate?: number,
};

/** Whether one encoding of a published track is wanted by anybody. */
export type EncodingDemand = {
  /** Its RID; absent for the only encoding of a track. */
  rid?: string,
  /** Whether it should be sent. */
  active: boolean,
};

/** One receive slot: an m-line of the client's *receive* transport. */
export type Slot = {
  /** The `a=mid` of the slot's m-line. */
  mid: string,
  /** Audio or video. */
  kind: MediaKind,
  /** The slot's index among the slots of its kind, from 0, in m-line order. */
  index: number,
  /** Whose track is assigned, if any. */
  participantId?: string,
  /** Which track is assigned, if any. */
  trackId?: string,
  /** What the slot is doing. */
  state: SlotState,
  /** The layer that it is for (video slots). */
  layer?: Layer,
  /** Why not more (video slots that hold a track). */
  reason?: SlotReason,
};

/** What a slot is doing. */
export type SlotState =
  | "empty"
  | "waiting"
  | "active"
  | "paused"
  | "codecNotSupported";

/** Why a slot gets what it gets. */
export type SlotReason =
  | "wish"
  | "bandwidth"
  | "notPublished"
  | "noKeyframe"
  | "hidden"
  | "muted"
  | "codec"
  | "unknown";

/** A quality of a track: resolution first, frame rate second. */
export type Layer = {
  /** Which picture size, from 0: a simulcast encoding or an SVC spatial layer. */
  spatial: number,
  /** Which frame rate of that size, from 0. */
  temporal: number,
};

/** What the client wants one video slot to show. Exactly one of `trackId` and `follow` is given. */
export type SlotWish = {
  /** The `a=mid` of a video slot. */
  mid: string,
  /** Show this track. */
  trackId?: string,
  /** Show whatever this policy chooses. */
  follow?: Follow,
  /** The width at which it will be shown, in physical pixels; a hint. */
  width?: number,
  /**
   * The height at which it will be shown, in physical pixels; a hint. A side of 0 means that it
   * is not visible: nothing is sent.
   */
  height?: number,
  /** The most frames in a second that are of use; a hint. */
  maxFramerate?: number,
  /** Higher is served first when bandwidth is short; 0 when absent. */
  priority?: number,
};

/** A policy by which the server fills a video slot. */
export type Follow =
  | "activeSpeaker"
  | "screenShare";

/** An SDP body (RFC 8866). Offers travel to the server, answers to the client, never the reverse. */
export type SessionDescription = {
  /** The SDP text, as from `RTCSessionDescription.sdp`. */
  sdp: string,
};

/** Which of a participant's two transports (peer connections) is meant. */
export type TransportRole =
  | "send"
  | "receive";

/** Audio or video (RFC 8866 media types). */
export type MediaKind =
  | "audio"
  | "video";

/** What a track shows or carries. */
export type Source =
  | "microphone"
  | "camera"
  | "screen"
  | "screenAudio";

/** Whether a participant's app is reachable. */
export type Connection =
  | "connected"
  | "reconnecting";

/** An access scope (ACS words). */
export type Scope =
  | "voip"
  | "voip.join";

/** Limits the client should know. */
export type Limits = {
  /** The largest accepted WebSocket message, in bytes; larger ones close the socket (1009). */
  maxMessageBytes: number,
  /** How many audio slots a client should offer. */
  audioSlots: number,
  /** How many video slots a client should offer. */
  videoSlots: number,
};

/** An `RTCIceServer` (W3C WebRTC §4.2.4) to hand to the peer connections. */
export type IceServer = {
  /** `stun:` and `turn:` URLs. */
  urls: Array<string>,
  /** TURN user name. */
  username?: string,
  /** TURN password. */
  credential?: string,
};

/** What one participant sends and receives, and why. All bitrates are in bit/s. */
export type Explanation = {
  /**
   * What the path to the participant is estimated to carry; absent where nobody estimates (no
   * transport-wide congestion control on the receive transport).
   */
  estimate?: number,
  /** What its video slots are counted with. */
  allocated: number,
  /** What all its wishes and audio would take, with headroom. */
  desired: number,
  /** What is set aside for audio. */
  audio: number,
  /** The round trip on the receive transport. */
  rttMs?: number,
  /** The share of packets to the participant that was lost lately, 0 to 1. */
  loss?: number,
  /** Its slots, in m-line order. */
  slots: Array<SlotExplanation>,
  /** What it publishes. */
  tracks: Array<TrackExplanation>,
};

/** One slot of an `Explanation`. */
export type SlotExplanation = {
  /** The `a=mid` of the slot's m-line. */
  mid: string,
  /** Whose track is assigned. */
  participantId?: string,
  /** Which track is assigned. */
  trackId?: string,
  /** What it is doing. */
  state: SlotState,
  /** Why not more (video slots that hold a track). */
  reason?: SlotReason,
  /** The wished width. */
  wishedWidth?: number,
  /** The wished height. */
  wishedHeight?: number,
  /** The wish's priority. */
  priority: number,
  /** What was allocated to it. */
  allocated?: Layer,
  /** What is forwarded now. */
  layer?: Layer,
  /** The width of what is forwarded, if known. */
  width?: number,
  /** The height of what is forwarded, if known. */
  height?: number,
  /** What it is counted with. */
  bitrate: number,
  /** Milliseconds since the last keyframe that was forwarded. */
  lastKeyframeMs?: number,
};

/** One published track of an `Explanation`. */
export type TrackExplanation = {
  /** The server's id of the track. */
  trackId: string,
  /** The publisher's own id of it. */
  clientId: string,
  /** The best that anybody wants of it; absent when nobody watches. */
  wanted?: Layer,
  /** Its encodings, lowest first. */
  encodings: Array<EncodingExplanation>,
};

/** One encoding of a `TrackExplanation`. */
export type EncodingExplanation = {
  /** Its RID; absent for the only encoding. */
  rid?: string,
  /** The width of its pictures, if known. */
  width?: number,
  /** The height of its pictures, if known. */
  height?: number,
  /** Measured. */
  bitrate: number,
  /** Measured frames in a second. */
  framerate: number,
  /** Whether it comes in now. */
  flowing: boolean,
  /** Keyframes asked for so far. */
  keyframeRequests: number,
};

/** `setRole`: answered by `ack`. */
export type SetRole = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Whose; it is given to the identity, on all its devices, while the call lives. */
  participantId: string,
  /** The new role. */
  role: Role,
};

/** `muteParticipants`: mutes the microphones of others. Answered by `ack`. */
export type MuteParticipants = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Whose; everyone else's when absent. */
  participantIds?: Array<string>,
};

/**
 * `removeParticipant`: removes an identity, on all its devices, for as long as the call lives.
 * Answered by `ack`.
 */
export type RemoveParticipant = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Who. */
  participantId: string,
};

/** `startSpotlight`: answered by `ack`. */
export type StartSpotlight = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Who comes into the spotlight, behind those who are there. */
  participantIds: Array<string>,
};

/** `stopSpotlight`: answered by `ack`. */
export type StopSpotlight = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Who; everyone when absent. */
  participantIds?: Array<string>,
};

/** `raiseHand`: answered by `ack`. */
export type RaiseHand = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
};

/** `lowerHands`: answered by `ack`. */
export type LowerHands = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Whose; the client's own when absent. */
  participantIds?: Array<string>,
};

/** `admit`: lets participants in from the lobby. Answered by `ack`. */
export type Admit = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Who; everyone who waits when absent. */
  participantIds?: Array<string>,
};

/** `reject`: turns participants in the lobby away. Answered by `ack`. */
export type Reject = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `joined`. */
  callId: string,
  /** Who; everyone who waits when absent. */
  participantIds?: Array<string>,
};

/** `startCall`: starts a call and rings. Answered by `joined`, or by `error` with no state made. */
export type StartCall = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** The identities to ring, each once. */
  targets: Array<string>,
  /** Of the app's own, for those who are called. */
  customContext?: string,
  /** How long to ring; the server's own time when absent. */
  timeoutMs?: number,
  /** As in `join`. */
  send?: SessionDescription,
  /** As in `join`. */
  receive?: SessionDescription,
  /** As in `join`. */
  tracks?: Array<TrackDeclaration>,
};

/** `acceptCall`: joins the call that rings. Answered by `joined`, or by `error`. */
export type AcceptCall = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `incomingCall`. */
  incomingCallId: string,
  /** As in `join`. */
  send?: SessionDescription,
  /** As in `join`. */
  receive?: SessionDescription,
  /** As in `join`. */
  tracks?: Array<TrackDeclaration>,
};

/** `rejectCall`: answered by `ack`. */
export type RejectCall = {
  /** The client's number for this request; the reply repeats it. */
  requestId?: number,
  /** From `incomingCall`. */
  incomingCallId: string,
  /**
   * Only this device is busy; the identity's others go on ringing. False when absent: the
   * call is declined on all of them.
   */
  busy?: boolean,
};

/**
 * `inLobby`: the answer to a `join` that must wait. `joined`, without `requestId`, or `ended`
 * follows.
 */
export type InLobby = {
  /** The request that this answers. */
  requestId?: number,
  /** The call. */
  callId: string,
  /** The group ID, in canonical form; absent in a scheduled room. */
  groupId?: string,
  /** The id of the scheduled room, in one. */
  roomId?: string,
  /** This client's own id, the same when it is let in. */
  participantId: string,
  /** How long it may wait. */
  timeoutMs: number,
};

/** `roleChanged`: what this client is in the call. */
export type RoleChanged = {
  /** The call. */
  callId: string,
  /** Absent: it has no role. */
  role?: Role,
};

/** `capabilitiesChanged`: what this client may do in the call. */
export type CapabilitiesChanged = {
  /** The call. */
  callId: string,
  /** All of them. */
  capabilities: Capabilities,
};

/** `spotlightChanged`: who is in the spotlight. */
export type SpotlightChanged = {
  /** The call. */
  callId: string,
  /** All of them, in order. */
  participantIds: Array<string>,
};

/** `raisedHandsChanged`: who has a hand raised. */
export type RaisedHandsChanged = {
  /** The call. */
  callId: string,
  /** All of them, who raised it first stands first. */
  participantIds: Array<string>,
};

/** `lobbyParticipantsUpdated`: who waits, for those who may manage the lobby. */
export type LobbyParticipantsUpdated = {
  /** The call. */
  callId: string,
  /** All of them, who came first stands first. */
  participants: Array<LobbyParticipant>,
};

/** Someone in the lobby. */
export type LobbyParticipant = {
  /** Its id, the same when it is let in. */
  participantId: string,
  /** The identity named by its access token. */
  identity: string,
  /** The name to show; may be empty. */
  displayName: string,
  /** Whether its token says `guest`; false when absent. */
  guest?: boolean,
};

/** Who waits in the lobby of a call before coming in. */
export type LobbyPolicy =
  | "nobody"
  | "guests"
  | "everyone";

/** `mutedByOthers`: someone muted this client's microphone. */
export type MutedByOthers = {
  /** The call. */
  callId: string,
  /** The participant who did it; absent when a service did. */
  by?: string,
};

/**
 * `moved`: a service moves this client into another call. Its `join` of that, made while it is in
 * this one, ends its part in this one.
 */
export type Moved = {
  /** The call that it is in. */
  callId: string,
  /** The group ID of the call that it shall join. */
  groupId: string,
  /** How long that may take. */
  timeoutMs: number,
  /** Why; for people. */
  reason?: string,
};

/** What a participant is in a call. */
export type Role =
  | "Presenter"
  | "Collaborator"
  | "Attendee"
  | "Consumer";

/** What a participant may do. */
export type Capabilities = {
  /** Publish a camera. */
  turnVideoOn: Capability,
  /** Publish a microphone. */
  unmuteMic: Capability,
  /** Publish a screen and its sound. */
  shareScreen: Capability,
  /** Raise a hand. */
  raiseHand: Capability,
  /** Mute other participants. */
  muteOthers: Capability,
  /** Remove other participants. */
  removeParticipant: Capability,
  /** Put participants into the spotlight. */
  spotlightParticipant: Capability,
  /** Take others out of the spotlight. */
  removeParticipantsSpotlight: Capability,
  /** See who waits in the lobby, admit and reject. */
  manageLobby: Capability,
  /** End the call for everyone. */
  hangUpForEveryOne: Capability,
  /** Give roles to others. */
  manageRoles: Capability,
};

/** Whether a participant may do one thing. */
export type Capability = {
  /** Whether it may. */
  isPresent: boolean,
  /** Why, or why not. */
  reason: CapabilityReason,
};

/**
 * Why a participant has a capability, or has it not. Reasons that this version does not know are
 * read as `CapabilityReason::NotCapable`.
 */
export type CapabilityReason =
  | "Capable"
  | "CapabilityNotApplicableForTheCallType"
  | "RoleRestricted"
  | "MeetingRestricted"
  | "NotCapable";

/** `incomingCall`: somebody calls. */
export type IncomingCall = {
  /** The ring; named in `acceptCall` and `rejectCall`. */
  incomingCallId: string,
  /** The group ID of the call. */
  groupId: string,
  /** The identity that calls. */
  from: string,
  /** Its name to show; may be empty. */
  displayName: string,
  /** Of the calling app's own. */
  customContext?: string,
  /** How long it will ring yet. */
  timeoutMs: number,
};

/**
 * `incomingCallEnded`: a call rings no more on this device, other than by its own accepting or
 * rejecting.
 */
export type IncomingCallEnded = {
  /** From `incomingCall`. */
  incomingCallId: string,
  /** 0 for a normal end, else a SIP-like status. */
  code: number,
  /** The detail; see the table in `PROTOCOL.md`. */
  subCode: number,
  /** For people; not stable. */
  message: string,
};

/** `ringUpdated`: how far the ringing that this client started is. */
export type RingUpdated = {
  /** The call. */
  callId: string,
  /** Everyone who is called. */
  targets: Array<RingTarget>,
};

/** One identity that is called. */
export type RingTarget = {
  /** Who. */
  identity: string,
  /** How far it is. */
  state: RingState,
};

/** How far the ringing of one identity is. */
export type RingState =
  | "ringing"
  | "accepted"
  | "declined"
  | "busy"
  | "timedOut"
  | "unreachable"
  | "canceled"
  | "failed";
