// Peers by WHIP and WHEP: they watch one participant, and publish it as another. So what comes out at the end
// has gone through the peer both ways. werift and libdatachannel pass the packets on; libwebrtc decodes what
// it watches and encodes it again.
//
//   node relay.mjs werift|node-datachannel|wrtc WHEP-URL WHIP-URL
//
// Tokens are in WATCH_TOKEN and PUBLISH_TOKEN. Ends its sessions when standard input is closed.
const { relay } = await import(`./${process.argv[2]}.mjs`);
const end = await relay();
for await (const _ of process.stdin);
await end();
process.exit(0);
