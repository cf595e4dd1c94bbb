// What an app server does with scheduled rooms, by @azure/communication-rooms.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { getIdentifierRawId } from '@azure/communication-common';
import { CommunicationIdentityClient } from '@azure/communication-identity';
import { RoomsClient } from '@azure/communication-rooms';
import { startServer } from './server.mjs';

const OPTIONS = { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } };
const DAY = 86_400_000;
let server;
let rooms;
let people;

before(async () => {
  server = await startServer();
  rooms = new RoomsClient(server.connectionString, OPTIONS);
  const identities = new CommunicationIdentityClient(server.connectionString, OPTIONS);
  people = await Promise.all(Array.from({ length: 3 }, () => identities.createUser()));
});
after(() => server.stop());

const all = async (pages) => {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
};
const roles = async (id) =>
  Object.fromEntries(
    (await all(rooms.listParticipants(id))).map((one) => [getIdentifierRawId(one.id), one.role]),
  );
const raw = (person) => person.communicationUserId;

test('a room without wishes is open for 180 days and has nobody on its list', async () => {
  const room = await rooms.createRoom();
  assert.match(room.id, /^\d+$/);
  assert.equal(room.validUntil - room.validFrom, 180 * DAY);
  assert.equal(room.pstnDialOutEnabled, false);
  assert.deepEqual(await roles(room.id), {});
});

test('a room is what was asked for, and is found as it was made', async () => {
  const [alice, bob] = people;
  const wish = {
    validFrom: new Date('2030-01-02T03:04:05.678Z'),
    validUntil: new Date('2030-02-02T03:04:05Z'),
    pstnDialOutEnabled: true,
    participants: [{ id: alice, role: 'Presenter' }, { id: bob }],
  };
  const made = await rooms.createRoom(wish);
  assert.deepEqual(await rooms.getRoom(made.id), made);
  assert.deepEqual([made.validFrom, made.validUntil], [wish.validFrom, wish.validUntil]);
  assert.equal(made.pstnDialOutEnabled, true);
  assert.deepEqual(await roles(made.id), { [raw(alice)]: 'Presenter', [raw(bob)]: 'Attendee' });
});

test('a change touches only what it names', async () => {
  const made = await rooms.createRoom();
  const changed = await rooms.updateRoom(made.id, { pstnDialOutEnabled: true });
  assert.deepEqual(changed, { ...made, pstnDialOutEnabled: true });
  assert.deepEqual(await rooms.updateRoom(made.id, {}), changed);
  const backwards = { validFrom: new Date(Date.now() + 2 * DAY), validUntil: new Date() };
  await assert.rejects(rooms.updateRoom(made.id, backwards), { statusCode: 400 });
  assert.deepEqual(await rooms.getRoom(made.id), changed);
});

test('the list grows, changes and shrinks', async () => {
  const [alice, bob, carol] = people;
  const { id } = await rooms.createRoom({ participants: [{ id: alice }] });
  await rooms.addOrUpdateParticipants(id, [{ id: bob, role: 'Consumer' }, { id: carol }]);
  await rooms.addOrUpdateParticipants(id, [{ id: bob, role: 'Collaborator' }]);
  await rooms.removeParticipants(id, [alice]);
  assert.deepEqual(await roles(id), { [raw(bob)]: 'Collaborator', [raw(carol)]: 'Attendee' });
});

test('all rooms are listed once, over all pages', async () => {
  const made = await Promise.all(Array.from({ length: 120 }, () => rooms.createRoom()));
  const ids = (await all(rooms.listRooms())).map((room) => room.id);
  assert.equal(new Set(ids).size, ids.length);
  for (const { id } of made) assert.ok(ids.includes(id), id);
});

test('a deleted room is gone', async () => {
  const { id } = await rooms.createRoom();
  await rooms.deleteRoom(id);
  const gone = { statusCode: 404, code: 'RoomNotFound' };
  await assert.rejects(rooms.getRoom(id), gone);
  await assert.rejects(rooms.updateRoom(id, {}), gone);
  await assert.rejects(rooms.deleteRoom(id), gone);
  await assert.rejects(all(rooms.listParticipants(id)), gone);
  await assert.rejects(rooms.addOrUpdateParticipants(id, [{ id: people[0] }]), gone);
});

test('a creation that is sent twice makes one room; another under its name is refused', async () => {
  const id = randomUUID();
  const fixed = {
    name: 'fixedRepeatabilityId',
    sendRequest: (request, next) => {
      request.headers.set('Repeatability-Request-ID', id);
      return next(request);
    },
  };
  const additionalPolicies = [{ policy: fixed, position: 'perCall' }];
  const client = new RoomsClient(server.connectionString, { ...OPTIONS, additionalPolicies });
  const [one, two] = await Promise.all([client.createRoom(), client.createRoom()]);
  assert.deepEqual(two, one);
  const other = client.createRoom({ pstnDialOutEnabled: true });
  await assert.rejects(other, { statusCode: 400, code: 'RepeatabilityInvalid' });
});
