/**
 * `@convoke/client`: group calls in the browser. Names follow the ACS calling SDK.
 *
 * Owns: the list of what is public.
 * Never: holds code.
 */
export type { Backoff } from './backoff.js';
export type { CallEndReason, CallEvents, CallState, JoinCallOptions } from './call/call.js';
export { Call } from './call/call.js';
export type { GroupLocator, RoomLocator } from './call/locator.js';
export type { Who } from './call/moderation.js';
export { Lobby, RaisedHands, Spotlight } from './call/moderation.js';
export type { CallConnectionState } from './call/session.js';
export type { CallAgentEvents, StartCallOptions } from './callAgent.js';
export { CallAgent } from './callAgent.js';
export type { CallAgentOptions, CallClientOptions } from './callClient.js';
export { CallClient, SDK_VERSION } from './callClient.js';
export type {
  CallDataEvents,
  DataMessage,
  DataReliability,
  SendDataOptions,
} from './data/callData.js';
export { CallData } from './data/callData.js';
export { EncryptionKeyring } from './encryption/keyring.js';
export type { ClientErrorCode, ConvokeErrorCode } from './errors.js';
export { ConvokeError } from './errors.js';
export type { Listener } from './events.js';
export { Emitter } from './events.js';
export type {
  Capabilities,
  Capability,
  CapabilityReason,
  DataCloseReason,
  EncodingDemand,
  EncodingExplanation,
  Explanation,
  Follow,
  Layer,
  LobbyParticipant,
  LobbyPolicy,
  MediaKind,
  RingState,
  RingTarget,
  Role,
  Scope,
  SlotExplanation,
  SlotReason,
  SlotState,
  Source,
  TrackExplanation,
} from './generated/protocol.js';
export type { CallerInfo, IncomingCallEvents } from './incomingCall.js';
export { IncomingCall } from './incomingCall.js';
export type {
  AudioDeviceInfo,
  DeviceManagerEvents,
  DevicePermission,
  VideoDeviceInfo,
} from './local/deviceManager.js';
export { DeviceManager } from './local/deviceManager.js';
export type {
  LocalVideoStreamEvents,
  MediaStreamType,
  VideoQuality,
} from './local/localVideoStream.js';
export { LocalVideoStream } from './local/localVideoStream.js';
export type { VideoCodec, VideoPublishOptions } from './media/encodings.js';
export type { CallStats, LocalTrackStats, SlotStats, TransportStats } from './media/stats.js';
export type { KeeperTimings } from './media/transportKeeper.js';
export type {
  CommunicationUserIdentifier,
  RemoteParticipantEvents,
  RemoteParticipantState,
} from './remote/remoteParticipant.js';
export { RemoteParticipant } from './remote/remoteParticipant.js';
export type { ParticipantsUpdated } from './remote/remoteParticipants.js';
export type { RemoteVideoStreamEvents } from './remote/remoteVideoStream.js';
export { RemoteVideoStream } from './remote/remoteVideoStream.js';
export type {
  CreateViewOptions,
  ScalingMode,
  VideoStreamRendererView,
} from './remote/videoStreamRenderer.js';
export { VideoStreamRenderer } from './remote/videoStreamRenderer.js';
export type { ViewWish } from './remote/viewKeeper.js';
export type { AgentConnectionState } from './signalling/agentConnection.js';
export type { SignallingTimeouts } from './signalling/agentSocket.js';
export type { TokenCredential, TokenSource } from './signalling/tokenCredential.js';
