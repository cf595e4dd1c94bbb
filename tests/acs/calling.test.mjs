// What an app server does with calls, by @azure/communication-call-automation.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CallAutomationClient,
  parseCallAutomationEvent,
} from '@azure/communication-call-automation';
import { getIdentifierRawId } from '@azure/communication-common';
import { CommunicationIdentityClient } from '@azure/communication-identity';
import { Agent } from './agent.mjs';
import { startServer } from './server.mjs';

const OPTIONS = { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } };
let server;
let client;
let identities;
let hook;
const agents = [];
const events = [];

before(async () => {
  server = await startServer();
  client = new CallAutomationClient(server.connectionString, OPTIONS);
  identities = new CommunicationIdentityClient(server.connectionString, OPTIONS);
  hook = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const event = parseCallAutomationEvent(JSON.parse(Buffer.concat(chunks).toString())[0]);
    events.push({ ...event, url: request.url });
    response.end();
  });
  await new Promise((resolve) => hook.listen(0, '127.0.0.1', resolve));
});
afterEach(() => Promise.all(agents.splice(0).map((agent) => agent.close())));
after(async () => {
  hook.closeAllConnections();
  hook.close();
  await server.stop();
});

const callback = (path = '/events?secret=1') => `http://127.0.0.1:${hook.address().port}${path}`;

/** A user with an agent. */
async function person() {
  const { user, token } = await identities.createUserAndToken(['voip']);
  const agent = await Agent.connect(server.url, token);
  agents.push(agent);
  return { user, id: user.communicationUserId, agent };
}

/** The first event of a kind with these fields. */
async function event(kind, match = {}) {
  const fits = (one) =>
    one.kind === kind && Object.entries(match).every(([key, value]) => one[key] === value);
  for (const end = Date.now() + 15_000; Date.now() < end; await sleep(20)) {
    const found = events.find(fits);
    if (found) return found;
  }
  return assert.fail(`no ${kind}; but ${events.map((one) => one.kind)}`);
}

const refused = (statusCode, code) => (error) => {
  assert.deepEqual([error.statusCode, error.code], [statusCode, code]);
  return true;
};

/** A call with one person, and a connection to it. */
async function connected() {
  const alice = await person();
  const groupId = randomUUID();
  const { callId } = await alice.agent.join(groupId);
  const locator = { kind: 'groupCallLocator', id: groupId };
  const { callConnection } = await client.connectCall(locator, callback(), {
    operationContext: 'connect',
  });
  const { callConnectionId } = callConnection;
  const first = await event('CallConnected', { callConnectionId });
  assert.deepEqual(
    [first.operationContext, first.serverCallId, first.url],
    ['connect', callId, '/events?secret=1'],
  );
  return { alice, callId, call: callConnection, here: { callConnectionId } };
}

test('a call is created, answered, and ended for everyone', async () => {
  const bob = await person();
  const { callConnection, callConnectionProperties } = await client.createCall(
    { targetParticipant: bob.user, sourceDisplayName: 'The shop' },
    callback(),
    { operationContext: 'order 17' },
  );
  assert.equal(callConnectionProperties.callConnectionState, 'connecting');
  const { callConnectionId } = callConnectionProperties;
  const { callId } = await bob.agent.accept();
  const up = await event('CallConnected', { callConnectionId, operationContext: 'order 17' });
  assert.equal(up.serverCallId, callId);
  const shown = await callConnection.getCallConnectionProperties();
  assert.deepEqual([shown.callConnectionState, shown.serverCallId], ['connected', callId]);
  await callConnection.hangUp(true);
  assert.equal((await bob.agent.ended()).callId, callId);
  await event('CallDisconnected', { callConnectionId });
  const gone = callConnection.getCallConnectionProperties();
  await assert.rejects(gone, refused(404, 'CallConnectionNotFound'));
});

test('a group call connects with the first; one that nobody takes fails', async () => {
  const [bob, carol] = await Promise.all([person(), person()]);
  const made = await client.createGroupCall([bob.user, carol.user], callback());
  const { callConnectionId } = made.callConnectionProperties;
  await bob.agent.accept();
  await event('CallConnected', { callConnectionId });
  await carol.agent.accept();
  await made.callConnection.hangUp(false);
  await event('CallDisconnected', { callConnectionId });

  const dave = await person();
  const failing = await client.createCall({ targetParticipant: dave.user }, callback());
  await dave.agent.reject();
  const { resultInformation } = await event('CreateCallFailed', {
    callConnectionId: failing.callConnectionProperties.callConnectionId,
  });
  assert.equal(resultInformation.code, 603);
});

test('who is in the call is listed, muted, and removed', async () => {
  const { alice, call, here } = await connected();
  const roster = await event('ParticipantsUpdated', here);
  assert.equal(getIdentifierRawId(roster.participants[0].identifier), alice.id);
  const { values } = await call.listParticipants();
  assert.deepEqual(
    values.map((one) => [getIdentifierRawId(one.identifier), one.isMuted, one.isOnHold]),
    [[alice.id, false, false]],
  );
  await call.muteParticipant(alice.user);
  assert.equal((await call.getParticipant(alice.user)).isMuted, true);
  const stranger = { communicationUserId: '8:acs:a_b' };
  await assert.rejects(call.getParticipant(stranger), refused(404, 'ParticipantNotFound'));
  await assert.rejects(call.muteParticipant(stranger), refused(404, 'ParticipantNotFound'));
  await call.removeParticipant(stranger, { operationContext: 'nobody' });
  await event('RemoveParticipantFailed', { ...here, operationContext: 'nobody' });
  await call.removeParticipant(alice.user, { operationContext: 'remove' });
  const removed = await event('RemoveParticipantSucceeded', { ...here, operationContext: 'remove' });
  assert.equal(getIdentifierRawId(removed.participant), alice.id);
  await event('CallDisconnected', here);
});

test('a participant is added; an invitation is declined or canceled', async () => {
  const { call, here } = await connected();
  const bob = await person();
  const add = (operationContext) =>
    call.addParticipant({ targetParticipant: bob.user }, { operationContext });
  await add('declined');
  await bob.agent.reject();
  const declined = await event('AddParticipantFailed', { ...here, operationContext: 'declined' });
  assert.equal(declined.resultInformation.code, 603);
  const { invitationId } = await add('canceled');
  await bob.agent.heard(({ type }) => type === 'incomingCall');
  await call.cancelAddParticipantOperation(invitationId, { operationContext: 'cancel' });
  await event('CancelAddParticipantSucceeded', { ...here, invitationId });
  await event('AddParticipantFailed', { ...here, operationContext: 'canceled' });
  await add('added');
  await bob.agent.accept();
  const added = await event('AddParticipantSucceeded', { ...here, operationContext: 'added' });
  assert.equal(getIdentifierRawId(added.participant), bob.id);
  await call.getParticipant(bob.user);
});

test('a call is handed over', async () => {
  const { alice, call, here } = await connected();
  const bob = await person();
  await call.transferCallToParticipant(bob.user, { operationContext: 'transfer' });
  assert.equal((await bob.agent.accept()).participants.length, 2);
  const told = await event('CallTransferAccepted', { ...here, operationContext: 'transfer' });
  assert.equal(told.transferee.rawId, alice.id);
  await event('CallDisconnected', here);
});

test('participants are moved from call to call', async () => {
  const [from, to] = [await connected(), await connected()];
  const { callConnectionId } = from.here;
  const options = { operationContext: 'move' };
  const people = [from.alice.user, { communicationUserId: '8:acs:a_b' }];
  const taken = await to.call.moveParticipants(people, callConnectionId, options);
  assert.equal(taken.operationContext, 'move');
  const failed = await event('MoveParticipantFailed', { ...to.here, operationContext: 'move' });
  assert.equal(getIdentifierRawId(failed.participant), '8:acs:a_b');
  assert.equal((await from.alice.agent.follow()).callId, to.callId);
  const moved = await event('MoveParticipantSucceeded', { ...to.here, operationContext: 'move' });
  assert.equal(getIdentifierRawId(moved.participant), from.alice.id);
  assert.equal((await from.alice.agent.ended()).callId, from.callId);
  await event('CallDisconnected', from.here);
  const nowhere = to.call.moveParticipants([to.alice.user], randomUUID());
  await assert.rejects(nowhere, refused(404, 'CallConnectionNotFound'));
});

test('one of several is transferred out of the call', async () => {
  const { alice, call, here } = await connected();
  const [bob, carol] = await Promise.all([person(), person()]);
  await call.addParticipant({ targetParticipant: bob.user });
  await bob.agent.accept();
  await call.transferCallToParticipant(carol.user, {
    transferee: alice.user,
    operationContext: 'out',
  });
  const { callId } = await carol.agent.accept();
  assert.equal((await alice.agent.follow()).callId, callId);
  const told = await event('CallTransferAccepted', { ...here, operationContext: 'out' });
  assert.equal(told.transferee.rawId, alice.id);
  const { values } = await call.listParticipants();
  assert.deepEqual(values.map((one) => getIdentifierRawId(one.identifier)), [bob.id]);
});

test('a call that rings is answered, redirected and rejected by its context', async () => {
  const [alice, bob, carol] = await Promise.all([person(), person(), person()]);
  const context = async (callId) => {
    for (const end = Date.now() + 15_000; Date.now() < end; await sleep(20)) {
      const found = await server.get(`calls/${callId}/events?after=0`);
      const offer = found.value.find(({ type }) => type === 'Microsoft.Communication.IncomingCall');
      if (offer) return offer.data.incomingCallContext;
    }
    return assert.fail('no app server was told that it rings');
  };
  const first = await alice.agent.startCall([bob.id]);
  const answered = await client.answerCall(await context(first.callId), callback());
  const { callConnectionId, serverCallId } = answered.callConnectionProperties;
  assert.equal(serverCallId, first.callId);
  await event('CallConnected', { callConnectionId });
  await bob.agent.heard(({ type }) => type === 'incomingCallEnded');
  await answered.callConnection.hangUp(true);
  await alice.agent.ended();

  await bob.agent.heard(({ type }) => type === 'incomingCall');
  const second = await alice.agent.startCall([bob.id]);
  const redirected = await context(second.callId);
  await client.redirectCall(redirected, { targetParticipant: carol.user });
  assert.equal((await carol.agent.accept()).callId, second.callId);
  const again = client.rejectCall(redirected, { callRejectReason: 'busy' });
  await assert.rejects(again, refused(404, 'IncomingCallNotFound'));
  await carol.agent.leave(second.callId);
  await alice.agent.leave(second.callId);

  const third = await alice.agent.startCall([bob.id]);
  await client.rejectCall(await context(third.callId), { callRejectReason: 'busy' });
  assert.equal((await alice.agent.ended()).code, 486);
});

test('what is not here is said to be not supported', async () => {
  const { alice, call } = await connected();
  const media = call.getCallMedia();
  const file = [{ kind: 'fileSource', url: 'http://127.0.0.1:9/none.wav' }];
  const recording = client.getCallRecording();
  const { serverCallId } = await call.getCallConnectionProperties();
  const choices = { kind: 'callMediaRecognizeDtmfOptions', maxTonesToCollect: 1 };
  const callLocator = { kind: 'serverCallLocator', id: serverCallId };
  const phone = {
    targetParticipant: { phoneNumber: '+15550100' },
    sourceCallIdNumber: { phoneNumber: '+15550101' },
  };
  for (const [capability, ask] of [
    ['playAudio', () => media.playToAll(file)],
    ['recognize', () => media.startRecognizing(alice.user, choices)],
    ['dtmf', () => media.sendDtmfTones(['one'], alice.user)],
    ['hold', () => media.hold(alice.user)],
    ['transcription', () => media.startTranscription({ locale: 'en-US' })],
    ['mediaStreaming', () => media.startMediaStreaming()],
    ['recording', () => recording.start({ callLocator })],
    ['telephony', () => call.addParticipant(phone)],
  ]) {
    await assert.rejects(ask(), (error) => {
      assert.deepEqual([error.statusCode, error.code], [501, 'NotSupported'], capability);
      assert.match(error.message, new RegExp(`\`${capability}\``));
      return true;
    });
  }
});
