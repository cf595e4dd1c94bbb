// What an app server does with identities, by @azure/communication-identity.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  AzureCommunicationTokenCredential,
  createIdentifierFromRawId,
} from '@azure/communication-common';
import { CommunicationIdentityClient } from '@azure/communication-identity';
import { WebSocket } from 'ws';
import { startServer } from './server.mjs';

const OPTIONS = { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } };
let server;
let client;

before(async () => {
  server = await startServer();
  client = new CommunicationIdentityClient(server.connectionString, OPTIONS);
});
after(() => server.stop());

const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());

test('users are communication users, each another one', async () => {
  const users = await Promise.all(Array.from({ length: 5 }, () => client.createUser()));
  const ids = users.map((user) => user.communicationUserId);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.equal(createIdentifierFromRawId(id).kind, 'communicationUser');
});

test('a token is for its user, for as long as was asked', async () => {
  const user = await client.createUser();
  for (const minutes of [60, 1440]) {
    const options = { tokenExpiresInMinutes: minutes };
    const { token, expiresOn } = await client.getToken(user, ['voip'], options);
    const { sub, exp, iat } = claims(token);
    assert.equal(sub, user.communicationUserId);
    assert.equal(exp - iat, minutes * 60);
    assert.equal(expiresOn.getTime(), exp * 1000);
  }
});

test('a user and a token come at once, and the credential takes it', async () => {
  const { user, token, expiresOn } = await client.createUserAndToken(['voip', 'chat']);
  assert.equal(claims(token).sub, user.communicationUserId);
  const credential = new AzureCommunicationTokenCredential(token);
  assert.equal((await credential.getToken()).expiresOnTimestamp, expiresOn.getTime());
  credential.dispose();
});

test('after a revocation a new token is another one, and it joins', async () => {
  const { user, token } = await client.createUserAndToken(['voip']);
  assert.equal(await hello(token), 'welcome');
  await client.revokeTokens(user);
  assert.equal(await hello(token), 'tokenRevoked');
  const fresh = await client.getToken(user, ['voip']);
  assert.equal(await hello(fresh.token), 'welcome');
});

test('a deleted user has no tokens any more', async () => {
  const { user, token } = await client.createUserAndToken(['voip']);
  await client.deleteUser(user);
  assert.equal(await hello(token), 'tokenRevoked');
  await assert.rejects(client.getToken(user, ['voip']), { statusCode: 404, code: 'IdentityNotFound' });
  await assert.rejects(client.deleteUser(user), { statusCode: 404, code: 'IdentityNotFound' });
});

test('what cannot be had is refused with words', async () => {
  const user = await client.createUser();
  const bad = { statusCode: 400, code: 'BadRequest' };
  await assert.rejects(client.getToken(user, []), bad);
  await assert.rejects(client.getToken(user, ['everything']), bad);
  await assert.rejects(client.getToken(user, ['voip'], { tokenExpiresInMinutes: 10 }), bad);
});

test('another key opens nothing', async () => {
  const key = Buffer.alloc(32, 7).toString('base64');
  const other = `endpoint=${server.url};accesskey=${key}`;
  const stranger = new CommunicationIdentityClient(other, OPTIONS);
  await assert.rejects(stranger.createUser(), { statusCode: 401, code: 'Unauthorized' });
});

/** What the server says to a `hello` with this token: `welcome` or the code of the refusal. */
function hello(token) {
  const url = `${server.url.replace('http', 'ws')}agent`;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, 'convoke.v1');
    socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', protocol: 1, token }));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      resolve(message.type === 'error' ? message.code : message.type);
      socket.close();
    };
    socket.onerror = () => reject(new Error('the WebSocket failed'));
  });
}
